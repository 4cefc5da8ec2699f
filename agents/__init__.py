"""Learning algorithms: they know Gymnasium spaces, never a particular environment."""
