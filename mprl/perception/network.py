"""What all models of perception have in common: shape, feature size, and the arguments to make another one like it.

A network is `Kind(shape, features, **settings)`: `shape` that of one preprocessed observation, `features` how many numbers it makes of
it. `forward` takes float32 (B, *shape) and returns (B, features). One that can be trained has

    loss(batch, generator=None) -> (scalar, metrics)

where `batch` holds preprocessed tensors by name, "input" (B, *shape) first of all, and `metrics` are scalars by name. What a training
loop should do after each step of the optimiser, if anything, is `after_step()`; what a person can look at, `pictures(batch)`.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Self

from torch import Tensor, nn

from mprl.errors import SettingError, number

Batch = dict[str, Tensor]
Metrics = dict[str, Tensor]


class Network(nn.Module):
    """An `nn.Module` that remembers its constructor's arguments.

    Attributes:
        arguments: by name, defaults included; `type(network)(**network.arguments)` is a network of the same architecture. Plain
            numbers, texts, booleans and tuples of them, which survive JSON (as lists).
        shape: of one observation.
        features: how many numbers `forward` makes of it.
    """

    arguments: dict[str, Any]
    shape: tuple[int, ...]
    features: int

    def __new__(cls, *positional: Any, **named: Any) -> Self:
        network = super().__new__(cls)
        signature = inspect.signature(cls.__init__)
        bound = signature.bind_partial(network, *positional, **named)  # partial: a copy is made without any
        bound.apply_defaults()
        arguments = dict(list(bound.arguments.items())[1:])
        for name, parameter in signature.parameters.items():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                arguments |= arguments.pop(name, {})
        network.__dict__["arguments"] = {name: _plain(value) for name, value in arguments.items()}
        return network

    def __init__(self, shape: Sequence[int], features: int) -> None:
        super().__init__()
        self.shape = tuple(int(size) for size in shape)
        self.features = number("features", features, whole=True)
        if not self.shape or min(self.shape) < 1:
            raise SettingError(f"the shape of an observation must be of positive sizes, found {tuple(shape)}")
        if self.features < 1:
            raise SettingError(f"a network needs at least one feature, found {features}")


def check_image(shape: Sequence[int], what: str) -> tuple[int, int, int]:
    """Channels, height and width of an image's shape.

    Raises:
        SettingError: it is no image's.
    """
    if len(shape) != 3:
        raise SettingError(
            f"{what} takes images (channels, height, width), found a shape {tuple(shape)}; use another model or preprocessing"
        )
    channels, height, width = (int(size) for size in shape)
    return channels, height, width


def check_history(shape: Sequence[int], what: str) -> tuple[int, int]:
    """Steps and numbers a step of a history's shape.

    Raises:
        SettingError: it is no history's.
    """
    if len(shape) != 2:
        raise SettingError(f"{what} takes histories (steps, numbers), found a shape {tuple(shape)}")
    return int(shape[0]), int(shape[1])


def check_choice(name: str, value: Any, known: Sequence[str]) -> None:
    """A setting that is one of a few texts.

    Raises:
        SettingError: it is another.
    """
    if value not in known:
        raise SettingError(f"{name} must be one of {', '.join(known)}, found '{value}'")


def _plain(value: Any) -> Any:
    return tuple(_plain(item) for item in value) if isinstance(value, list | tuple) else value
