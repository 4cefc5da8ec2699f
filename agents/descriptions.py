"""Spaces and arguments of environments as JSON, and spaces back."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from mprl.errors import SettingError


def in_words(space: gym.Space[Any]) -> str:
    """`Box(-1.0, 1.0, (3,), float32)`, in one line whatever its size."""
    return " ".join(str(space).split())[:120]


def describe(space: gym.Space[Any]) -> dict[str, Any]:
    """A space as JSON, exactly.

    Raises:
        SettingError: no Box, Discrete, MultiDiscrete, MultiBinary, nor a Dict or Tuple of these.
    """
    match space:
        case spaces.Discrete():
            return {"kind": "Discrete", "n": int(space.n), "start": int(space.start), "shape": f"Discrete({space.n})"}
        case spaces.MultiDiscrete():
            return {"kind": "MultiDiscrete", "n": space.nvec.tolist(), "start": space.start.tolist(), "dtype": space.dtype.name}
        case spaces.MultiBinary():
            return {"kind": "MultiBinary", "n": list(space.n) if isinstance(space.n, tuple) else int(space.n)}
        case spaces.Dict():
            return {"kind": "Dict", "parts": {str(name): describe(part) for name, part in space.spaces.items()}}
        case spaces.Tuple():
            return {"kind": "Tuple", "parts": [describe(part) for part in space.spaces]}
        case spaces.Box():
            bounds = {"low": _bound(space.low), "high": _bound(space.high)}
            return {"kind": "Box", "shape": list(space.shape), "dtype": space.dtype.name, **bounds}
    raise SettingError(f"a {type(space).__name__} space cannot be written down: {in_words(space)}")


def _bound(bound: np.ndarray[Any, Any]) -> Any:
    """One number where all are the same, else all of them; infinities by name, as JSON has none."""
    values = [value if math.isfinite(value) else str(value) for value in bound.flatten().tolist()]
    return values[0] if len(set(values)) == 1 else values


def to_space(description: dict[str, Any]) -> gym.Space[Any]:
    """The space that `describe` described."""
    match description["kind"]:
        case "Discrete":
            return spaces.Discrete(description["n"], start=description["start"])
        case "MultiDiscrete":
            nvec, start = np.array(description["n"]), np.array(description["start"])
            return spaces.MultiDiscrete(nvec, dtype=np.dtype(description["dtype"]), start=start)
        case "MultiBinary":
            return spaces.MultiBinary(description["n"])
        case "Dict":  # from pairs, which keep their order
            return spaces.Dict([(name, to_space(part)) for name, part in description["parts"].items()])
        case "Tuple":
            return spaces.Tuple([to_space(part) for part in description["parts"]])
        case "Box":
            shape, dtype = tuple(description["shape"]), np.dtype(description["dtype"])
            low, high = (_to_bound(description[name], shape, dtype) for name in ("low", "high"))
            return spaces.Box(low, high, shape, dtype.type)
    raise ValueError(f"unknown kind of space '{description['kind']}'")


def _to_bound(value: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    values = np.array([float(v) if isinstance(v, str) else v for v in (value if isinstance(value, list) else [value])])
    return np.broadcast_to(values.astype(dtype).reshape(shape if values.size > 1 else ()), shape).copy()


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
