"""Connections to other programs."""
