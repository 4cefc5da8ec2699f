"""A simulated character that imitates motion clips."""
