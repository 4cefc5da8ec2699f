"""Perception: models that turn pictures, histories and signals into the features that an agent acts on."""
