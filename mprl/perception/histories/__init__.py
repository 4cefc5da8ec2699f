"""Histories: from the last T observations to features, none of which looks ahead."""
