"""The parts of the training page: from recordings to a voice."""
