"""Network blocks shared by agents and perception."""
