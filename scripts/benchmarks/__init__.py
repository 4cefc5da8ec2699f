"""What `mprl benchmark` measures, a file each; the figures of others (`published.py`, `loops.py`); how it is told (`report.py`)."""
