"""What is behind people: flat colours, gradients, noise and clutter, and in most pictures a floor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mprl.envs.people.camera import Camera

Array = NDArray[np.float32]

BACKGROUNDS = ("flat", "gradient", "noise", "clutter")
_FAR = 40.0  # m: where the floor has become its mean colour


def background(rng: np.random.Generator, camera: Camera, height: int, width: int, kinds: tuple[str, ...] = BACKGROUNDS) -> Array:
    """A picture without anybody, (H, W, 3) in [0, 1]."""
    first, second = rng.random((2, 3)).astype(np.float32)
    kind = str(rng.choice(kinds))
    picture = np.broadcast_to(first, (height, width, 3)).copy()
    if kind == "gradient":
        share = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
        picture = (1 - share) * picture + share * second
    elif kind == "noise":
        share = sum(_smooth(rng, cells, height, width) / 2**octave for octave, cells in enumerate((3, 6, 12, 24))) / 1.875
        picture = (1 - share) * picture + share * second
    elif kind == "clutter":
        for _ in range(rng.integers(4, 24)):
            (left, top), size = rng.random(2) * (width, height), rng.exponential(0.25, 2) * (width, height)
            rows, columns = slice(int(top), int(top + size[1]) + 1), slice(int(left), int(left + size[0]) + 1)
            picture[rows, columns] = rng.random(3)
    if rng.random() < 0.6:
        _lay_floor(rng, picture, camera)
    return picture


def _smooth(rng: np.random.Generator, cells: int, height: int, width: int) -> Array:
    """Noise in [0, 1] that changes over a picture's `cells`-th part, (H, W, 1)."""
    grid = rng.random((cells + 2, cells + 2)).astype(np.float32)
    rows, columns = (np.linspace(0, cells, size, endpoint=False, dtype=np.float32) for size in (height, width))
    i, j = rows.astype(int), columns.astype(int)
    a, b = (rows - i)[:, None], (columns - j)[None]
    upper = (1 - b) * grid[np.ix_(i, j)] + b * grid[np.ix_(i, j + 1)]
    lower = (1 - b) * grid[np.ix_(i + 1, j)] + b * grid[np.ix_(i + 1, j + 1)]
    return ((1 - a) * upper + a * lower)[..., None]


def _lay_floor(rng: np.random.Generator, picture: Array, camera: Camera) -> None:
    """Draw the plane z = 0: checks, boards or one colour."""
    height, width = picture.shape[:2]
    rays = camera.rays(height, width)
    down = -rays[..., 2]
    reach = camera.position[2] / np.maximum(down, 1e-6)
    is_floor = (down > 1e-6) & (camera.position[2] > 0)
    spot = (camera.position[:2] + reach[..., None] * rays[..., :2]) / rng.uniform(0.15, 1.0)
    first, second = rng.random((2, 3)).astype(np.float32)
    kind = rng.integers(3)
    cell = np.floor(spot).astype(np.int64)
    share = np.zeros((height, width), np.float32) if kind == 2 else ((cell[..., 0] + (kind == 0) * cell[..., 1]) % 2).astype(np.float32)
    # far away a check is smaller than a pixel, and its mean is what is seen
    share += (0.5 - share) * np.clip(reach / _FAR, 0, 1)
    colours = (1 - share[..., None]) * first + share[..., None] * second
    picture[is_floor] = colours[is_floor]
