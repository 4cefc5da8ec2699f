"""Tabular agents: learning from experience."""
