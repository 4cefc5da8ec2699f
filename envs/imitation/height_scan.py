"""The ground around a character: heights on a grid that turns with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mprl.envs.imitation import observations
from mprl.envs.imitation.sensor import Worlds, finite, non_negative
from mprl.envs.imitation.terrain import GROUND_GROUP
from mprl.errors import SettingError, number


@dataclass(frozen=True)
class HeightScanSettings:
    """Where a height scan looks.

    Attributes:
        rows, columns: of the grid, along the heading and across it. spacing: m between its points.
        ahead: how far the middle of the grid is ahead of the root, m.
        limit: greatest height that is told, m, up and down.
        noise: standard deviation of white noise, m.
        rays: cast rays, which see everything that does not move, instead of looking the terrain up, which is faster.
    """

    rows: int = 17
    columns: int = 11
    spacing: float = 0.1
    ahead: float = 0.4
    limit: float = 2.0
    noise: float = 0.0
    rays: bool = False

    def __post_init__(self) -> None:
        for name in ("rows", "columns"):
            number(f"height_scan: {name}", getattr(self, name), 1, whole=True)
        finite("height_scan", self, ("ahead",))
        non_negative("height_scan", self, ("spacing", "limit", "noise"))
        if not (self.spacing > 0 and self.limit > 0):
            raise SettingError(f"height_scan: spacing and limit must be above 0 m, found {self.spacing} and {self.limit}")


class HeightScan:
    """Heights of the ground relative to the root, (rows, columns) m: z of the ground below a point of the grid, less the root's z.

    On level ground every number is minus the height of the root, some -.9 of a humanoid that stands. The grid is horizontal and turns with
    the heading; row 0 is furthest ahead and column 0 furthest to the left, like a map held in walking direction. Heights are clipped to
    `limit`; where a ray hits nothing it is -`limit`.

    Args:
        settings: see there.
        worlds: who looks.
    """

    Settings: ClassVar[type[Any]] = HeightScanSettings

    def __init__(self, settings: HeightScanSettings, worlds: Worlds) -> None:
        self._settings, self._ground, self._simulation = settings, worlds.ground, worlds.simulation
        device = self._simulation.device
        self._xpos, self._xquat = self._simulation.bind("xpos"), self._simulation.bind("xquat")
        self.shape = (settings.rows, settings.columns)
        x, y = (settings.spacing * (0.5 * (n - 1) - torch.arange(n, device=device)) for n in self.shape)
        ahead, left = torch.meshgrid(x + settings.ahead, y, indexing="ij")
        self._grid = torch.stack((ahead.flatten(), left.flatten(), torch.zeros_like(ahead).flatten()), dim=-1)  # heading frame
        self._noise = torch.zeros(self._simulation.num_worlds, *self.shape, device=device)

    def state(self) -> dict[str, Tensor]:
        return {"noise": self._noise} if self._settings.noise else {}

    def reset(self, mask: Tensor, random: torch.Generator) -> None:
        if self._settings.noise:
            self._noise.copy_(torch.where(mask.view(-1, 1, 1), self._drawn(random), self._noise))

    def advance(self, random: torch.Generator) -> None:
        if self._settings.noise:
            self._noise.copy_(self._drawn(random))

    def _drawn(self, random: torch.Generator) -> Tensor:
        return self._settings.noise * torch.randn(self._noise.shape, generator=random, device=random.device)

    def read(self, worlds: slice | Tensor) -> Tensor:
        limit = self._settings.limit
        seen = self._cast()[worlds] if self._settings.rays else self._looked_up(worlds)
        return seen.clamp(-limit, limit).unflatten(1, self.shape) + self._noise[worlds]

    def points(self, worlds: slice | Tensor = slice(None)) -> Tensor:
        """Where the grid is in the world, (W, rows x columns, 3) m, at the height of the root."""
        root, turned = self._xpos[worlds, 1].float(), self._xquat[worlds, 1].float()
        cos, sin = observations.heading_of(turned).unbind(-1)
        return root.unsqueeze(1) + observations.to_heading_frame(self._grid.expand(len(root), -1, -1), torch.stack((cos, -sin), dim=-1))

    def _looked_up(self, worlds: slice | Tensor) -> Tensor:
        points = self.points(worlds)
        return self._ground.height(points) - points[..., 2]

    def _cast(self) -> Tensor:
        """By rays that fall from `limit` above the root's height, in all worlds."""
        limit = self._settings.limit
        points = self.points()
        origin = points + points.new_tensor([0.0, 0.0, limit])
        down = points.new_tensor([0.0, 0.0, -1.0]).expand_as(origin)
        groups = [int(group == GROUND_GROUP) for group in range(6)]
        distance = self._simulation.ray(origin, down, geomgroup=groups).float()
        return torch.where(distance < 0, -limit, limit - distance)
