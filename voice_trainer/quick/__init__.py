"""The quick clone: a small network and a source-filter vocoder, on any CPU."""
