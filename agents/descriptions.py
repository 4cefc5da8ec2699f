"""Spaces and arguments of environments as JSON, and spaces back."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np


def in_words(space: gym.Space[Any]) -> str:
    """`Box(-1.0, 1.0, (3,), float32)`, in one line whatever its size."""
    return " ".join(str(space).split())[:120]


def describe(space: Any) -> dict[str, Any]:
    """A space as JSON."""
    if isinstance(space, gym.spaces.Discrete):
        return {"kind": "Discrete", "n": int(space.n), "start": int(space.start), "shape": f"Discrete({space.n})"}
    low, high = (np.unique(bound) for bound in (space.low, space.high))
    bounds = {
        "low": float(low[0]) if len(low) == 1 else space.low.flatten().tolist(),
        "high": float(high[0]) if len(high) == 1 else space.high.flatten().tolist(),
    }
    return {"kind": "Box", "shape": list(space.shape), "dtype": space.dtype.name, **{k: _jsonable(v) for k, v in bounds.items()}}


def _jsonable(value: Any) -> Any:
    """Infinities by name, as JSON has none."""
    if isinstance(value, list):
        return [_jsonable(v) for v in value]
    return value if math.isfinite(value) else str(value)


def to_space(description: dict[str, Any]) -> Any:
    """The space that `describe` described."""
    if description["kind"] == "Discrete":
        return gym.spaces.Discrete(description["n"], start=description["start"])
    shape = tuple(description["shape"])
    dtype = np.dtype(description["dtype"])
    bounds: list[Any] = []
    for key in ("low", "high"):
        value = description[key]
        flat = np.array([float(v) for v in value] if isinstance(value, list) else float(value))  # infinities are written as text
        bounds.append(np.broadcast_to(flat if flat.ndim == 0 else flat.reshape(shape), shape).astype(dtype))
    return gym.spaces.Box(bounds[0], bounds[1], shape, dtype)


def plain(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments that JSON can hold; paths as text. Others (functions, clips in memory) cannot be written down."""
    found: dict[str, Any] = {}
    for key, value in kwargs.items():
        with contextlib.suppress(TypeError, ValueError):
            found[key] = json.loads(json.dumps(value, default=_path))
    return found


def _path(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError
