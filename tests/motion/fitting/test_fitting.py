"""From keypoints to a motion of SMPL: geometry in closed form, and fits whose truth is known."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from mprl.errors import DivergenceError, MotionFormatError, SettingError, UnknownNameError
from mprl.motion import MotionClip, SmplBody, SmplCharacter, load
from mprl.motion import rotations as rot
from mprl.motion.body import joints as smpl
from mprl.motion.body import skinning
from mprl.motion.body.landmarks import SMPL_INDEX
from mprl.motion.fitting import cameras as cams
from mprl.motion.fitting import ground, limits, metrics, paths, priors, smplify, synthetic, terms
from mprl.motion.fitting.evidence import gather
from mprl.motion.fitting.imu import pose as bones
from mprl.motion.fitting.objective import Objective, Parameters
from mprl.motion.fitting.placing import Turn, left_jacobian
from mprl.motion.fitting.points import BodyPoints
from mprl.motion.fitting.priors import mixture
from mprl.motion.fitting.smplify import Settings, fit
from mprl.motion.retarget import retarget
from mprl.perception.pose2d import layouts
from mprl.perception.pose2d.keypoints import Keypoints

SMALL = Settings(guess_steps=10, coarse_steps=10, limb_steps=4, moment_steps=20, frame_steps=25, examples=200, limb_examples=200)


def waving(frames: int = 20) -> MotionClip:
    """Somebody who stands and waves, half a second long."""
    body, pose = SmplBody.default(), torch.zeros(frames, 24, 3)
    phase = torch.linspace(0, 2, frames)
    pose[:, 16, 0], pose[:, 17, 0] = -1.2, 1.2 - 0.8 * (math.pi * phase).sin()
    pose[:, 19, 2], pose[:, 4, 1], pose[:, 1, 1] = 0.8 + 0.4 * (math.pi * phase).cos(), 0.3, -0.15
    place = np.tile([0.2, 0.1, 0.95], (frames, 1))
    return MotionClip("waving", body.skeleton(), 40.0, place, rot.from_rotation_vector(pose).double().numpy())


# --------------------------------------------------------------------------------------------------------------------- the body


def test_points_are_the_joints_and_the_vertices_of_the_skinned_body():
    random = torch.Generator().manual_seed(0)
    names = ("nose", "left_ear", "right_heel", "left_big_toe", "right_small_toe", "left_wrist", "pelvis")
    pose, betas = 0.5 * torch.randn(3, 24, 3, generator=random), torch.randn(10, generator=random)
    vertices, joints = SmplBody.default()(betas[None], smpl.to_smpl(pose))
    true = [vertices[:, SMPL_INDEX[name]] if name in SMPL_INDEX else joints[:, smpl.JOINTS.index(name)] for name in names]
    upright = torch.eye(3).expand(3, 3, 3)
    found_joints, found = BodyPoints(names)(betas, upright, pose[:, 0], pose[:, 1:], torch.zeros(3, 3))
    at_pelvis = smpl.from_smpl(torch.stack(true, dim=1) - joints[:, :1])
    assert (found - at_pelvis).norm(dim=-1).max() < 1e-5
    assert (found_joints - smpl.from_smpl(joints - joints[:, :1])).norm(dim=-1).max() < 1e-5


def test_the_written_out_gradient_is_the_gradient():
    random = torch.Generator().manual_seed(1)
    points = BodyPoints(("nose", "left_heel"), SmplBody.default(dtype=torch.float64))
    draw = lambda *shape: torch.randn(*shape, generator=random, dtype=torch.float64)  # noqa: E731
    root = torch.linalg.qr(draw(1, 3, 3))[0]
    inputs = [x.requires_grad_() for x in (draw(10), draw(1, 3), draw(1, 21, 3), draw(1, 3))]
    assert torch.autograd.gradcheck(
        lambda betas, turn, pose, place: torch.cat(points(betas, root, turn, pose, place), 1), inputs, fast_mode=True
    )


def test_the_left_jacobian_is_that_of_the_exponential_map():
    vector, step = torch.tensor([0.4, -1.1, 0.7], dtype=torch.float64), torch.tensor([1e-6, 2e-6, -1e-6], dtype=torch.float64)
    moved = rot.multiply(rot.from_rotation_vector(vector + step), rot.conjugate(rot.from_rotation_vector(vector)))
    assert torch.allclose(rot.to_rotation_vector(moved), left_jacobian(vector) @ step, atol=1e-11)
    assert torch.equal(left_jacobian(torch.zeros(3)), torch.eye(3))


# ------------------------------------------------------------------------------------------------------------------ the cameras


def test_a_point_on_the_axis_is_in_the_middle_and_one_aside_by_its_angle():
    camera = cams.looking_at((0, 0, 1), azimuth=0, elevation=0, distance=4, focal=800, image_size=(640, 480))
    pixels, depth = camera.project(torch.tensor([[0.0, 0, 1], [0, 1, 1], [0, 0, 2]]))
    # it looks along +x: the world's left is the picture's left, up is up
    assert torch.allclose(pixels[0], torch.tensor([[320.0, 240], [120, 240], [320, 40]]), atol=1e-3)
    assert torch.allclose(depth, torch.full((1, 3), 4.0))


def test_cameras_are_read_as_written(tmp_path):
    made = cams.together([cams.looking_at((0, 0, 1), azimuth, -10, 4, 900, (640, 480)) for azimuth in (0, 90)])
    found = cams.read(cams.write(made, tmp_path / "cameras.json"))
    assert all(torch.allclose(a, b) for a, b in zip(vars(made).values(), vars(found).values(), strict=True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1: not JSON"),
        ("[" * 100_000, "lists or numbers without end"),
        ('[{"focal": 1' + "0" * 400 + "}]", 'view 0: expected "focal" as numbers'),
        ("[]", "holds no cameras"),
        ('[{"focal": 900}]', 'view 0: expected "center"'),
        ('[{"focal": -9, "center": [1, 1], "rotation": [[1,0,0],[0,1,0],[0,0,1]], "translation": [0,0,0]}]', "must be positive"),
        ('[{"focal": 9, "center": [1, 1], "rotation": [[2,0,0],[0,1,0],[0,0,1]], "translation": [0,0,0]}]', "rotation matrix"),
    ],
)
def test_broken_cameras_are_one_line(tmp_path, text, message):
    (tmp_path / "cameras.json").write_text(text)
    with pytest.raises(MotionFormatError, match=message):
        cams.read(tmp_path / "cameras.json")


# -------------------------------------------------------------------------------------------------------------------- the terms


def test_geman_mcclure_is_a_square_at_first_and_bounded():
    assert float(terms.geman_mcclure(torch.tensor(1e-4), 10.0)) == pytest.approx(1e-4, rel=1e-5)
    assert float(terms.geman_mcclure(torch.tensor(1e12), 10.0)) == pytest.approx(100.0)
    assert float(terms.geman_mcclure(torch.tensor(100.0), 10.0)) == pytest.approx(50.0)  # half of its bound at r = ρ


def test_keypoints_that_are_not_seen_cost_nothing():
    found, seen = torch.zeros(1, 2, 1, 2), torch.tensor([[[[3.0, 4.0]], [[9.0, 9.0]]]])
    one = terms.reprojection(found, seen, torch.tensor([[[1.0], [0.0]]]), scale=1e6, deviation=torch.ones(1, 1, 1))
    assert float(one) == pytest.approx(12.5, rel=1e-4)  # ½ (3² + 4²)


def test_elbows_and_knees_that_bend_the_wrong_way_cost_more():
    straight, bent, wrong = (torch.zeros(1, 23, 3) for _ in range(3))
    for pose, sign in ((bent, 1.0), (wrong, -1.0)):
        pose[0, smpl.JOINTS.index("left_knee") - 1, 1] = sign
        pose[0, smpl.JOINTS.index("left_elbow") - 1, 2] = -sign
    at = [float(terms.hinges(pose)) for pose in (straight, bent, wrong)]
    assert at == pytest.approx([4.0, 2 + 2 * math.exp(-2), 2 + 2 * math.exp(2)])


TIMES = torch.tensor([0.0, 0.1, 0.2, 0.6, 0.7, 1.5])  # with spans missing


def test_an_even_motion_has_its_speed_and_no_acceleration_across_gaps_too():
    joints, steps = TIMES[:, None, None] * torch.tensor([2.0, 0.0, 0.0]), TIMES.diff()  # 2 m/s
    velocity = terms.velocities(joints, steps)
    assert torch.allclose(terms.speed(velocity, 1.0), torch.full((5,), 2.0))  # ½ 2²
    assert terms.acceleration(velocity, steps, 1.0).abs().max() < 1e-8


def test_what_falls_is_accelerated_alike_across_gaps():
    fallen, steps = (-0.5 * 9.81 * TIMES.square())[:, None, None] * torch.tensor([0.0, 0.0, 1.0]), TIMES.diff()
    found = terms.acceleration(terms.velocities(fallen, steps), steps, 9.81)
    assert torch.allclose(found, torch.full((4,), 0.5), rtol=1e-3)


def test_turning_matrices_have_their_angular_velocity_across_gaps_too():
    axis = torch.tensor([0.0, 0.6, 0.8])
    found = terms.angular_velocities(skinning.rotation_matrices(0.3 * TIMES[:, None] * axis), TIMES.diff())
    assert torch.allclose(found, (0.3 * axis).expand(5, 3), rtol=0.01)  # a sine is taken for the angle


def test_gradients_of_terms_that_are_written_out_are_the_gradients():
    random = torch.Generator().manual_seed(2)
    draw = lambda *shape: torch.randn(*shape, generator=random, dtype=torch.float64).requires_grad_()  # noqa: E731
    steps, root = TIMES.double().diff(), torch.linalg.qr(torch.randn(6, 3, 3, generator=random, dtype=torch.float64))[0]
    assert torch.autograd.gradcheck(lambda x: terms.acceleration(terms.velocities(x, steps), steps, 2.0), draw(6, 2, 3))
    assert torch.autograd.gradcheck(lambda turn: Turn.apply(turn, root), draw(6, 3))


def test_the_distance_of_segments():
    def between(*ends):
        points = torch.tensor(ends, dtype=torch.float32)
        return float((terms.nearest(*points) @ points).norm())

    assert between((0, 0, 0), (1, 0, 0), (0.5, -1, 2), (0.5, 1, 2)) == pytest.approx(2)  # crossing, 2 above
    assert between((0, 0, 0), (1, 0, 0), (4, 4, 0), (8, 4, 0)) == pytest.approx(5)  # end to end
    assert between((0, 0, 0), (1, 0, 0), (0.2, 3, 0), (0.8, 3, 0)) == pytest.approx(3)  # parallel


def test_a_forearm_in_the_trunk_costs_and_a_t_pose_does_not():
    points = BodyPoints(())
    pose = torch.zeros(2, 23, 3)
    pose[1, smpl.JOINTS.index("left_shoulder") - 1, 0] = -1.6  # hanging
    pose[1, smpl.JOINTS.index("left_elbow") - 1, 0] = -1.4  # the forearm goes through the belly
    upright = torch.eye(3).expand(2, 3, 3)
    joints = points(torch.zeros(10), upright, torch.zeros(2, 3), pose, torch.zeros(2, 3))[0]
    cost = terms.interpenetration(joints)
    assert cost[0] == 0 and cost[1] > 0.5
    joints.requires_grad_()
    (slope,) = torch.autograd.grad(terms.interpenetration(joints).sum(), joints)
    step = 1e-3 * torch.randn(joints.shape, generator=torch.Generator().manual_seed(0))
    change = terms.interpenetration(joints + step).sum() - terms.interpenetration(joints - step).sum()
    assert float(change.detach()) == pytest.approx(2 * float((slope * step).sum()), rel=0.02)


# ------------------------------------------------------------------------------------------------------------------- the priors


def test_limits_mirror_into_each_other():
    low, high = limits.boxes()
    corners = limits.mirror(torch.stack((low, high)))
    assert torch.allclose(corners.amin(dim=0), low) and torch.allclose(corners.amax(dim=0), high)


def test_a_mixture_is_the_density_that_torch_knows():
    random = torch.Generator().manual_seed(0)
    factors = torch.linalg.cholesky(torch.eye(3) + 0.3 * torch.ones(3, 3)).repeat(2, 1, 1)
    means, weights = torch.randn(2, 3, generator=random), torch.tensor([0.3, 0.7])
    points = torch.randn(5, 1, 3, generator=random)
    known = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(weights),
        torch.distributions.MultivariateNormal(means, precision_matrix=factors @ factors.transpose(1, 2)),
    )
    found = mixture.Mixture(weights.log(), means, factors)
    assert torch.allclose(-found(points), known.log_prob(points[:, 0]), atol=1e-5)
    drawn = found.sample(4000, random)
    assert (drawn.mean(dim=0) - weights @ means).norm() < 0.1


def test_expectation_maximisation_finds_two_clusters():
    random = torch.Generator().manual_seed(0)
    points = 0.1 * torch.randn(400, 2, generator=random) + torch.tensor([[-1.0, 0.0], [1.0, 2.0]]).repeat(200, 1)
    found = mixture.fit(points, 2, 1e-6, random)
    order = found.means[:, 0].argsort()
    assert torch.allclose(found.means[order], torch.tensor([[-1.0, 0.0], [1.0, 2.0]]), atol=0.05)
    assert torch.allclose(found.log_weights.exp(), torch.tensor([0.5, 0.5]), atol=0.05)


@pytest.mark.parametrize("name", ["gmm", "vae"])
def test_learned_priors_prefer_poses_of_people(name):
    prior = priors.load(name)
    standing = torch.zeros(1, 21, 3)
    standing[0, 15, 0], standing[0, 16, 0] = -1.3, 1.3  # arms hang
    wrong = standing.clone()
    wrong[0, 3, 1] = -1.2  # a knee bent forwards
    assert prior(standing) + 10 < prior(wrong)
    assert torch.isfinite(prior(prior.sample(20, torch.Generator().manual_seed(0)).unflatten(1, (21, 3)))).all()


def test_an_unknown_prior():
    with pytest.raises(UnknownNameError, match="did you mean 'gmm'"):
        priors.load("gmn")


# --------------------------------------------------------------------------------------------------------- errors and the floor


def test_alignment_undoes_a_similarity_and_nothing_else():
    random = torch.Generator().manual_seed(0)
    true = torch.randn(4, 24, 3, generator=random)
    turn = rot.from_rotation_vector(torch.tensor([0.3, 1.0, -0.5])).expand(4, 24, 4)
    assert metrics.pa_mpjpe(2.0 * rot.rotate(turn, true) + 5.0, true) < 1e-5
    assert metrics.pa_mpjpe(true * torch.tensor([1.0, 1.0, -1.0]), true) > 0.5  # a mirror image is no turn
    assert metrics.mpjpe(true + 3.0, true) < 1e-6


def test_acceleration_error_of_a_parabola():
    time = torch.arange(10.0)[:, None, None] / 30
    fallen = torch.cat((0 * time, 0 * time, -0.5 * 9.81 * time.square()), dim=-1)
    assert float(metrics.acceleration_error(fallen, torch.zeros_like(fallen), 30.0)) == pytest.approx(9.81, rel=1e-3)


def test_the_floor_under_feet_is_found_and_made_level():
    random = torch.Generator().manual_seed(0)
    feet = 2.0 * torch.rand(1, 30, 3, generator=random).expand(60, 30, 3).clone()
    feet[..., 2] = 0.1 * feet[..., 0] - 0.05 * feet[..., 1] - 1.2 + 0.005 * torch.randn(60, 30, generator=random)
    plane = ground.floor(feet + 1e-3 * torch.randn(60, 30, 3, generator=random), 30.0)
    assert torch.allclose(plane, torch.tensor([0.1, -0.05, -1.2]), atol=0.02)
    rotation, height = ground.level(plane)
    assert (feet @ rotation.T)[..., 2].sub(height).abs().max() < 0.08


# --------------------------------------------------------------------------------------------------------------------- the fit


def test_evidence_is_seeded_and_has_its_noise():
    clip = waving()
    cameras = synthetic.around(clip)
    clean = synthetic.evidence(clip, cameras, noise=0, dropped=0)
    noisy = synthetic.evidence(clip, cameras, noise=2, dropped=0.1, seed=1)
    again = synthetic.evidence(clip, cameras, noise=2, dropped=0.1, seed=1)
    assert (noisy.positions == again.positions).all() and (clean.confidence == 1).all()
    seen = noisy.confidence > 0
    assert 0.05 < 1 - seen.mean() < 0.15
    assert (noisy.positions - clean.positions)[seen].std() == pytest.approx(2, rel=0.1)


@pytest.mark.slow
def test_two_views_give_the_motion_back():
    clip = waving()
    cameras = synthetic.around(clip, views=2)
    fitted = fit(synthetic.evidence(clip, cameras), cameras, SMALL)
    true, found = (synthetic.true_points(one, ())[0] for one in (clip, fitted.clip))
    assert metrics.pa_mpjpe(found, true) < 0.030
    assert (found - true).norm(dim=-1).mean() < 0.035  # in the same world
    assert fitted.clip.skeleton.names == smpl.JOINTS and fitted.clip.frame_rate == 40


@pytest.mark.slow
def test_one_view_of_an_unknown_camera_gives_the_pose_and_the_floor():
    clip = waving(40)
    fitted = fit(synthetic.evidence(clip, synthetic.around(clip)))
    true, found = (synthetic.true_points(one, ())[0] for one in (clip, fitted.clip))
    assert metrics.pa_mpjpe(found, true) < 0.060
    feet = synthetic.true_points(fitted.clip, ("left_heel", "right_heel", "left_big_toe", "right_big_toe"))[1]
    assert feet[..., 2].abs().mean() < 0.05
    assert fitted.converged, fitted.how_far()


def test_who_is_tall_and_leans_is_set_upright(monkeypatch):
    betas = torch.tensor([2.0, *9 * [0.0]])
    walk = retarget(load("walk"), SmplCharacter(betas))
    turned = torch.tensor(walk.rotations[:, [walk.skeleton.names.index(name) for name in smpl.JOINTS]]).float()
    lean = bones.matrices(rot.from_rotation_vector(torch.tensor([0.1, 0.0, 0.0])))
    root, place = lean @ bones.matrices(turned[:, 0]), torch.tensor(walk.root_position).float() @ lean.T
    p = Parameters(betas, torch.zeros(()), root, torch.zeros_like(place), rot.to_rotation_vector(turned[:, 1:22]), place)
    cameras = synthetic.around(walk)
    seen = synthetic.evidence(walk, cameras)
    objective = Objective(BodyPoints(layouts.points(seen.layout)), gather(seen), cameras, priors.load("none"))
    monkeypatch.setattr(ground, "level", lambda plane: (torch.eye(3), 0.0))  # the floor tells nothing
    found, _ = smplify._on_the_floor(seen, objective, p, cameras)
    left = found.root[0] @ bones.matrices(torch.tensor(walk.rotations[:1, 0]).float())[0].T
    assert math.degrees(math.acos(left[2, 2])) < 1.0  # of 5.7


@pytest.mark.slow
def test_one_view_of_a_walk_does_not_lean():
    walk = retarget(load("walk"), SmplCharacter())
    fitted = fit(synthetic.evidence(walk, synthetic.around(walk)))
    true, found = (torch.as_tensor(synthetic.true_points(one, ())[0]).reshape(-1, 3) for one in (walk, fitted.clip))
    turn = Rotation.align_vectors(found - found.mean(dim=0), true - true.mean(dim=0))[0]
    assert math.degrees(math.acos(turn.apply([0, 0, 1])[2])) < 3.0
    # the camera was moved with the body: it still sees it where the keypoints are
    _, points = synthetic.true_points(fitted.clip, layouts.points("body_25"))
    seen = synthetic.evidence(walk, synthetic.around(walk), noise=0.0, dropped=0.0)
    pixels, _ = fitted.cameras.project(points)
    assert (pixels - torch.tensor(seen.positions)).norm(dim=-1).mean() < 6.0


def test_moments_with_spans_between_them_keep_their_times():
    seen = synthetic.evidence(waving(30), synthetic.around(waving(30)))
    some = gather(seen).at(torch.tensor([0, 1, 2, 22, 23]))
    assert torch.allclose(some.steps(), torch.tensor([1.0, 1.0, 20.0, 1.0]) / 40)
    # who goes evenly through the span is not accelerated by it
    place = some.times.float()[:, None] * torch.tensor([1.0, 0.5, 0.0])
    still = Parameters(torch.zeros(10), torch.zeros(()), torch.eye(3).repeat(5, 1, 1), torch.zeros(5, 3), torch.zeros(5, 21, 3), place)
    found = Objective(BodyPoints(layouts.points(seen.layout)), some, synthetic.around(waving(30)), priors.load("none")).terms(still)
    assert torch.allclose(found["speed"], torch.full((4,), 0.02 * 0.5 * 24 * 1.25), rtol=1e-3)  # ½ v² of 24 joints
    assert found["acceleration"].abs().max() < 1e-5


def test_a_path_may_go_far_in_a_long_time_only():
    places = torch.tensor([[0.0, 0.0, 0.0], [3.0, 3.0, 3.0]])[:, :, None, None] * torch.ones(1, 1, 1, 3)  # two guesses, three moments
    energy = torch.tensor([[0.0, 2.0, 9.0], [9.0, 0.0, 0.0]])
    assert paths.likeliest(energy, places, torch.tensor([5.0, 0.1])) == [0, 1, 1]
    assert paths.likeliest(energy, places, torch.tensor([0.1, 5.0])) == [0, 0, 1]


def test_a_doubtful_image_size_is_in_the_report_of_a_fit():
    clip = waving(6)
    seen = synthetic.evidence(clip, synthetic.around(clip))
    hasty = Settings(guess_steps=1, coarse_steps=1, limb_steps=1, moment_steps=1, frame_steps=2, examples=50)
    fitted = fit(replace(seen, image_size=((320, 180),)), settings=hasty)
    assert "of the keypoints are outside pictures of 320 x 180: they reach x " in fitted.how_far()
    assert "is the image size right?" in fitted.how_far()


@pytest.mark.parametrize(("hidden", "views"), [(slice(10, 20), 1), (slice(0, 8), 2), (slice(3, 30), 2)])
def test_frames_that_show_nobody_do_not_harm_the_others(hidden, views):
    clip = waving(30)
    cameras = synthetic.around(clip, views)
    seen = synthetic.evidence(clip, cameras)
    confidence = seen.confidence.copy()
    confidence[:, hidden] = 0.0
    fitted = fit(replace(seen, confidence=confidence), cameras, SMALL)
    assert fitted.misfit < 0.02, fitted.how_far()
    assert np.linalg.norm(fitted.clip.root_position - clip.root_position, axis=-1).max() < 0.3  # there is no reason to be elsewhere


def test_a_fit_can_start_from_a_guess():
    clip = waving(6)
    cameras = synthetic.around(clip)
    first = fit(
        synthetic.evidence(clip, cameras),
        cameras,
        Settings(guess_steps=1, coarse_steps=1, limb_steps=1, moment_steps=1, frame_steps=2, examples=50),
    )
    told: list[tuple[int, int]] = []
    fit(synthetic.evidence(clip, cameras), cameras, Settings(frame_steps=3), initial=first.parameters, tell=lambda *now: told.append(now))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_fit_that_did_not_converge_says_how_far_it_got():
    clip = waving(6)
    cameras = synthetic.around(clip)
    hasty = Settings(guess_steps=1, coarse_steps=1, limb_steps=1, moment_steps=1, frame_steps=12, examples=50)
    fitted = fit(synthetic.evidence(clip, cameras), cameras, hasty)
    assert not fitted.converged and fitted.how_far().startswith("did not converge: the body is ") and fitted.doubts == ()
    assert "are the keypoints in the layout's order" in replace(fitted, misfit=0.2).how_far()


def test_a_fit_that_breaks_down_is_one_line():
    clip = waving(4)
    hasty = Settings(guess_steps=1, coarse_steps=1, limb_steps=1, moment_steps=1, frame_steps=1, examples=50)
    with pytest.raises(
        DivergenceError, match="waving: the fit broke down: what it found is not a number; are the cameras and the focal length right"
    ):
        fit(synthetic.evidence(clip, synthetic.around(clip)), settings=hasty, focal=math.inf)


def test_a_camera_that_looks_away_is_one_line():
    clip = waving(6)
    cameras = synthetic.around(clip, views=2)
    seen, hasty = synthetic.evidence(clip, cameras), Settings(frame_steps=1)
    start = fit(seen, cameras, replace(SMALL, frame_steps=2)).parameters
    about = torch.diag(torch.tensor([-1.0, 1.0, -1.0]))  # each turned to look the other way, from where it stands
    away = replace(cameras, rotation=about @ cameras.rotation, translation=cameras.translation @ about)
    with pytest.raises(SettingError, match=r"waving: in frame 0 the person is behind camera 0: are the cameras right\?"):
        fit(seen, away, hasty, initial=start)


def test_what_cannot_be_fitted_is_one_line():
    clip = waving(4)
    cameras = synthetic.around(clip, views=2)
    seen = synthetic.evidence(clip, cameras)
    with pytest.raises(SettingError, match="2 views need to know where the cameras are"):
        fit(seen)
    with pytest.raises(SettingError, match="2 views, but 1 cameras"):
        fit(seen, synthetic.around(clip))
    nothing = Keypoints(seen.positions, 0 * seen.confidence, seen.layout, seen.image_size, 30.0, "k.json")
    with pytest.raises(SettingError, match=r"view 0 of k\.json: no frame shows four keypoints"):
        fit(nothing, cameras)
    alike = Keypoints(0 * seen.positions + 100, seen.confidence, seen.layout, seen.image_size, 30.0, "k.json")
    with pytest.raises(SettingError, match=r"view 0 of k\.json: all keypoints of each frame are at one place"):
        fit(alike, cameras)
    with pytest.raises(SettingError, match="'both' starts from a network, found network=None"):
        Settings(method="both", network=None)
    with pytest.raises(SettingError, match="behind the camera"):
        synthetic.evidence(clip, cams.looking_at((0, 0, 1), 0, 0, -4, 800, (640, 480)))
