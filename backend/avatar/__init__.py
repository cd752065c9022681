"""What the avatar shows."""
