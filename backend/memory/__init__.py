"""What is remembered beyond the conversation."""
