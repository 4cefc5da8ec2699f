"""Light on people, and what a camera makes of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def lit(colours: Array, points: Array, triangles: NDArray[np.int64], rng: np.random.Generator) -> Array:
    """Colours (F, 3) of triangles in the light of a sky, a floor and one lamp."""
    a, b, c = (points[triangles[:, corner]] for corner in range(3))
    (ux, uy, uz), (vx, vy, vz) = (b - a).T, (c - a).T
    normal = np.stack([uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx], axis=1)
    normal /= np.sqrt((normal**2).sum(axis=1, keepdims=True)) + 1e-12
    lamp = rng.normal(size=3)
    lamp[2] = abs(lamp[2]) + 0.3
    lamp /= np.linalg.norm(lamp)
    tint = rng.uniform(0.85, 1.0, (2, 3))
    sky = rng.uniform(0.45, 0.8) * (1.0 + 0.25 * normal[:, 2:]) * tint[0]
    direct = rng.uniform(0.2, 0.7) * np.maximum(normal @ lamp, 0)[:, None] * tint[1]
    return (colours * (sky + direct)).astype(np.float32)


def photographed(canvas: Array, rng: np.random.Generator, noise: float, blur: float) -> NDArray[np.uint8]:
    """What a camera makes of it: pixels as means of four samples, exposure, blur and noise.

    Args:
        canvas: light of the samples, (2 H, 2 W, 3).
        rng: of all that is drawn.
        noise: greatest standard deviation of a pixel's noise, of 1.
        blur: how likely the picture is one of half as many pixels along a side.
    """
    height, width = (side // 2 for side in canvas.shape[:2])
    image = canvas.reshape(height, 2, width, 2, 3).mean(axis=(1, 3))
    if rng.random() < blur and height % 2 == width % 2 == 0:
        coarse = image.reshape(height // 2, 2, width // 2, 2, 3).mean(axis=(1, 3))
        image = _doubled(_doubled(coarse, 0), 1)
    image = (image - 0.5) * rng.uniform(0.75, 1.2) + rng.uniform(0.42, 0.62)
    image = image + rng.normal(0.0, noise * rng.random() + 1e-6, image.shape)
    return (255 * image.clip(0, 1) + 0.5).astype(np.uint8)


def _doubled(image: NDArray[Any], axis: int) -> NDArray[Any]:
    """Twice as many pixels along an axis, by linear interpolation."""
    image = np.moveaxis(image, axis, 0)
    padded = np.concatenate([image[:1], image, image[-1:]])
    fine = np.stack([0.25 * padded[:-2] + 0.75 * padded[1:-1], 0.75 * padded[1:-1] + 0.25 * padded[2:]], axis=1)
    return np.moveaxis(fine.reshape(2 * len(image), *image.shape[1:]), 0, axis)
