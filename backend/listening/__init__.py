"""From microphone to message."""
