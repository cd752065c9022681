"""The quick clone: a small acoustic network and a vocoder without learned parts, trained on a CPU in minutes."""
