"""Heatmaps: one picture for each keypoint, bright where it is; how they are made for training, and where exactly their peak is."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

DECODERS = ("cell", "quarter", "dark")
_LEAST = 1e-4  # of a heatmap's value, so that its logarithm is finite


def gaussians(keypoints: Tensor, shown: Tensor, size: tuple[int, int], stride: float, sigma: float = 1.0) -> Tensor:
    """exp(-d² / 2σ²) around each keypoint, 0 where it is not shown; of several people's the greatest.

    Args:
        keypoints: (B, K, 2) px, or of several people (B, P, K, 2).
        shown: (B, K) or (B, P, K), bool.
        size: rows and columns of a heatmap.
        stride: px along a cell, whose middle is at (column + .5) · stride.
        sigma: cells.

    Returns:
        (B, K, *size).
    """
    if keypoints.ndim == 4:
        return torch.stack([gaussians(*each, size, stride, sigma) for each in zip(keypoints.unbind(1), shown.unbind(1), strict=True)]).amax(
            0
        )
    rows, columns = ((torch.arange(count, device=keypoints.device) + 0.5) for count in size)
    x, y = (keypoints / stride).unbind(-1)
    across = torch.exp(-0.5 * ((columns - x[..., None]) / sigma).square())
    down = torch.exp(-0.5 * ((rows - y[..., None]) / sigma).square())
    return down[..., :, None] * across[..., None, :] * shown[..., None, None]


def located(scores: Tensor, sigma: float = 1.0) -> Tensor:
    """Heatmaps of one person, from a score for each cell (B, K, H, W).

    A keypoint is in one cell or nowhere in the picture, whose score is 0: a softmax over all of them. It is multiplied by 2πσ², so that
    who is sure of a place and knows it to a Gaussian makes the heatmap of `gaussians`, which is 1 at its peak.
    """
    return 2 * math.pi * sigma**2 * (scores.flatten(2) - _total(scores)).exp().view_as(scores)


def location_loss(scores: Tensor, target: Tensor, sigma: float = 1.0) -> Tensor:
    """Cross-entropy of where keypoints are, nats, mean over keypoints: the least for the scores whose `located` is the target's mean.

    Squared errors of heatmaps that are next to 0 nearly everywhere are small for a map that is 0, and learning begins slowly; here the
    whole picture competes for each keypoint from the first update on.

    Args:
        scores: (B, K, H, W), as of `located`.
        target: of `gaussians`; what a Gaussian has beyond the edge, or all of it of a keypoint that is not shown, is nowhere.
        sigma: of the target, cells.
    """
    there = target / (2 * math.pi * sigma**2)
    return (_total(scores).squeeze(-1) - (there * scores).sum((2, 3))).mean()


def _total(scores: Tensor) -> Tensor:
    """log(1 + Σ exp) over cells, (B, K, 1)."""
    return torch.logsumexp(torch.cat([scores.flatten(2), scores.new_zeros(*scores.shape[:2], 1)], -1), -1, keepdim=True)


def peaks(maps: Tensor) -> Tensor:
    """The brightest cell of each heatmap, (B, K, H, W) -> (B, K) as row · W + column."""
    return maps.flatten(2).argmax(-1)


def decode(maps: Tensor, stride: float, how: str = "dark", cells: Tensor | None = None) -> Tensor:
    """Where keypoints are, and how bright their heatmaps there.

    | how | the place |
    |---|---|
    | "cell" | the middle of the cell |
    | "quarter" | a quarter of a cell from there towards the brighter neighbour along each axis (Newell et al. 2016) |
    | "dark" | where a Gaussian through the cell and its neighbours has its peak: one Newton step on the logarithm (Zhang et al. 2020) |

    Args:
        maps: (B, K, H, W).
        stride: px along a cell.
        how: one of `DECODERS`.
        cells: which cells, (B, K); by default each heatmap's brightest.

    Returns:
        x and y px and the heatmap's value, (B, K, 3).
    """
    height, width = maps.shape[2:]
    cells = peaks(maps) if cells is None else cells
    row, column = cells // width, cells % width
    value = maps.flatten(2).gather(-1, cells[..., None]).squeeze(-1)
    place = torch.stack([column, row], -1) + 0.5
    if how != "cell":
        inside = (row > 0) & (row < height - 1) & (column > 0) & (column < width - 1)
        near = _neighbours(maps, row, column)
        move = _quarter(near) if how == "quarter" else _newton(near.clamp(min=_LEAST).log())
        place = place + torch.where(inside[..., None], move, 0.0)
    return torch.cat([stride * place, value[..., None]], -1)


def _neighbours(maps: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """The 3 x 3 cells around a cell, (B, K, 3, 3); those beyond the edge repeat it."""
    padded = functional.pad(maps, (1, 1, 1, 1), mode="replicate")
    width = padded.shape[-1]
    steps = torch.arange(3, device=maps.device)
    places = (row[..., None, None] + steps[:, None]) * width + column[..., None, None] + steps
    return padded.flatten(2).gather(-1, places.flatten(2)).unflatten(-1, (3, 3))


def _quarter(near: Tensor) -> Tensor:
    return 0.25 * torch.stack([near[..., 1, 2] - near[..., 1, 0], near[..., 2, 1] - near[..., 0, 1]], -1).sign()


def _newton(log: Tensor) -> Tensor:
    """From a cell to the peak of the quadric through its neighbours, at most a cell along each axis; 0 where it has none."""
    dx, dy = (log[..., 1, 2] - log[..., 1, 0]) / 2, (log[..., 2, 1] - log[..., 0, 1]) / 2
    middle = 2 * log[..., 1, 1]
    dxx, dyy = log[..., 1, 2] + log[..., 1, 0] - middle, log[..., 2, 1] + log[..., 0, 1] - middle
    dxy = (log[..., 2, 2] + log[..., 0, 0] - log[..., 2, 0] - log[..., 0, 2]) / 4
    determinant = dxx * dyy - dxy.square()
    is_peak = (determinant > 1e-8) & (dxx < 0)
    move = -torch.stack([dyy * dx - dxy * dy, dxx * dy - dxy * dx], -1) / torch.where(is_peak, determinant, 1.0)[..., None]
    return torch.where(is_peak[..., None], move.clamp(-1, 1), 0.0)
