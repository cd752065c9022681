"""Signal code without a domain, shared with the trainer."""
