"""A turn, from message to spoken reply."""
