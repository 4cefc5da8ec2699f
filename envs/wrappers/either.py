"""The same wrapper for a single environment and for a batch: which of two classes it is."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium.vector import VectorEnv

from mprl.errors import SettingError


def either(env: Any, single: Any, batch: Any) -> Any:
    """`single` for a single environment, `batch` for a batch.

    Raises:
        SettingError: neither.
    """
    if isinstance(env, VectorEnv):
        return batch
    if isinstance(env, gym.Env):
        return single
    raise SettingError(f"expected a Gymnasium environment (of gym.make or gym.make_vec), found {type(env).__name__}")
