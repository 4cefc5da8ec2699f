"""Part-affinity fields: of one straight limb, and two people whose arms cross."""

from __future__ import annotations

import pytest
import torch

from mprl.perception.pose2d import heatmaps
from mprl.perception.pose2d.grouping import group
from mprl.perception.pose2d.limbs import limbs
from mprl.perception.pose2d.paf import PAF, fields

SIZE, STRIDE = (32, 32), 4.0


def drawn(people: torch.Tensor, shown: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What a perfect network tells of people (P, 17, 2)."""
    maps = heatmaps.gaussians(people[None], shown[None], SIZE, STRIDE)
    return maps[0], fields(people[None], shown[None], limbs(), SIZE, STRIDE)[0]


def standing(x: float) -> torch.Tensor:
    """Somebody who faces the camera, 100 px tall, in the order of COCO."""
    face = [[0, 10], [3, 8], [-3, 8], [6, 9], [-6, 9]]
    rest = [[12, 24], [-12, 24], [15, 42], [-15, 42], [16, 58], [-16, 58], [8, 60], [-8, 60], [9, 86], [-9, 86], [9, 110], [-9, 110]]
    return torch.tensor([*face, *rest]).float() + torch.tensor([x, 5.0])


def test_the_field_of_a_straight_limb_is_its_direction_on_it_and_nothing_elsewhere():
    keypoints = torch.tensor([[[[8.0, 20.0], [32.0, 20.0]]]])
    field = fields(keypoints, torch.ones(1, 1, 2, dtype=torch.bool), [(0, 1)], (10, 10), STRIDE)[0, 0]
    on = field[0] != 0
    rows, columns = on.nonzero().unbind(1)
    assert (field[0][on] == 1).all()
    assert (field[1] == 0).all()
    assert set(rows.tolist()) == {4, 5}, "cells whose middles are less than a cell from y = 5"
    assert set(columns.tolist()) == set(range(1, 9)), "and not more than half a cell before and behind it"


def test_where_limbs_of_two_people_cross_the_field_is_the_mean():
    keypoints = torch.tensor([[[[0.0, 18.0], [40.0, 18.0]], [[18.0, 0.0], [18.0, 40.0]]]])
    field = fields(keypoints, torch.ones(1, 2, 2, dtype=torch.bool), [(0, 1)], (10, 10), STRIDE)[0, 0]
    assert field[:, 4, 4].tolist() == [0.5, 0.5]
    assert field[:, 4, 8].tolist() == [1.0, 0.0]


def test_two_people_with_crossing_arms_are_told_apart():
    people = torch.stack([standing(42), standing(84)])
    # each holds an arm out before the other: wrists and elbows change sides
    people[0, 7], people[0, 9] = torch.tensor([64.0, 40.0]), torch.tensor([78.0, 56.0])
    people[1, 8], people[1, 10] = torch.tensor([64.0, 52.0]), torch.tensor([46.0, 40.0])
    shown = torch.ones(2, 17, dtype=torch.bool)
    found = group(*drawn(people, shown), limbs(), STRIDE)
    assert len(found) == 2
    found = found[found[:, 0, 0].argsort()]
    assert (found[..., :2] - people).norm(dim=-1).max() < 2.0


def test_a_hidden_keypoint_is_missing_and_the_rest_is_one_person():
    shown = torch.ones(1, 17, dtype=torch.bool)
    shown[0, [7, 13]] = False  # an elbow and a knee: the wrist and the ankle hang on nothing
    found = group(*drawn(standing(60)[None], shown), limbs(), STRIDE)
    assert len(found) == 1
    assert (found[0, :, 2] == 0).nonzero()[:, 0].tolist() == [7, 9, 13, 15]


def test_nobody_is_nobody():
    assert group(torch.zeros(17, *SIZE), torch.zeros(18, 2, *SIZE), limbs(), STRIDE).shape == (0, 17, 3)


def test_a_network_tells_people_of_pictures_of_any_of_its_batch():
    torch.manual_seed(0)
    network = PAF((3, 32, 32), width=8, norm="none").eval()
    with torch.no_grad():
        found = network.people(torch.randn(2, 3, 32, 32), threshold=-1.0)
    assert len(found) == 2
    assert all(each.shape[1:] == (17, 3) for each in found)


def test_one_person_of_several_may_be_taught_or_a_single_one():
    network = PAF((3, 32, 32), width=8)
    keypoints = torch.rand(2, 3, 17, 2) * 32
    visible = torch.full((2, 3, 17), 2)
    visible[:, 1:] = 0
    images = torch.randn(2, 3, 32, 32)
    network.eval()
    several, _ = network.loss({"input": images, "keypoints": keypoints, "visible": visible})
    single, _ = network.loss({"input": images, "keypoints": keypoints[:, 0], "visible": visible[:, 0]})
    assert float(several.detach()) == pytest.approx(float(single.detach()), rel=1e-5)
