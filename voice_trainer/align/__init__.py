"""Which sound belongs to which phoneme."""
