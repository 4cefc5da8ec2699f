"""From heatmaps and part-affinity fields to people, greedily (Cao et al. 2017, section 2.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from mprl.perception.pose2d import heatmaps

_SAMPLES = 10  # of a field along a limb
_AGREES = 0.05  # of the field's part along the limb: below, a sample speaks against it


def group(
    maps: Tensor,
    fields: Tensor,
    limbs: Sequence[tuple[int, int]],
    stride: float,
    threshold: float = 0.1,
    agreement: float = 0.7,
    least_points: int = 4,
    least_score: float = 0.15,
    most: int = 12,
) -> Tensor:
    """Everybody in one picture.

    Args:
        maps: heatmaps, (K, H, W).
        fields: x and y along each limb, (L, 2, H, W).
        limbs: both ends of each.
        stride: px along a cell.
        threshold: of a heatmap's peak, above which there is a keypoint.
        agreement: share of a limb's samples that must point along it.
        least_points: of a person.
        least_score: mean of its keypoints' values.
        most: keypoints of a kind that are looked at.

    Returns:
        Keypoints (P, K, 3): x, y px and the heatmap's value, 0 where there is none; the person with the highest sum first.
    """
    candidates = _candidates(maps, stride, threshold, most)
    people: list[dict[int, int]] = []  # for each keypoint which of its candidates
    for limb, (start, end) in enumerate(limbs):
        for a, b in _pairs(candidates[start], candidates[end], fields[limb], stride, agreement):
            _join(people, (start, a), (end, b))
    found = torch.zeros(len(people), len(maps), 3)
    for row, person in enumerate(people):
        for point, place in person.items():
            found[row, point] = candidates[point][place]
    count = (found[..., 2] > 0).sum(1)
    total = found[..., 2].sum(1)
    found = found[(count >= least_points) & (total / count.clamp(min=1) >= least_score)]
    return found[found[..., 2].sum(1).argsort(descending=True)]


def _candidates(maps: Tensor, stride: float, threshold: float, most: int) -> list[Tensor]:
    """Of each heatmap the cells that are brighter than their eight neighbours: x, y px and value, (n, 3), the brightest first."""
    # of equal neighbours, between which a keypoint lies, the first one
    ranked = maps.double() - 1e-9 * torch.arange(maps[0].numel(), dtype=torch.float64).view(maps[0].shape)
    is_peak = (ranked == functional.max_pool2d(ranked[None], 3, 1, 1)[0]) & (maps > threshold)
    found = []
    for map_, peak in zip(maps, is_peak, strict=True):
        cells = peak.flatten().nonzero()[:, 0]
        cells = cells[map_.flatten()[cells].argsort(descending=True)][:most]
        found.append(
            heatmaps.decode(map_.expand(1, len(cells), -1, -1), stride, "dark", cells[None])[0] if len(cells) else map_.new_zeros(0, 3)
        )
    return found


def _pairs(starts: Tensor, ends: Tensor, field: Tensor, stride: float, agreement: float) -> list[tuple[int, int]]:
    """Which start belongs to which end, the surest first, each in one pair at most: by the mean of the field's part along the way."""
    if not len(starts) or not len(ends):
        return []
    height, width = field.shape[1:]
    way = ends[None, :, :2] - starts[:, None, :2]  # (S, E, 2)
    length = way.norm(dim=-1)
    unit = way / length.clamp(min=1e-6)[..., None]
    steps = torch.linspace(0, 1, _SAMPLES)
    places = (starts[:, None, None, :2] + steps[:, None] * way[:, :, None]) / stride
    column, row = places[..., 0].floor().long().clamp(0, width - 1), places[..., 1].floor().long().clamp(0, height - 1)
    part = (field[:, row, column] * unit.permute(2, 0, 1)[..., None]).sum(0)  # (S, E, samples)
    # longer than half of the picture is unlikely (as in OpenPose)
    score = part.mean(-1) + (0.5 * stride * height / length.clamp(min=1e-6) - 1).clamp(max=0)
    good = ((part > _AGREES).float().mean(-1) >= agreement) & (score > 0)
    pairs = []
    score = torch.where(good, score, -torch.inf)
    while torch.isfinite(score).any():
        a, b = divmod(int(score.argmax()), len(ends))
        pairs.append((a, b))
        score[a], score[:, b] = -torch.inf, -torch.inf
    return pairs


def _join(people: list[dict[int, int]], first: tuple[int, int], second: tuple[int, int]) -> None:
    """Put two keypoints into one person: the one that has either, both if they lack nothing in common, or a new one."""
    have = [person for person in people if any(person.get(point) == place for point, place in (first, second))]
    if not have:
        people.append(dict((first, second)))
    elif len(have) == 1:
        for point, place in (first, second):
            have[0].setdefault(point, place)
    elif not have[0].keys() & have[1].keys():
        have[0].update(have[1])
        people.remove(have[1])
