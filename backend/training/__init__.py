"""Training jobs: queue, states, following the trainer."""
