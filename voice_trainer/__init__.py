"""The voice trainer, a program of its own."""
