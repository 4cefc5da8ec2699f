"""Which way is up, from balance: a walk leans by nothing, one that was tipped by as much as it was tipped, and it can be set upright."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from mprl.motion import HUMANOID, edit, load
from mprl.motion import rotations as rot
from mprl.motion.fitting.balance import lean


def upright(clip, lean):
    """A motion turned as a whole about its root's first place, by a rotation vector (3,) rad."""
    turn = rot.from_rotation_vector(torch.as_tensor(lean))
    rotations, place = clip.rotations.copy(), torch.as_tensor(clip.root_position - clip.root_position[0])
    rotations[:, 0] = rot.multiply(turn.expand(clip.num_frames, 4), torch.as_tensor(rotations[:, 0])).numpy()
    position = rot.rotate(turn.expand(clip.num_frames, 4), place).numpy() + clip.root_position[0]
    return replace(clip, rotations=rotations, root_position=position)


@pytest.mark.parametrize("heading", [0, 70])
@pytest.mark.parametrize("degrees", [-10, 0, 7])
def test_a_walk_that_was_tipped_across_its_way_is_set_upright(heading, degrees):
    walk = edit.turn(load("walk"), math.radians(heading))
    along = np.array([math.cos(math.radians(heading)), math.sin(math.radians(heading)), 0.0])
    tipped = upright(walk, math.radians(degrees) * along)
    found = lean(tipped, HUMANOID)
    # what bears is found anew on the tipped one, so not exactly
    assert np.degrees(found @ along) == pytest.approx(-degrees, abs=2.0)
    assert abs(np.degrees(found[2])) == 0 and np.degrees(np.linalg.norm(np.cross(found, along))) < 2.0
    assert abs(np.degrees(lean(upright(tipped, found), HUMANOID) @ along)) < 1.5


def test_of_who_lies_balance_tells_nothing():
    tipped, lying = (upright(load("walk"), np.array([math.radians(degrees), 0.0, 0.0])) for degrees in (50, 70))
    assert np.linalg.norm(lean(tipped, HUMANOID)) > 0.5 and (lean(lying, HUMANOID) == 0).all()
