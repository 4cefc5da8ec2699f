"""What a perception model reads and how: the part of an observation, its form, and what is done to the numbers before the network."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from mprl.errors import PerceptionError, nearest


@dataclass(frozen=True)
class Spec:
    """What a perception model reads.

    Args:
        shape: of one observation as the environment gives it: an image is (height, width, channels), a history (T, n), a vector (n,).
        dtype: of its numbers: "uint8" (bytes) or "float32".
        key: which part of a Dict observation; None: the observation itself.
        image: whether the last axis is the channels, which go first for the network; None: where there are three axes.
        mean, std: the network sees (x - mean) / std; one number, or one for each channel (the last axis). By default bytes are divided
            by 255 and floats are taken as they are.
        frozen: the model keeps its weights while an agent learns on it, and stays in eval mode.
    """

    shape: tuple[int, ...]
    dtype: str = "uint8"
    key: str | None = None
    image: bool | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] | None = None
    frozen: bool = True

    def __post_init__(self) -> None:
        fill = object.__setattr__  # defaults that depend on other fields
        try:
            fill(self, "shape", tuple(int(size) for size in self.shape))
        except (TypeError, ValueError):
            raise PerceptionError(f"shape must be sizes like (64, 64, 3), found {self.shape!r}") from None
        fill(self, "image", len(self.shape) == 3 if self.image is None else self.image)
        fill(self, "mean", _numbers("mean", self.mean))
        fill(self, "std", _numbers("std", (255.0 if self.dtype == "uint8" else 1.0) if self.std is None else self.std))
        if self.dtype not in ("uint8", "float32"):
            raise PerceptionError(f"dtype must be uint8 or float32, found '{self.dtype}'")
        if not self.shape or min(self.shape) < 1:
            raise PerceptionError(f"shape must be sizes of at least 1, found {self.shape}")
        if self.image and len(self.shape) != 3:
            raise PerceptionError(f"an image has shape (height, width, channels), found {self.shape}")
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, self.shape[-1]):
                raise PerceptionError(f"{name} must be 1 number or {self.shape[-1]}, found {len(getattr(self, name))}")
        if not all(math.isfinite(value) for value in self.mean + self.divisor) or not min(self.divisor) > 0:
            raise PerceptionError(f"mean must be finite and std positive, found {self.mean} and {self.std}")

    @property
    def divisor(self) -> tuple[float, ...]:
        """`std`, which is a tuple by now."""
        assert self.std is not None
        return self.std

    @property
    def input_shape(self) -> tuple[int, ...]:
        """What the network sees of one observation: images channel-first, (C, H, W)."""
        return (self.shape[2], *self.shape[:2]) if self.image else self.shape

    def prepare(self, observation: Tensor) -> Tensor:
        """The network's input (B, *input_shape) float32 for observations (B, *shape) of any dtype.

        Images come out in channels-last memory wherever they came from: the same memory means the same kernels, and so the same bits.
        """
        values = observation.float()
        if any(self.mean):
            values = values - self._constant(self.mean, values)
        if self.divisor != (1.0,):
            values = values / self._constant(self.divisor, values)
        if self.image:
            values = values.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        return values

    @staticmethod
    def _constant(numbers: tuple[float, ...], like: Tensor) -> Any:
        return numbers[0] if len(numbers) == 1 else torch.tensor(numbers, device=like.device)

    @classmethod
    def of(cls, space: gym.Space[Any], key: str | None = None, **settings: Any) -> Spec:
        """The spec for a part of an observation space.

        Args:
            space: of one world's observations.
            key: which part of a Dict; None: the whole, or the only part with three axes.
            settings: the other fields.

        Raises:
            PerceptionError: no such key, or not a Box of bytes or floats.
        """
        if isinstance(space, gym.spaces.Dict) and key is None:
            pictures = [name for name, part in space.spaces.items() if len(part.shape or ()) == 3]
            if len(pictures) != 1:
                raise PerceptionError(f"which part of the observation? key= one of {', '.join(space.spaces)}")
            key = pictures[0]
        box = part_of(space, key)
        kind = "uint8" if box.dtype == np.uint8 else "float32"
        return cls(box.shape, kind, key, **settings)

    def check(self, space: gym.Space[Any]) -> None:
        """Raise a `PerceptionError` unless an observation space has what this reads."""
        box = part_of(space, self.key)
        what = "the observation" if self.key is None else f"'{self.key}' of the observation"
        if box.shape != self.shape:
            turned = self.image and len(box.shape) == 3 and box.shape in ((self.shape[2], *self.shape[:2]), self.shape[:2])
            hint = "; images are (height, width, channels) here: transpose with a wrapper" if turned else ""
            raise PerceptionError(f"{what} has shape {box.shape}, the perception model reads {self.shape}{hint}")
        self.check_type(box, what)

    def check_type(self, box: gym.spaces.Box, what: str = "the observation") -> None:
        """Raise a `PerceptionError` unless these are bytes where bytes are read, and floats where floats are."""
        if (box.dtype == np.uint8) != (self.dtype == "uint8"):
            wanted, found = ("bytes 0 to 255", "floats") if self.dtype == "uint8" else ("floats", "bytes 0 to 255")
            raise PerceptionError(f"{what} holds {found}, the perception model reads {wanted}; convert them with a wrapper")

    def check_batch(self, observation: Tensor) -> None:
        """Raise a `PerceptionError` unless this is a batch of what is read."""
        if not isinstance(observation, Tensor):
            raise PerceptionError(f"expected observations as a torch tensor, found {type(observation).__name__}; torch.as_tensor makes one")
        if observation.shape[1:] != self.shape or observation.ndim != len(self.shape) + 1:
            raise PerceptionError(
                f"expected observations of shape (batch, {', '.join(map(str, self.shape))}), found {tuple(observation.shape)}"
            )
        if (observation.dtype == torch.uint8) != (self.dtype == "uint8"):
            found = str(observation.dtype).removeprefix("torch.")
            raise PerceptionError(f"expected observations of {self.dtype}, found {found}; the spec's preprocessing is for {self.dtype}")

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Spec:
        """From JSON."""
        fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}
        return cls(**fields)


def part_of(space: gym.Space[Any], key: str | None) -> gym.spaces.Box:
    """The Box under a key of an observation space, or the space itself.

    Raises:
        PerceptionError: there is none.
    """
    part: Any = space
    if key is not None:
        if not isinstance(space, gym.spaces.Dict):
            raise PerceptionError(f"the observation has no part '{key}': it is one {type(space).__name__}; leave the key out")
        if key not in space.spaces:
            raise PerceptionError(f"the observation has no part '{key}'{nearest(key, space.spaces)} (it has {', '.join(space.spaces)})")
        part = space.spaces[key]
    elif isinstance(space, gym.spaces.Dict):
        raise PerceptionError(f"which part of the observation? key= one of {', '.join(space.spaces)}")
    if not isinstance(part, gym.spaces.Box):
        raise PerceptionError(f"perception reads numbers in a Box, found {type(part).__name__}")
    return part


def _numbers(name: str, value: Any) -> tuple[float, ...]:
    try:
        return tuple(float(each) for each in np.atleast_1d(np.asarray(value)))
    except (TypeError, ValueError):
        raise PerceptionError(f"{name} must be a number, or one for each channel, found {value!r}") from None
