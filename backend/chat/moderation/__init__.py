"""What may come in from viewers, and what may go out to them."""
