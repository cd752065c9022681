"""Reusable parts of the window; they know no backend."""
