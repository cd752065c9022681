"""Models and voices on disk."""
