"""Pictorial structures: keypoints that are where their heatmaps are bright and where a body's limbs reach (Felzenszwalb 2005).

The score of a pose is Σ_k log h_k(l_k) − w Σ_{(a, b)} spring_ab(l_b − l_a) over a tree of limbs, and the best of all poses is found
exactly by dynamic programming (max-sum) from the leaves to the root and back. A spring is quadratic in x and in y, so that a message
(a distance transform) is two passes over rows and columns rather than one over pairs of cells. A limb may have several springs, of
which the best one counts: an arm that hangs and one that is raised (Yang & Ramanan 2013).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mprl.errors import SettingError
from mprl.perception.pose2d import heatmaps
from mprl.perception.pose2d.limbs import parents

_LEAST = 0.02  # a heatmap's value below which one place is as bad as another: there the springs decide


@dataclass(frozen=True)
class Springs:
    """What limbs are like.

    Attributes:
        parent: of each keypoint in the tree, -1 of the root; a parent may come behind its children.
        mean: of C springs, from the parent to the keypoint, (K, C, 2) cells.
        variance: along x and y, (K, C, 2) cells².
        cost: of choosing each spring, (K, C), −log of how often it is the right one.
    """

    parent: tuple[int, ...]
    mean: Tensor
    variance: Tensor
    cost: Tensor

    @classmethod
    def fitted(cls, keypoints: Tensor, known: Tensor, stride: float, layout: str = "coco_17", kinds: int = 4, rounds: int = 20) -> Springs:
        """Springs of true poses: each limb's offsets in so many clusters (k-means).

        Args:
            keypoints: (N, K, 2) px.
            known: (N, K) bool.
            stride: px along a cell.
            layout: of the keypoints.
            kinds: springs of each limb.
            rounds: of k-means.

        Raises:
            SettingError: a limb of which fewer than `kinds` examples are known.
        """
        parent = parents(layout)
        mean, variance, cost = torch.zeros(len(parent), kinds, 2), torch.ones(len(parent), kinds, 2), torch.zeros(len(parent), kinds)
        for point, above in enumerate(parent):
            if above < 0:
                continue
            both = known[:, point] & known[:, above]
            offset = (keypoints[both, point] - keypoints[both, above]) / stride
            if len(offset) < kinds:
                raise SettingError(f"springs need at least {kinds} examples of each limb, found {len(offset)}")
            # begin with offsets that lie apart: in the order of their direction
            middle = offset[torch.atan2(offset[:, 1], offset[:, 0]).argsort()][(torch.arange(kinds) * len(offset)) // kinds]
            for _ in range(rounds):
                nearest = torch.cdist(offset, middle).argmin(1)
                for kind in nearest.unique():
                    middle[kind] = offset[nearest == kind].mean(0)
            for kind in range(kinds):
                mine = offset[nearest == kind]
                spread = (mine - middle[kind]).square().mean(0) if len(mine) else torch.ones(2)
                mean[point, kind], variance[point, kind] = middle[kind], spread + 0.5
                cost[point, kind] = -torch.log(torch.tensor((len(mine) + 1) / (len(offset) + kinds)))
        return cls(parent, mean, variance, cost)

    def stretched(self, point: int, kind: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """What a keypoint's spring costs along x and along y: (W, W) and (H, H), the parent's place first."""
        tables = []
        for axis, count in ((0, size[1]), (1, size[0])):
            at = torch.arange(count, dtype=torch.float32)
            off = at[None, :] - at[:, None] - self.mean[point, kind, axis]
            tables.append(0.5 * off.square() / self.variance[point, kind, axis])
        return tables[0], tables[1]


def refine(maps: Tensor, springs: Springs, weight: float = 0.1) -> Tensor:
    """The cells of the best pose.

    Args:
        maps: heatmaps, (B, K, H, W).
        springs: of its limbs.
        weight: of the springs.

    Returns:
        Of each keypoint row · W + column, (B, K), for `heatmaps.decode`.

    Raises:
        SettingError: springs of another number of keypoints.
    """
    if maps.shape[1] != len(springs.parent):
        raise SettingError(f"these springs are of {len(springs.parent)} keypoints, found heatmaps of {maps.shape[1]}")
    return max_sum(maps.clamp(min=_LEAST).log(), springs, weight)


def max_sum(scores: Tensor, springs: Springs, weight: float = 1.0) -> Tensor:
    """argmax over all poses of Σ scores − weight · Σ springs, exactly; (B, K, H, W) -> (B, K) as row · W + column."""
    batch, points, height, width = scores.shape
    order = _leaves_first(springs.parent)
    total = list(scores.unbind(1))
    come_from: dict[int, Tensor] = {}  # the best cell of a keypoint for each cell of its parent, (B, H · W)
    for point in order[:-1]:
        best, place = None, None
        for kind in range(springs.mean.shape[1]):
            along_x, along_y = (weight * table.to(scores) for table in springs.stretched(point, kind, (height, width)))
            value, row = (total[point][:, None] - along_y[None, :, :, None]).max(2)  # (B, H of the parent, W)
            value, column = (value[:, :, None] - along_x).max(3)  # (B, H of the parent, W of the parent)
            value = value - weight * springs.cost[point, kind]
            cell = row.gather(2, column) * width + column
            if best is None or place is None:
                best, place = value, cell
            else:
                place, best = torch.where(value > best, cell, place), torch.maximum(value, best)
        assert best is not None and place is not None
        total[springs.parent[point]] = total[springs.parent[point]] + best
        come_from[point] = place.flatten(1)
    cells = torch.zeros(batch, points, dtype=torch.long, device=scores.device)
    cells[:, order[-1]] = total[order[-1]].flatten(1).argmax(1)
    for point in reversed(order[:-1]):
        cells[:, point] = come_from[point].gather(1, cells[:, springs.parent[point], None])[:, 0]
    return cells


def estimate(maps: Tensor, stride: float, springs: Springs, weight: float = 0.1, how: str = "dark") -> Tensor:
    """As `heatmaps.decode`, at the cells of the best pose."""
    return heatmaps.decode(maps, stride, how, refine(maps, springs, weight))


def _leaves_first(parent: Sequence[int]) -> list[int]:
    """An order in which every keypoint comes before its parent."""
    depth = []
    for point in range(len(parent)):
        count = 0
        while parent[point] >= 0:
            point, count = parent[point], count + 1
        depth.append(count)
    return sorted(range(len(parent)), key=lambda point: -depth[point])
