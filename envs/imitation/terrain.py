"""Ground that is not level: slopes, stairs, gaps and rough ground, generated, as one MuJoCo height field that all worlds share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, maximum_filter, minimum_filter, uniform_filter

from mprl.errors import SettingError, unknown_name

Array = NDArray[np.float64]

LENGTH, WIDTH = 48.0, 24.0  # m, along x and y: of generated terrain
REACH = 0.25  # m around the root within which the reference is above all ground
_STRIDE = 0.4  # m from the root to the far end of a foot that begins an episode
_SINK, _FLOAT = 0.06, 0.3  # m by which that foot may then be below and above the ground
_BASE = 0.5  # m of ground below the lowest point
_FLOOR = 1.5  # m from there down to the plane that catches what falls off the border
_COLOR = (0.50, 0.52, 0.44, 1.0)
GROUND_GROUP = 2  # of MuJoCo's six groups of geoms, the one of whatever does not move: rays that look for the ground see this one


@dataclass(frozen=True, eq=False)
class Terrain:
    """A surface over the rectangle from (0, 0) to `size` in the world.

    Attributes:
        heights: at the corners of a grid, (rows, columns) m; rows along y, columns along x, as in MuJoCo. Each cell is two triangles,
            divided from its corner nearest to the origin to the one across.
        cell: size of a cell along x and along y, m.
        level: what a reference walks on, like `heights`; by default that. It bridges gaps, say.
    """

    heights: Array
    cell: tuple[float, float]
    level: Array | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name, values in (("heights", self.heights), ("level", self.level)):
            if values is not None and (np.ndim(values) != 2 or min(np.shape(values)) < 2 or not np.isfinite(values).all()):
                raise SettingError(f"terrain: {name} must be finite numbers (rows, columns), 2 x 2 or more, found shape {np.shape(values)}")
        if self.level is not None and np.shape(self.level) != np.shape(self.heights):
            raise SettingError(f"terrain: level must have the shape of heights, {np.shape(self.heights)}, found {np.shape(self.level)}")
        if len(self.cell) != 2 or not min(self.cell) > 0:
            raise SettingError(f"terrain: cell must be two lengths above 0 m, found {self.cell}")

    @property
    def size(self) -> tuple[float, float]:
        """Length along x and width along y, m."""
        rows, columns = self.heights.shape
        return (columns - 1) * self.cell[0], (rows - 1) * self.cell[1]

    @cached_property
    def guide(self) -> Array:
        """How far a reference is lifted, (rows, columns) m: a smooth surface, nowhere below `level`.

        The greatest height within `REACH` m, averaged over as much: a maximum covers every point near it, and so does their mean. The
        reference walks on it as on level ground; its steps do not bend to the slope.
        """
        level = self.heights if self.level is None else self.level
        return uniform_filter(maximum_filter(np.asarray(level, float), self._window(REACH)), self._window(REACH), mode="nearest")

    @cached_property
    def start_cells(self) -> NDArray[np.int64]:
        """For each corner of the grid the nearest one where an episode can begin, (2, rows, columns): its row and column.

        There the ground within a stride is neither much above nor far below the guide: no gap, and no step just ahead.
        """
        window = self._window(_STRIDE)
        heights = np.asarray(self.heights, float)
        safe = (maximum_filter(heights, window) - self.guide < _SINK) & (self.guide - minimum_filter(heights, window) < _FLOAT)
        if not safe.any():
            safe[:] = True
        indices: Any = distance_transform_edt(~safe, sampling=self.cell[::-1], return_distances=False, return_indices=True)
        return np.asarray(indices, np.int64)

    def _window(self, radius: float) -> tuple[int, int]:
        return tuple(2 * round(radius / cell) + 1 for cell in self.cell[::-1])  # type: ignore[return-value]

    def put_into(self, spec: mujoco.MjSpec) -> None:
        """Make this the ground of a model, in place of its planes; one of these stays, out of reach, to catch what falls off the border."""
        low, high = float(np.min(self.heights)), float(np.max(self.heights))
        (length, width), (rows, columns) = self.size, self.heights.shape
        # MuJoCo scales what it is given to 0 to 1, and a level field to 0
        elevation = max(high - low, 1e-3)
        values, size = np.ravel(self.heights).tolist(), [length / 2, width / 2, elevation, _BASE]
        spec.add_hfield(name="terrain", size=size, nrow=rows, ncol=columns, userdata=values)
        middle = np.array([length / 2, width / 2, self.guide[rows // 2, columns // 2]])
        for body in spec.worldbody.bodies:  # at rest in the middle, not at the corner: where worlds that break down are put
            body.pos = body.pos + middle
        planes = [geom for geom in spec.worldbody.geoms if geom.type == mujoco.mjtGeom.mjGEOM_PLANE]
        like: dict[str, Any] = {}
        if planes:
            names = ("contype", "conaffinity", "condim", "friction", "solref", "solimp", "solmix", "margin", "gap", "priority")
            like = {name: getattr(planes[0], name) for name in names}
            planes[0].pos = [0.0, 0.0, low - _FLOOR]
            for plane in planes[1:]:
                spec.delete(plane)
        spec.worldbody.add_geom(
            name="terrain",
            type=mujoco.mjtGeom.mjGEOM_HFIELD,
            hfieldname="terrain",
            pos=[length / 2, width / 2, low],
            rgba=_COLOR,
            castshadow=False,
            **like,
        )


def generate(kind: str, difficulty: float = 0.5, seed: int = 0) -> Terrain | None:
    """Terrain of a kind, 48 m x 24 m; at a difficulty of 0 it is level.

    Args:
        kind: "slopes", "stairs", "gaps" or "rough"; of "flat" there is none.
        difficulty: in [0, 1]: steeper, higher, wider.
        seed: of where things are.

    Raises:
        UnknownNameError, SettingError: another kind, a difficulty outside, or a seed that is not a whole number of at least 0.
    """
    if kind not in ("flat", *KINDS):
        raise unknown_name("terrain", str(kind), ("flat", *KINDS), f"known: flat, {', '.join(KINDS)}")
    if isinstance(difficulty, bool) or not isinstance(difficulty, int | float) or not 0 <= difficulty <= 1:
        raise SettingError(f"difficulty must be in 0 to 1, found {difficulty!r}")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise SettingError(f"terrain_seed must be a whole number of at least 0, found {seed!r}")
    return None if kind == "flat" else KINDS[kind](float(difficulty), np.random.default_rng(seed))


def slopes(difficulty: float, random: np.random.Generator) -> Terrain:
    """Ramps of 3 to 6 m, alternately up and down along x, half to fully as steep as .35 (19 degrees) x difficulty."""
    cell, x, z, up = (0.25, 1.0), [0.0, 3.0], [0.0, 0.0], 1.0
    while x[-1] < LENGTH:
        run = cell[0] * round(random.uniform(3.0, 6.0) / cell[0])
        x.append(x[-1] + run)
        z.append(z[-1] + up * 0.35 * difficulty * random.uniform(0.5, 1.0) * run)
        up = -up
    return _across(np.interp(_columns(cell[0]), x, z), cell)


def stairs(difficulty: float, random: np.random.Generator) -> Terrain:
    """Flights of 4 to 8 steps, alternately up and down along x, .35 m deep and .18 m x difficulty high, and landings of 1.6 to 2.4 m."""
    cell, rise, up = (0.05, 0.5), 0.18 * difficulty, 1
    steps = [(3.0, up)]  # (length, change of height at its end)
    while sum(length for length, _ in steps) < LENGTH + cell[0]:
        flight = [(0.35, up)] * int(random.integers(3, 8))  # with the step onto the first tread
        up = -up
        steps += [*flight, (float(random.uniform(1.6, 2.4)), up)]
    return _across(_treads(steps, cell[0], rise), cell)


def gaps(difficulty: float, random: np.random.Generator) -> Terrain:
    """Ditches across the way, .6 m x difficulty wide and .5 m deep, every 1.2 to 2.4 m. The reference walks across them."""
    cell, depth = (0.05, 0.5), 0.5
    columns = _columns(cell[0])
    profile, at, wide = np.full(len(columns), depth), 3.0, 0.6 * difficulty
    while at < LENGTH:
        profile[(columns > at) & (columns < at + wide)] = 0.0
        at += wide + random.uniform(1.2, 2.4)
    ground = _across(profile, cell)
    return Terrain(ground.heights, cell, np.full_like(ground.heights, depth))


def rough(difficulty: float, random: np.random.Generator) -> Terrain:
    """Uneven ground: heights uniform in 0 to .12 m x difficulty at points .25 m apart."""
    cell = (0.25, 0.25)
    shape = (round(WIDTH / cell[1]) + 1, round(LENGTH / cell[0]) + 1)
    return Terrain(0.12 * difficulty * random.random(shape), cell)


KINDS: dict[str, Callable[[float, np.random.Generator], Terrain]] = {"slopes": slopes, "stairs": stairs, "gaps": gaps, "rough": rough}


def _columns(cell: float) -> Array:
    return cell * np.arange(round(LENGTH / cell) + 1, dtype=np.float64)


def _treads(steps: list[tuple[float, int]], cell: float, rise: float) -> Array:
    """Heights of a row of steps of some length, each followed by a change of height, in units of `rise`; (columns,) m."""
    profile, level = [], 0
    for length, change in steps:
        profile += [level] * round(length / cell)
        level += change
    return np.asarray(rise * np.array(profile, float)[: round(LENGTH / cell) + 1], np.float64)


def _across(profile: Array, cell: tuple[float, float]) -> Terrain:
    """The same profile along x at every y."""
    return Terrain(np.tile(profile, (round(WIDTH / cell[1]) + 1, 1)), cell)
