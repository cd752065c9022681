"""Where a performance goes."""
