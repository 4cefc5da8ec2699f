"""Heatmaps: the peak of an exact Gaussian is found between cells, and each decoder is as exact as its paper says."""

from __future__ import annotations

import math

import pytest
import torch

from mprl.errors import SettingError
from mprl.perception.pose2d import heatmaps
from mprl.perception.pose2d.cpm import CPM


@pytest.fixture
def places() -> torch.Tensor:
    return 8 + 76 * torch.rand(4, 17, 2, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("how", "most"), [("cell", 2.0 * 2**0.5), ("quarter", 1.0 * 2**0.5), ("dark", 1e-3)])
def test_the_peak_of_a_gaussian_is_found_to_half_a_cell_a_quarter_of_one_or_exactly(places, how, most):
    maps = heatmaps.gaussians(places, torch.ones(4, 17, dtype=torch.bool), (24, 24), 4.0, sigma=1.5)
    found = heatmaps.decode(maps, 4.0, how)
    assert (found[..., :2] - places).norm(dim=-1).max() <= most + 1e-4
    assert (found[..., 2] > 0.8).all()


def test_dark_finds_the_peak_of_a_gaussian_that_is_wider_one_way_than_another_and_turned():
    rows, columns = torch.meshgrid(torch.arange(9) + 0.5, torch.arange(9) + 0.5, indexing="ij")
    x, y = columns - 4.7, rows - 4.2
    maps = torch.exp(-(0.3 * x * x + 0.2 * x * y + 0.15 * y * y))[None, None]
    assert heatmaps.decode(maps, 1.0)[0, 0, :2].tolist() == pytest.approx([4.7, 4.2], abs=1e-4)


def test_a_peak_at_the_edge_and_a_flat_heatmap_stay_in_the_middle_of_a_cell():
    maps = torch.zeros(1, 2, 6, 6)
    maps[0, 0, 0, 5] = 1.0
    assert heatmaps.decode(maps, 4.0)[0].tolist() == [[22.0, 2.0, 1.0], [2.0, 2.0, 0.0]]


def test_of_several_people_each_has_a_peak_and_who_is_not_shown_has_none():
    keypoints = torch.tensor([[[[4.0, 4.0]], [[20.0, 20.0]], [[4.0, 20.0]]]])
    maps = heatmaps.gaussians(keypoints, torch.tensor([[[True], [True], [False]]]), (3, 3), 8.0, sigma=0.3)
    assert maps[0, 0, [0, 2], [0, 2]].tolist() == pytest.approx([1, 1])
    assert maps[0, 0, 2, 0] < 0.01


def test_who_knows_a_place_to_a_gaussian_makes_the_taught_heatmap_and_cannot_have_less_loss():
    # at the edges, beyond which a half and three quarters of it are: nowhere in the picture
    keypoints = torch.tensor([[[0.0, 40.0], [0.0, 0.0], [40.0, 40.0]]], dtype=torch.float64)
    target = heatmaps.gaussians(keypoints, torch.tensor([[True, True, False]]), (24, 24), 4.0)
    likely = target / (2 * torch.pi)
    nowhere = 1 - likely.sum((2, 3))
    assert nowhere[0].tolist() == pytest.approx([0.5, 0.75, 1.0], abs=2e-3)
    scores = (likely.clamp(min=1e-30) / nowhere[..., None, None]).log().requires_grad_()
    assert torch.allclose(heatmaps.located(scores), target, atol=1e-9)
    heatmaps.location_loss(scores, target).backward()
    assert scores.grad.abs().max() < 1e-9


def test_without_a_score_all_cells_and_nowhere_are_as_likely():
    assert float(heatmaps.location_loss(torch.zeros(2, 3, 4, 6), torch.zeros(2, 3, 4, 6))) == pytest.approx(math.log(25))


def test_a_decoder_or_picture_that_cannot_be_is_told_in_a_line():
    with pytest.raises(SettingError, match="quarter, dark"):
        CPM((3, 32, 32), 51, decoder="light")
    with pytest.raises(SettingError, match="multiples of 4"):
        CPM((3, 30, 32), 51)
    with pytest.raises(SettingError, match="multiple of 3"):
        CPM((3, 32, 32), 50)
