"""What is said: phonemes, prompts, coverage."""
