"""Servers that behave well or badly on purpose, for tests and for trying things by hand."""
