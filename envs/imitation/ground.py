"""How high the ground is below any point, and how far a reference is lifted there: lookups for all worlds at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mprl.envs.imitation.terrain import Terrain
from mprl.motion import Reference

EDGE = 1.0  # m from the border: so near a character leaves the terrain
_START = 2.0  # m from the border: no episode begins nearer


class Ground:
    """The ground of all worlds.

    Heights of characters are told above its guide (`Terrain.guide`), a surface that a reference walks on as on level ground; so
    rewards, terminations and observations are what they are on level ground. What is told above the guide is called levelled.

    Args:
        terrain: None for the level floor z = 0.
        device: of the tensors.

    Attributes:
        flat: whether there is no terrain.
    """

    def __init__(self, terrain: Terrain | None, device: torch.device) -> None:
        self.flat = terrain is None
        if terrain is None:
            return
        as_tensor: dict[str, Any] = {"dtype": torch.float32, "device": device}
        self._columns = terrain.heights.shape[1]
        self._last = torch.tensor([terrain.heights.shape[1] - 2, terrain.heights.shape[0] - 2], device=device)
        self._cell, self._size = torch.tensor(terrain.cell, **as_tensor), torch.tensor(terrain.size, **as_tensor)
        self._heights = torch.as_tensor(terrain.heights.reshape(-1).copy(), **as_tensor)
        self._guide = torch.as_tensor(terrain.guide.reshape(-1).copy(), **as_tensor)
        rows, columns = torch.as_tensor(terrain.start_cells.reshape(2, -1).copy(), device=device)
        self._starts = torch.stack((columns, rows), dim=-1) * self._cell

    def height(self, points: Tensor) -> Tensor:
        """How high the ground is, (..., 2 or 3) m -> (...) m; beyond the border as at the border. Exactly the simulated triangles."""
        if self.flat:
            return torch.zeros_like(points[..., 0])
        (near, right, left, far), (u, v) = self._corners(self._heights, points)
        # below the diagonal of a cell, from its near corner to its far one, and above it
        return torch.where(u > v, near + u * (right - near) + v * (far - right), near + v * (left - near) + u * (far - left))

    def guide(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Height (...) m and gradient (..., 2) of the surface that references walk on, at (..., 2 or 3) m."""
        if self.flat:
            return torch.zeros_like(points[..., 0]), torch.zeros_like(points[..., :2])
        (near, right, left, far), (u, v) = self._corners(self._guide, points)
        below, above = torch.lerp(near, right, u), torch.lerp(left, far, u)
        along = torch.lerp(right - near, far - left, v)
        return torch.lerp(below, above, v), torch.stack((along, above - below), dim=-1) / self._cell

    def beyond(self, points: Tensor) -> Tensor:
        """Whether (..., 2 or 3) m is within `EDGE` of the border, or beyond it, (...) bool; never on the level floor, which is endless."""
        if self.flat:
            return torch.zeros_like(points[..., 0], dtype=torch.bool)
        place = points[..., :2]
        return ((place < EDGE) | (place > self._size - EDGE)).any(dim=-1)

    def start(self, uniform: Tensor, travel: Tensor) -> Tensor:
        """Where episodes begin: uniform over where the way ahead is on the terrain, if possible, moved to the nearest good place.

        Args:
            uniform: random numbers in [0, 1), (W, 2).
            travel: how far the reference goes in an episode, (W, 2) m.

        Returns:
            (W, 3) m, z 0.
        """
        end = self._size - _START
        low = torch.minimum(_START + (-travel).clamp(min=0.0), end)
        high = (end - travel.clamp(min=0.0)).clamp(min=_START)
        return self.good_start(torch.lerp(low, high, uniform))

    def good_start(self, place: Tensor) -> Tensor:
        """The nearest place where an episode can begin, (W, 2) m -> (W, 3) m, z 0."""
        column, row = (place / self._cell).round().long().clamp(min=0).unbind(-1)
        column, row = torch.minimum(column, self._last[0] + 1), torch.minimum(row, self._last[1] + 1)
        return torch.nn.functional.pad(self._starts[row * self._columns + column], (0, 1))

    def lifted(self, reference: Reference) -> Reference:
        """A reference above level ground, as it is on this one: higher by the guide below its root, and moving along it."""
        if self.flat:
            return reference
        height, gradient = self.guide(reference.root_position)
        up = torch.nn.functional.pad(height.unsqueeze(-1), (2, 0))
        moved = reference.moved(up)
        climb = (gradient * reference.qvel[:, :2]).sum(dim=-1)
        qvel, com_velocity = reference.qvel.clone(), reference.com_velocity.clone()
        qvel[:, 2] += climb
        com_velocity[:, 2] += climb
        return replace(moved, qvel=qvel, com_velocity=com_velocity)

    def _corners(self, values: Tensor, points: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, Tensor]]:
        """Values at the corners of the cell of each point, and where in it the point is, both in 0 to 1."""
        at = torch.minimum((points[..., :2] / self._cell).clamp(min=0.0), self._last + 1.0)
        corner = torch.minimum(at.long(), self._last)
        u, v = (at - corner).unbind(-1)
        index = corner[..., 1] * self._columns + corner[..., 0]
        return tuple(values[index + step] for step in (0, 1, self._columns, self._columns + 1)), (u, v)
