"""Layers by name, as settings name them."""

from __future__ import annotations

from torch import nn

from mprl.errors import SettingError
from mprl.perception.network import check_choice

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "elu": nn.ELU, "silu": nn.SiLU, "gelu": nn.GELU, "tanh": nn.Tanh}
NORMS = ("none", "batch", "group")
OUTPUTS = ("none", "relu", "norm")


def activation(name: str) -> nn.Module:
    """A new activation.

    Raises:
        SettingError: no such.
    """
    check_choice("activation", name, tuple(ACTIVATIONS))
    return ACTIVATIONS[name]()


def norm(name: str, channels: int) -> nn.Module:
    """A new normalisation of a picture's channels: "none", "batch" (Ioffe & Szegedy 2015) or "group" (Wu & He 2018).

    Groups have the numbers of 8 channels, or of fewer where 8 do not divide them. A group's statistics are those of one picture, so that
    learning and acting see the same, whatever the batch.

    Raises:
        SettingError: no such.
    """
    check_choice("norm", name, NORMS)
    if name == "none":
        return nn.Identity()
    if name == "batch":
        return nn.BatchNorm2d(channels)
    size = next(size for size in (8, 4, 2, 1) if channels % size == 0)
    return nn.GroupNorm(channels // size, channels)


def output(name: str, features: int) -> nn.Module:
    """What comes behind the last linear layer: "none", "relu", or "norm" (layer norm, which keeps a policy's inputs of one size)."""
    check_choice("output", name, OUTPUTS)
    return {"none": nn.Identity, "relu": nn.ReLU}[name]() if name != "norm" else nn.LayerNorm(features)


def positive(name: str, values: object) -> tuple[int, ...]:
    """A setting that is a sequence of positive whole numbers.

    Raises:
        SettingError: it is none.
    """
    sizes = tuple(values) if isinstance(values, list | tuple) else (values,)
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        raise SettingError(f"{name} must be positive whole numbers, found {values}")
    return sizes
