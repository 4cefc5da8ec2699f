"""What `mprl benchmark` measures: `environment.py`, `learning.py`, `imitation.py`; and how it is told: `report.py`."""
