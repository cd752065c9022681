"""Speaking unasked."""
