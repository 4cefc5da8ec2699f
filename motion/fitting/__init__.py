"""From evidence of a moving person to a clip of the SMPL body."""
