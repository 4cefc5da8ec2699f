"""Network blocks that agents are made of."""
