"""Pictures that differ from episode to episode: light, colours, textures, a camera that is never quite in its place.

A model trained on these cannot rely on one appearance (domain randomisation: Tobin et al. 2017, arXiv 1703.06907).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Generic, TypeVar

import mujoco
import numpy as np
from numpy.typing import NDArray

from mprl.errors import SettingError, number
from mprl.simulation.cameras import FLOORS, Appearance

Value = TypeVar("Value")


@dataclass(frozen=True)
class Randomisation:
    """How much appearances vary. Drawn for each episode of each world, from the environment's seed.

    | | camera of a MuJoCo environment | rendered pictures |
    |---|---|---|
    | `light` | brightness of the lamps, factor 1 ± light; direction of the first, up to 90° x light | brightness, factor 1 ± light |
    | `colour` | red, green and blue of each shape, factors 1 ± colour | red, green and blue, factors 1 ± colour |
    | `texture` | one of four floors, where the model brings no textures | - |
    | `shift` | place of the camera, ± shift m in each direction | - |
    | `turn` | direction of the camera, ± turn degrees about each axis | - |
    | `zoom` | size of the picture, factor 1 ± zoom | - |
    | `pixels` | - | place in the picture, ± pixels in both directions |
    """

    light: float = 0.3
    colour: float = 0.2
    texture: bool = True
    shift: float = 0.03
    turn: float = 3.0
    zoom: float = 0.05
    pixels: int = 2

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "texture":
                number(field.name, value, 0)
            if field.name in ("light", "colour", "zoom") and value >= 1:
                raise SettingError(f"{field.name} must be below 1 for a factor of 1 ± {field.name}, found {value}")

    def appearance(self, random: np.random.Generator, model: mujoco.MjModel) -> Appearance:
        """What a camera sees differently."""
        zenith = 0.5 * np.pi * self.light * random.uniform()
        azimuth = random.uniform(0, 2 * np.pi)
        sun = np.array([np.sin(zenith) * np.cos(azimuth), np.sin(zenith) * np.sin(azimuth), -np.cos(zenith)])
        return Appearance(
            brightness=1 + random.uniform(-self.light, self.light),
            sun=sun if self.light else None,
            tint=1 + random.uniform(-self.colour, self.colour, (model.ngeom, 3)) if self.colour else None,
            floor=int(random.integers(FLOORS)) if self.texture else 0,
            shift=random.uniform(-self.shift, self.shift, 3),
            turn=np.radians(random.uniform(-self.turn, self.turn, 3)),
            zoom=1 + random.uniform(-self.zoom, self.zoom),
        )

    def filter(self, random: np.random.Generator) -> Filter:
        """What a rendered picture shows differently."""
        light = 1 + random.uniform(-self.light, self.light)
        gains = light * (1 + random.uniform(-self.colour, self.colour, 3))
        down, right = random.integers(-self.pixels, self.pixels, 2, endpoint=True)
        return Filter((float(gains[0]), float(gains[1]), float(gains[2])), int(down), int(right))


@dataclass(frozen=True)
class Filter:
    """A picture in another light, moved by some pixels; at the edge the last row or column is repeated.

    Attributes:
        gains: factors of red, green and blue; a grey picture has their mean.
        down, right: pixels.
    """

    gains: tuple[float, float, float]
    down: int
    right: int

    def __call__(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A picture, (H, W, 3) or (H, W, 1) uint8, as seen through this."""
        gains = np.array(self.gains) if picture.shape[2] == 3 else np.array([np.mean(self.gains)])
        levels = np.clip(np.rint(np.arange(256)[:, None] * gains), 0, 255).astype(np.uint8)
        rows = np.clip(np.arange(picture.shape[0]) - self.down, 0, picture.shape[0] - 1)
        columns = np.clip(np.arange(picture.shape[1]) - self.right, 0, picture.shape[1] - 1)
        moved = picture[rows[:, None], columns]
        return levels[moved, np.arange(picture.shape[2])]


class Draws(Generic[Value]):
    """A value for each world, drawn anew at each episode; worlds do not depend on each other.

    Args:
        worlds: how many.
        draw: a value, given a random generator.
    """

    def __init__(self, worlds: int, draw: Callable[[np.random.Generator, int], Value]) -> None:
        self._draw = draw
        self._randoms = [np.random.default_rng() for _ in range(worlds)]
        self._values: dict[int, Value] = {}

    def seed(self, seed: int | Sequence[int]) -> None:
        """Begin anew; the same seed gives the same values."""
        numbers = list(seed) if isinstance(seed, Sequence) else [seed]
        self._randoms = [np.random.default_rng([*numbers, world]) for world in range(len(self._randoms))]

    def begin(self, worlds: NDArray[np.int64]) -> None:
        """These worlds begin an episode."""
        for world in worlds.tolist():
            self._values[world] = self._draw(self._randoms[world], world)

    def __getitem__(self, world: int) -> Value:
        return self._values[world]
