"""Encoders: from one observation to features, without memory."""
