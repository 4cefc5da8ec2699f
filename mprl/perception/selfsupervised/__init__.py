"""Features learned without labels: what belongs together is alike, what is hidden can be told."""
