"""Environments with exactly known dynamics: those of Sutton & Barto's book, and a batch that steps thousands of copies at once."""

from __future__ import annotations

import importlib
from typing import Any

_PLACES = {
    "BlackjackEnv": "blackjack",
    "CliffEnv": "cliff",
    "DynaMazeEnv": "dyna_maze",
    "GamblerEnv": "gambler",
    "GridworldABEnv": "gridworld_ab",
    "GridworldEnv": "gridworld",
    "JacksCarRentalEnv": "jacks_car_rental",
    "MaximizationBiasEnv": "maximization_bias",
    "RandomWalkEnv": "random_walk",
    "ShortCorridorEnv": "short_corridor",
    "TabularEnv": "tabular",
    "TabularVectorEnv": "vector",
    "WindyGridworldEnv": "windy_gridworld",
}

__all__ = list(_PLACES)


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(importlib.import_module(f"mprl.envs.tabular.{_PLACES[name]}"), name)
    raise AttributeError(f"module 'mprl.envs.tabular' has no attribute '{name}'")
