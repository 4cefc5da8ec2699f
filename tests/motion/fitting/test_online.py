"""Fitting while it happens: derivatives are the derivatives, and somebody who walks is followed."""

from __future__ import annotations

import pytest
import torch

from mprl.motion import SmplCharacter, load
from mprl.motion import rotations as rot
from mprl.motion.body import skinning
from mprl.motion.body.joints import JOINTS
from mprl.motion.fitting import metrics, synthetic
from mprl.motion.fitting.imu import pose as bones
from mprl.motion.fitting.online import NUMBERS, Estimate, PoseFilter
from mprl.motion.fitting.points import BodyPoints
from mprl.motion.retarget import retarget
from mprl.perception.pose2d import layouts


@pytest.fixture(scope="module")
def walk():
    return retarget(load("walk"), SmplCharacter())


def state(clip, frame):
    """What is true of a frame, and of how it came from the one before."""
    order = [clip.skeleton.names.index(name) for name in JOINTS]
    turned = torch.tensor(clip.rotations[frame - 1 : frame + 1, order])
    root, pose = bones.matrices(turned[:, 0]), rot.to_rotation_vector(turned)[:, 1:22]
    place = torch.tensor(clip.root_position[frame - 1 : frame + 1])
    change = torch.cat((bones.vectors(root[1] @ root[0].T), (pose[1] - pose[0]).flatten(), place[1] - place[0]))
    return Estimate(root[1:], pose[1:], place[1:], clip.frame_rate * change[None])


def pose_filter(clip, views):
    cameras = synthetic.around(clip, views)
    return PoseFilter(BodyPoints(layouts.points("body_25")), cameras, clip.frame_rate, torch.full((views,), 2.0)), cameras


def test_how_points_change_with_the_state_is_told_exactly(walk):
    own, now = pose_filter(walk, 1)[0], state(walk, 5)
    _, jacobian = own._points(now)
    step = 1e-6 * torch.eye(NUMBERS, 2 * NUMBERS, dtype=torch.float64)
    many = Estimate(*(value.expand(NUMBERS, *value.shape[1:]) for value in now))
    difference = (own._points(own._moved(many, step))[0] - own._points(own._moved(many, -step))[0]) / 2e-6
    torch.testing.assert_close(jacobian[0], difference.permute(1, 2, 0), atol=1e-6, rtol=0)


def test_what_is_not_known_of_a_turning_pelvis_turns_with_it(walk):
    own, now = pose_filter(walk, 1)[0], state(walk, 5)
    spinning = now._replace(rates=torch.cat((torch.tensor([[4.0, -9.0, 6.0]]).to(now.rates), now.rates[:, 3:]), dim=1))
    own.begin(spinning)
    step = 1e-6

    def off(by: torch.Tensor) -> torch.Tensor:
        """By how much the next state is off, where this one is off by `by`."""
        own._now = own._moved(spinning, by[None])
        moved = own._carried_on()[0]
        parts = (bones.vectors(moved.root @ ahead.root.transpose(1, 2)), (moved.pose - ahead.pose).flatten(1), moved.place - ahead.place)
        return torch.cat((*parts, moved.rates - ahead.rates), dim=1)[0]

    ahead, covariance = own._carried_on()
    slopes = torch.stack([(off(step * one) - off(-step * one)) / (2 * step) for one in torch.eye(2 * NUMBERS, dtype=torch.float64)], dim=1)
    expected = slopes @ own._covariance[0] @ slopes.T + own._process_noise
    torch.testing.assert_close(covariance[0], expected, atol=1e-9, rtol=1e-6)


def test_who_is_nearer_than_a_camera_sees_has_the_slopes_of_what_is_drawn(walk):
    own, cameras = pose_filter(walk, 1)
    now = state(walk, 5)
    ahead = cameras.rotation[0, 2].double()
    now = now._replace(place=now.place - (ahead @ now.place[0] + cameras.translation[0, 2]) * ahead)  # the pelvis is in the lens
    seen, sure, rails = torch.zeros(1, 1, 25, 2, dtype=torch.float64), torch.ones(1, 1, 25, dtype=torch.float64), torch.zeros(1, 3)
    jacobian = own._measured(now, seen, sure, rails)[1][0]
    step = 1e-7 * torch.eye(NUMBERS, 2 * NUMBERS, dtype=torch.float64)[-3:]  # of the place
    pixels = [own._measured(own._moved(now, sign * one[None]), seen, sure, rails)[0][0] for one in step for sign in (1, -1)]
    slopes = torch.stack([(less - more) / 2e-7 for more, less in zip(pixels[::2], pixels[1::2], strict=True)], dim=1)  # seen − drawn
    torch.testing.assert_close(jacobian[:50, -3:], slopes[:50], rtol=1e-4, atol=1e-2)


def test_the_same_seen_by_cameras_that_moved_along_is_elsewhere(walk):
    own, cameras = pose_filter(walk, 2)
    now, along = state(walk, 5), torch.tensor([[3.0, -1.0, 0.0]])
    seen = synthetic.evidence(walk, cameras, noise=0.0, dropped=0.0)
    shown = torch.tensor(seen.positions)[:, 6:7], torch.tensor(seen.confidence)[:, 6:7]
    own.begin(now)
    here = own(*shown)
    own.begin(now._replace(place=now.place + along))
    there = own(*shown, rails=along)
    torch.testing.assert_close(there.place - along, here.place, atol=1e-4, rtol=0)
    torch.testing.assert_close(there.pose, here.pose, atol=1e-4, rtol=0)


def test_who_is_not_seen_goes_on_as_before(walk):
    own, now = pose_filter(walk, 1)[0], state(walk, 5)
    own.begin(now)
    nothing = torch.zeros(1, 1, 25)
    for _ in range(20):
        found = own(torch.full((1, 1, 25, 2), torch.nan), nothing)
    ahead = now.place + 20 / walk.frame_rate * now.rates[:, -3:]
    torch.testing.assert_close(found.place, ahead.float(), atol=1e-3, rtol=0)
    torch.testing.assert_close(found.rates[:, -3:], now.rates[:, -3:].float(), atol=1e-3, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize(("views", "millimetres"), [(1, 40), (2, 20)])
def test_somebody_who_walks_is_followed(walk, views, millimetres):
    own, cameras = pose_filter(walk, views)
    seen = synthetic.evidence(walk, cameras, noise=2.0, dropped=0.1)
    positions, confidence = torch.tensor(seen.positions), torch.tensor(seen.confidence)
    own.begin(state(walk, 1))
    found = [own(positions[:, frame : frame + 1], confidence[:, frame : frame + 1]) for frame in range(2, walk.num_frames)]
    root, pose, place, rates = (torch.cat(part) for part in zip(*found, strict=True))
    joints = BodyPoints(())(torch.zeros(10), root, torch.zeros(len(root), 3), pose, place)[0]
    assert 1e3 * float(metrics.mpjpe(joints, synthetic.true_points(walk, ())[0][2:])) < millimetres
    true = torch.cat([state(walk, frame).rates for frame in range(2, walk.num_frames)])
    assert (rates - true)[:, 3:-3].square().mean().sqrt() < 1.3  # rad/s; the clip's arms jump once, at 15
    assert (rates - true)[:, -3:].square().mean().sqrt() < 0.3  # m/s
    assert torch.allclose(skinning.rotation_matrices(torch.zeros(1, 3)), root[-1] @ root[-1].T, atol=1e-5)
