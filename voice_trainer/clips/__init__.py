"""From recordings to clips: measured, cut, levelled, graded."""
