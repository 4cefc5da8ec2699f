"""What poses people take: functions from poses to an energy, low where a pose is likely.

    energy = prior(pose)        # (B, 21, 3) rotation vectors of the joints 1 to 21 -> (B,) nats

`gmm` and `vae` are learned from the clips we ship and what is made of them (`learn.py`); `none` knows only that limbs are near rest.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from mprl import files
from mprl.errors import unknown_name
from mprl.motion.fitting import limits
from mprl.motion.fitting.points import BODY_JOINTS


class Prior(Protocol):
    """What is known of poses."""

    def __call__(self, pose: Tensor) -> Tensor:
        """Energy in nats (B,) of rotation vectors (B, 21, 3), rad."""

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Poses, (count, 63) rad."""


FILE = Path(__file__).with_name("priors.safetensors")
NAMES = ("gmm", "vae", "none")


@lru_cache(maxsize=4)
def load(name: str) -> Prior:
    """A prior that ships.

    Raises:
        UnknownNameError: no such prior.
    """
    if name not in NAMES:
        raise unknown_name("pose prior", name, NAMES, f"known: {', '.join(NAMES)}")
    if name == "none":
        return Broad()
    tensors = {key.removeprefix(f"{name}."): value for key, value in files.read_tensors(FILE).items() if key.startswith(f"{name}.")}
    if name == "gmm":
        from mprl.motion.fitting.priors.mixture import Mixture

        return Mixture(**tensors)
    from mprl.motion.fitting.priors.autoencoder import PoseCodes

    return PoseCodes.from_tensors(tensors)


class Broad:
    """No learned prior: ½ |θ|², a broad Gaussian about the T-pose; poses of it are anything within the joints' limits."""

    def __call__(self, pose: Tensor) -> Tensor:
        """(B, J, 3) rad -> (B,) nats."""
        return 0.5 * pose.square().flatten(1).sum(dim=-1)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Poses, (count, D) rad."""
        low, high = limits.boxes(BODY_JOINTS)
        return (low + (high - low) * torch.rand(count, *low.shape, generator=generator)).flatten(1)
