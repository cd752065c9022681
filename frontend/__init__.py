"""The window: a client of the backend."""
