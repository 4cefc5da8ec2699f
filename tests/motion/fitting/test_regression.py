"""Networks from keypoints to a body: geometry that is known, and that they beat the mean pose."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from mprl.errors import CheckpointError, SettingError, UnknownNameError
from mprl.motion import MotionClip, SmplBody
from mprl.motion import rotations as rot
from mprl.motion.body import joints as smpl
from mprl.motion.body import skinning
from mprl.motion.fitting import synthetic
from mprl.motion.fitting.cameras import LEVEL
from mprl.motion.fitting.evidence import gather
from mprl.motion.fitting.imu import pose as bones_of
from mprl.motion.fitting.points import BodyPoints
from mprl.motion.fitting.priors import load as prior
from mprl.motion.fitting.regression import estimate, examples, views
from mprl.motion.fitting.regression.figures import BONES, USUAL, Figure, Figures, camera_of, reprojection
from mprl.motion.fitting.regression.network import KINDS, Steps
from mprl.motion.fitting.smplify import Settings, fit
from mprl.perception.pose2d import layouts


def numbers(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def some_frames(count: int = 64) -> torch.Tensor:
    """Poses of the prior that ships, upright, (count, 22, 3) rad."""
    pose = prior("gmm").sample(count, torch.Generator().manual_seed(1)).unflatten(1, (-1, 3))
    return torch.cat((torch.zeros(count, 1, 3), pose), dim=1)


def some_examples(count: int = 32, seed: int = 2) -> dict[str, torch.Tensor]:
    frames = some_frames()
    return examples.examples(frames, frames[:, 1:], Figures(), count, torch.Generator().manual_seed(seed))


def standing(frames: int) -> MotionClip:
    """In the middle of the world, arms down."""
    q = torch.zeros(frames, 24, 4)
    q[..., 0] = 1.0
    q[:, smpl.JOINTS.index("left_shoulder")] = rot.from_rotation_vector(torch.tensor([math.radians(-60), 0.0, 0.0]))
    q[:, smpl.JOINTS.index("right_shoulder")] = rot.from_rotation_vector(torch.tensor([math.radians(60), 0.0, 0.0]))
    place = torch.tensor([0.0, 0.0, 0.95]).expand(frames, 3)
    return MotionClip("standing", SmplBody.default().skeleton(), 30.0, place.double().numpy(), q.double().numpy())


def test_six_numbers_of_a_rotation_give_it_back():
    turned = skinning.rotation_matrices(numbers(5, BONES, 3))
    figures = Figures()
    figure = Figure(turned, numbers(5, figures.points.num_betas), numbers(5, 3))
    back = figures.figure(figures.row(figure))
    for ours, theirs in zip(back, figure, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
    # whatever a network says is a rotation
    loose = figures.figure(numbers(5, figures.numbers)).bones
    assert torch.allclose(loose.transpose(-1, -2) @ loose, torch.eye(3).expand_as(loose), atol=1e-4)


def test_bones_in_the_cameras_frame_place_the_body_as_joints_relative_to_parents_do():
    figures = Figures()
    turned = skinning.rotation_matrices(numbers(3, BONES, 3, scale=0.5))
    betas = numbers(1, figures.points.num_betas).expand(3, -1)
    figure = Figure(turned, betas, torch.zeros(3, 3))
    none = torch.zeros(3, 3)
    true = figures.points(betas[0], turned[:, 0], none, bones_of.vectors(figure.local()), none)
    for ours, theirs in zip(figures.body(figure), true, strict=True):
        assert torch.allclose(ours, theirs, atol=2e-5)


def test_a_weak_perspective_camera_is_a_place_whose_body_is_as_large_in_the_picture():
    size = torch.tensor([0.1, 0.3])
    camera = torch.tensor([[0.0, 0.0, 0.0], [0.4, 0.2, -0.5]])
    figures = Figures()
    figure = Figure(torch.eye(3).expand(2, BONES, 3, 3), torch.zeros(2, figures.points.num_betas), camera)
    place = figure.place(size)
    assert place[0].tolist() == pytest.approx([USUAL / 0.1, 0, 0])  # of usual size, straight ahead
    assert torch.allclose(camera_of(place, size), camera, atol=1e-6)
    seen = figures.seen(torch.zeros(2, 1, 3), place, size)[:, 0]
    assert torch.allclose(seen, camera[:, 1:], atol=1e-6)  # the pelvis, right and down
    flat = torch.tensor([[[0.0, 0.3, 0.0], [0.0, 0.0, 0.6]]]).expand(2, 2, 3)  # a span as far away as the pelvis
    span = figures.seen(flat, place, size).diff(dim=1).squeeze(1)
    assert torch.allclose(span, torch.tensor([[0.3, -0.6]]) / (USUAL * camera[:, :1].exp()), atol=1e-6)


def test_who_stands_aside_is_told_as_one_in_the_middle():
    person = torch.tensor([4.0, 0.0, 0.0]) + numbers(1, len(views.POINTS), 3, scale=0.4)
    yaw = skinning.rotation_matrices(torch.tensor([[0.0, 0.0, 0.5]]))
    confidence, told = torch.ones(1, len(views.POINTS)), []
    for turn in (torch.eye(3)[None], yaw):
        there = person @ turn.transpose(1, 2) @ torch.tensor(LEVEL).T
        pixels = 800 * there[..., :2] / there[..., 2:] + torch.tensor([320.0, 240.0])
        told.append(views.look_at(pixels, confidence, 800.0, torch.tensor([320.0, 240.0])))
    assert torch.allclose(told[0].inputs(), told[1].inputs(), atol=1e-4)
    between = told[1].turn @ told[0].turn.transpose(1, 2)  # the rest is in the turn
    level = torch.tensor(LEVEL)
    assert torch.allclose(between, level @ yaw @ level.T, atol=1e-4)


def test_what_is_not_seen_does_not_matter():
    pixels, confidence = numbers(2, 25, 2, scale=50) + 300, (numbers(2, 25, seed=1) > -0.5).float()
    other = torch.where(confidence.unsqueeze(-1) > 0, pixels, torch.full_like(pixels, 9e3))
    told = [views.look_at(x, confidence, 900.0, torch.tensor([320.0, 240.0])).inputs() for x in (pixels, other)]
    assert torch.equal(*told)


def test_true_figures_of_examples_lie_on_what_is_seen():
    batch, figures = some_examples(), Figures()
    figure = Figure(batch["bones"], batch["betas"], batch["camera"])
    joints, points = figures.body(figure)
    assert torch.allclose(joints, batch["joints"], atol=1e-5)
    seen = figures.seen(points, figure.place(batch["size"]), batch["size"])
    error = reprojection(seen, batch["seen"], batch["confidence"])
    assert 1e-5 < error.mean() < 0.005  # 1 to 4 % noise, more where the confidence is low
    assert (batch["confidence"] > 0).sum(dim=1).min() >= 6


def test_learned_descent_is_told_the_gradient_of_the_reprojection_error():
    batch = some_examples(4)
    network = Steps(**KINDS["learned-descent"]).double()
    figures = network.figures
    figures._arms, figures._shapes, figures._leads = (x.double() for x in (figures._arms, figures._shapes, figures._leads))
    inputs = batch["input"].double()
    row = figures.row(Figure(batch["bones"], batch["betas"], batch["camera"])).double() + numbers(4, figures.numbers, scale=0.1).double()
    told = network.gradient_of(row, inputs)
    gradient = told.sign() * told.abs().expm1() * 1e-3
    direction = numbers(4, figures.numbers, seed=3).double()
    step = 1e-5
    slope = (network.misfit(row + step * direction, inputs) - network.misfit(row - step * direction, inputs)) / (2 * step)
    assert torch.allclose((gradient * direction).sum(dim=1), slope, rtol=1e-4)


@pytest.mark.parametrize("name", KINDS)
def test_weights_beat_the_mean_pose_on_poses_of_the_prior(name):
    network, batch = estimate.load(name), some_examples(256, seed=7)
    joints = network.figures.body(network.figures.figure(network(batch["input"])))[0]
    apart = (joints - batch["joints"]).norm(dim=-1).mean()
    # the mean pose may even turn to where the person truly heads
    mean = batch["joints"] @ batch["bones"][:, 0]
    mean = mean.mean(dim=0) @ batch["bones"][:, 0].transpose(1, 2)
    assert apart < 0.9 * (mean - batch["joints"]).norm(dim=-1).mean()


def test_a_sequence_comes_back_in_the_cameras_world():
    clip = standing(6)
    cameras = synthetic.around(clip)
    fitted = fit(synthetic.evidence(clip, cameras, noise=0.0, dropped=0.0), cameras, Settings(method="learned-descent"))
    true, found = (synthetic.true_points(one, ())[0] for one in (clip, fitted.clip))
    assert (found[:, 0] - true[:, 0]).norm(dim=-1).mean() < 0.7  # the distance is guessed
    up = (found[:, smpl.JOINTS.index("head")] - found[:, 0]).mean(dim=0)
    assert up[2] > 0.4


def test_a_view_that_shows_little_says_what_the_other_says():
    clip = standing(4)
    cameras = synthetic.around(clip, views=2)
    seen = synthetic.evidence(clip, cameras, noise=0.0, dropped=0.0)
    confidence = seen.confidence.copy()
    confidence[0, 1, 3:] = 0  # three keypoints
    evidence = gather(replace(seen, confidence=confidence))
    found = estimate.of_views(estimate.load("regressor"), BodyPoints(layouts.points(seen.layout)), evidence, cameras)
    assert torch.equal(found.root[1], found.root[4 + 1]) and torch.equal(found.pose[1], found.pose[4 + 1])
    assert not torch.equal(found.root[0], found.root[4])


def test_frames_that_a_network_cannot_judge_are_bridged_and_named(caplog, heard):
    clip = standing(12)
    seen = synthetic.evidence(clip, synthetic.around(clip), noise=0.0, dropped=0.0)
    confidence = seen.confidence.copy()
    confidence[:, [2, 5, 6, 7], 3:] = 0
    fitted = fit(replace(seen, confidence=confidence), settings=Settings(method="regressor"))
    assert "4 of 12 frames show fewer than 4 keypoints in every view" in caplog.text and "frames 2, 5 to 7" in caplog.text
    place = fitted.parameters.place
    assert torch.allclose(place[2], 0.5 * (place[1] + place[3]), atol=1e-4)


def test_what_networks_cannot_do_is_one_line(tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'regressor'"):
        estimate.load("regresor")
    (tmp_path / "regressor.safetensors").write_bytes((estimate.WEIGHTS / "learned-descent.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="expected the weights of a regressor"):
        estimate.load("regressor", tmp_path)
    with pytest.raises(SettingError, match="standing: the networks need two frames or more that show 4 keypoints in a view, found 1"):
        clip = standing(3)
        seen = synthetic.evidence(clip, synthetic.around(clip), dropped=0.0)
        confidence = seen.confidence.copy()
        confidence[:, 1:] = 0
        fit(replace(seen, confidence=confidence), settings=Settings(method="both"))
    with pytest.raises(SettingError, match="method must be one of smplify"):
        Settings(method="guess")
