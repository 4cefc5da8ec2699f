"""What may change in a picture without changing what it shows. All of it is drawn from a generator, one draw for each picture."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def shift(images: Tensor, offsets: Tensor) -> Tensor:
    """Move pictures by whole pixels; at the border the outermost ones are repeated.

    Args:
        images: (B, C, H, W).
        offsets: pixels down and to the right, (B, 2) whole numbers.
    """
    height, width = images.shape[2:]
    rows = (torch.arange(height, device=images.device) - offsets[:, :1]).clamp(0, height - 1)  # (B, H)
    columns = (torch.arange(width, device=images.device) - offsets[:, 1:]).clamp(0, width - 1)
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    found = images.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]]
    return found.permute(0, 3, 1, 2).contiguous()


def random_shift(images: Tensor, most: int = 4, generator: torch.Generator | None = None) -> Tensor:
    """Move each picture by up to so many pixels in both directions (DrQ: Kostrikov et al. 2020, arXiv 2004.13649; there, 4 of 84).

    Args:
        images: (B, C, H, W).
        most: pixels.
        generator: of the offsets.
    """
    return shift(images, torch.randint(-most, most + 1, (len(images), 2), generator=generator, device=images.device))


def random_crop(images: Tensor, least: float, most: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
    """A random square part of each picture, enlarged to the whole's size.

    Args:
        images: (B, C, H, W).
        least, most: side of the part over the whole's, uniform between the two.
        generator: of sizes and places.
    """
    side, row, column = torch.rand(3, len(images), generator=generator, device=images.device)
    side = least + (most - least) * side
    transform = images.new_zeros(len(images), 2, 3)
    transform[:, 0, 0] = transform[:, 1, 1] = side
    transform[:, 0, 2], transform[:, 1, 2] = (1 - side) * (2 * column - 1), (1 - side) * (2 * row - 1)
    grid = functional.affine_grid(transform, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def random_light(images: Tensor, most: float = 0.2, generator: torch.Generator | None = None) -> Tensor:
    """Brightness and contrast of each picture changed by up to so much: (x − mean) (1 + a) + mean + b."""
    contrast, brightness = most * (2 * torch.rand(2, len(images), 1, 1, 1, generator=generator, device=images.device) - 1)
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * (1 + contrast) + mean + brightness
