"""The state of a NumPy generator as an array, for checkpoints that hold nothing but arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LOW = (1 << 64) - 1


def generator_state(generator: np.random.Generator) -> NDArray[np.int64]:
    """Everything that the numbers to come depend on, (6,): state and increment of PCG64 (128 bits each, high word first), and what is left of the last draw.

    Args:
        generator: of `numpy.random.default_rng` or an environment's `np_random`; both are PCG64.
    """  # noqa: E501
    found = generator.bit_generator.state
    words = [word for name in ("state", "inc") for word in divmod(found["state"][name], 1 << 64)]
    return np.array([*words, found["has_uint32"], found["uinteger"]], dtype=np.uint64).view(np.int64)


def set_generator_state(generator: np.random.Generator, state: NDArray[np.int64]) -> None:
    """Go on from what `generator_state` returned."""
    high, low, high_step, low_step, has_half, half = (int(word) & _LOW for word in state)
    generator.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": high << 64 | low, "inc": high_step << 64 | low_step},
        "has_uint32": has_half,
        "uinteger": half,
    }
