"""Autoencoders: features from which the observation can be made again."""
