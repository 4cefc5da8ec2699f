"""Pictorial structures: the best pose is the best of all poses, by trying all of them."""

from __future__ import annotations

import pytest
import torch

from mprl.errors import SettingError
from mprl.perception.pose2d import limbs, pictorial
from mprl.perception.pose2d.pictorial import Springs


def tree(kinds: int, seed: int) -> Springs:
    """Four keypoints, of which the third is the root: 2 <- 0, 2 <- 1, 1 <- 3."""
    random = torch.Generator().manual_seed(seed)
    shape = (4, kinds, 2)
    mean, variance = 2 * torch.randn(shape, generator=random), 0.3 + 2 * torch.rand(shape, generator=random)
    return Springs((2, 2, -1, 1), mean, variance, torch.rand(4, kinds, generator=random))


def spring(springs: Springs, point: int, height: int, width: int) -> torch.Tensor:
    """What each pair of cells of a keypoint's parent and the keypoint costs, (cells, cells)."""
    places = torch.tensor([[column, row] for row in range(height) for column in range(width)]).float()
    off = places[None, :, None] - places[:, None, None] - springs.mean[point]
    return (0.5 * (off.square() / springs.variance[point]).sum(-1) + springs.cost[point]).amin(-1)


@pytest.mark.parametrize("kinds", [1, 3])
def test_max_sum_finds_the_best_of_all_poses(kinds):
    height, width, weight = 3, 4, 0.7
    springs = tree(kinds, seed=kinds)
    scores = torch.randn(2, 4, height, width, generator=torch.Generator().manual_seed(5))
    found = pictorial.max_sum(scores, springs, weight)
    pair = [spring(springs, point, height, width) if springs.parent[point] >= 0 else None for point in range(4)]
    for sample, best in zip(scores.flatten(2), found.tolist(), strict=True):
        # all 12^4 poses, cells of keypoints 0 to 3 along the axes
        value = sample[0][:, None, None, None] + sample[1][:, None, None] + sample[2][:, None] + sample[3]
        value = value - weight * (pair[0].T[:, None, :, None] + pair[1].T[None, :, :, None] + pair[3][None, :, None, :])
        assert float(value[tuple(best)]) == pytest.approx(float(value.max()), abs=1e-4)


def test_without_springs_each_keypoint_is_where_its_heatmap_is_brightest():
    maps = torch.rand(3, 4, 5, 6, generator=torch.Generator().manual_seed(0)) + 0.1
    assert torch.equal(pictorial.refine(maps, tree(2, 0), weight=0.0), maps.flatten(2).argmax(-1))


def test_a_wrist_that_is_brighter_on_another_arm_is_put_where_the_arm_reaches():
    """Keypoint 1 hangs 3 cells below keypoint 0; its heatmap is a little brighter far away."""
    springs = Springs((-1, 0), torch.tensor([[[0.0, 0.0]], [[0.0, 3.0]]]), torch.ones(2, 1, 2), torch.zeros(2, 1))
    maps = torch.zeros(1, 2, 10, 10)
    maps[0, 0, 2, 2], maps[0, 1, 5, 2], maps[0, 1, 5, 9] = 1.0, 0.8, 0.9
    assert maps[0, 1].argmax() == 59
    assert pictorial.refine(maps, springs, weight=0.2)[0].tolist() == [22, 52]


def test_springs_of_poses_are_their_means_and_variances():
    random = torch.Generator().manual_seed(0)
    keypoints = 40 + 10 * torch.randn(4000, 17, 2, generator=random)
    parents = limbs.parents()
    wrist = 9
    keypoints[:, wrist] = keypoints[:, parents[wrist]] + torch.tensor([8.0, -4.0]) + 2 * torch.randn(4000, 2, generator=random)
    springs = Springs.fitted(keypoints, torch.ones(4000, 17, dtype=torch.bool), 4.0, kinds=1)
    assert springs.mean[wrist, 0].tolist() == pytest.approx([2.0, -1.0], abs=0.05)
    assert springs.variance[wrist, 0].tolist() == pytest.approx([0.25 + 0.5] * 2, abs=0.05), "and half a cell's for rounding"


def test_limbs_are_a_tree_with_two_more_across():
    joined, parents = limbs.limbs(), limbs.parents()
    assert len(joined) == 18
    assert parents.count(-1) == 1
    assert sorted((parent, point) for point, parent in enumerate(parents) if parent >= 0) == sorted(joined[:16])


def test_what_does_not_fit_is_told_in_a_line():
    with pytest.raises(SettingError, match="of 4 keypoints, found heatmaps of 5"):
        pictorial.refine(torch.rand(1, 5, 4, 4), tree(1, 0))
    with pytest.raises(SettingError, match="limbs of smpl_24"):
        limbs.limbs("smpl_24")
    with pytest.raises(SettingError, match="at least 4 examples"):
        Springs.fitted(torch.rand(3, 17, 2), torch.ones(3, 17, dtype=torch.bool), 4.0)
