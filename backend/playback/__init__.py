"""From sentences to sound that was heard."""
