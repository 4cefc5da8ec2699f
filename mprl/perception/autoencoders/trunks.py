"""What autoencoders share: the way from an observation to a code, and back to the same shape.

Pictures go through 4×4 convolutions of stride 2, each of which halves them, and transposed ones on the way back; anything else through
linear layers. Without layers both ways are one linear map.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mprl.errors import SettingError
from mprl.perception.encoders import layers as named
from mprl.perception.encoders import sizes

KERNEL, STRIDE, PADDING = 4, 2, 1  # halve an even size exactly; every pixel is under as many kernels as any other: no checkerboard


def layers_for(shape: Sequence[int], layers: Sequence[int] | None) -> tuple[int, ...]:
    """The layers asked for; by default channels for pictures, halved until some 4 pixels are left, or hidden sizes for anything else."""
    if layers is not None:
        return tuple(layers)
    if len(shape) != 3:
        return (256, 256)
    halvings = max(1, min(4, int(math.log2(min(shape[1:]) / 4)))) if min(shape[1:]) >= 8 else 1
    return (32, 64, 64, 64)[:halvings]


def halved(shape: Sequence[int], layers: Sequence[int]) -> list[tuple[int, int]]:
    """Height and width before the first convolution and behind each.

    Raises:
        SettingError: nothing would be left of the picture.
    """
    found = [(shape[1], shape[2])]
    for _ in layers:
        height, width = found[-1]
        if min(height, width) < 2:
            raise SettingError(f"a picture of {shape[1]} x {shape[2]} cannot be halved {len(layers)} times; give fewer layers")
        found.append((sizes.convolution(height, KERNEL, STRIDE, PADDING), sizes.convolution(width, KERNEL, STRIDE, PADDING)))
    return found


def convolutions(shape: Sequence[int], layers: Sequence[int], activation: str) -> nn.Sequential:
    """From pictures (B, C, H, W) to maps (B, layers[-1], h, w) of `halved`."""
    parts: list[nn.Module] = []
    for inputs, outputs in zip((shape[0], *layers), layers, strict=False):
        parts += [nn.Conv2d(inputs, outputs, KERNEL, STRIDE, PADDING), named.activation(activation)]
    return nn.Sequential(*parts)


def transposed_convolutions(shape: Sequence[int], layers: Sequence[int], activation: str) -> nn.Sequential:
    """From maps (B, layers[-1], h, w) back to pictures (B, C, H, W); no activation at the end."""
    found = halved(shape, layers)
    parts: list[nn.Module] = []
    for at in reversed(range(len(layers))):
        rows, columns = (sizes.output_padding(size, KERNEL, STRIDE, PADDING) for size in found[at])
        outputs = layers[at - 1] if at else shape[0]
        parts += [nn.ConvTranspose2d(layers[at], outputs, KERNEL, STRIDE, PADDING, (rows, columns)), named.activation(activation)]
    return nn.Sequential(*parts[:-1])


def encoder(shape: Sequence[int], outputs: int, layers: Sequence[int], activation: str) -> nn.Sequential:
    """From (B, *shape) to (B, outputs)."""
    if len(shape) == 3 and layers:
        height, width = halved(shape, layers)[-1]
        return nn.Sequential(*convolutions(shape, layers, activation), nn.Flatten(), nn.Linear(layers[-1] * height * width, outputs))
    return nn.Sequential(nn.Flatten(), *_perceptron((math.prod(shape), *layers, outputs), activation))


def decoder(inputs: int, shape: Sequence[int], layers: Sequence[int], activation: str) -> nn.Sequential:
    """From (B, inputs) to (B, *shape), with the encoder's layers in reverse."""
    if len(shape) == 3 and layers:
        height, width = halved(shape, layers)[-1]
        return nn.Sequential(
            nn.Linear(inputs, layers[-1] * height * width),
            named.activation(activation),
            nn.Unflatten(1, (layers[-1], height, width)),
            *transposed_convolutions(shape, layers, activation),
        )
    return nn.Sequential(*_perceptron((inputs, *reversed(layers), math.prod(shape)), activation), nn.Unflatten(1, tuple(shape)))


def _perceptron(widths: Sequence[int], activation: str) -> list[nn.Module]:
    parts: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        parts += [nn.Linear(inputs, outputs), named.activation(activation)]
    return parts[:-1]


def side_by_side(images: Tensor, *made: Tensor) -> Tensor:
    """Pictures and what was made of them, for a person: (B, 3, H, W × how many), in [0, 1]. Of stacked frames the newest."""
    shown = [picture[:, -3:] if picture.shape[1] >= 3 else picture[:, -1:].expand(-1, 3, -1, -1) for picture in (images, *made)]
    return torch.cat(shown, -1).clamp(0, 1)
