"""What computes: one package per kind, one file per plugin."""
