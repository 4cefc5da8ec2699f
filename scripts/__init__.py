"""The command line: `mprl train` is `scripts/train.py`."""
