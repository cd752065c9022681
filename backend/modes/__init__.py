"""Who answers a turn."""
