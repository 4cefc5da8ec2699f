"""From readings to motions: what must come out exactly, what must not matter, and how good the rest is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mprl.errors import SettingError
from mprl.motion import SmplBody, kinematics
from mprl.motion import rotations as rot
from mprl.motion.body.joints import JOINTS, from_smpl
from mprl.motion.edit import resample, turn
from mprl.motion.fitting.imu import NAMES, fit, pose, sensors, simulate, sip
from mprl.motion.fitting.imu.corpus import Corpus, samples
from mprl.motion.fitting.imu.fitter import infer, shipped_network
from mprl.motion.fitting.imu.network import INPUTS, ImuNetwork, inputs_of, reference_numbers
from mprl.motion.fitting.imu.prior import Gaussian
from mprl.motion.fitting.imu.signals import signals
from mprl.motion.fitting.imu.translation import translate

QUICK = sip.SipSettings(iterations=10)
METHODS = [("network", {}), ("sip", {"settings": QUICK})]


def posed(clip):
    return kinematics.forward_kinematics(clip.skeleton, torch.as_tensor(clip.root_position.copy()), torch.as_tensor(clip.rotations.copy()))


def degrees(clip, other, joints) -> float:
    return float(rot.angle(posed(clip)[1], posed(other)[1])[:, joints].mean().rad2deg())


@pytest.mark.parametrize(("method", "options"), METHODS)
def test_exact_readings_give_back_the_bones_with_sensors(squatting, method, options):
    fitted = fit(simulate(squatting, calibration=0.0), method, **options)
    assert degrees(squatting, fitted.clip, sensors.bones()) < 0.1


@pytest.mark.slow
def test_optimisation_finds_the_bones_between_the_sensors(squatting):
    """Upper legs and arms have none; the mean pose is off by more than 30 degrees there."""
    hidden = [JOINTS.index(name) for name in ("left_hip", "right_hip", "left_shoulder", "right_shoulder")]
    fitted = fit(simulate(squatting, calibration=0.0), "sip", settings=sip.SipSettings(iterations=60))
    assert degrees(squatting, fitted.clip, hidden) < 15.0


@pytest.mark.parametrize(("method", "options"), METHODS)
def test_where_a_person_heads_makes_no_difference(squatting, method, options):
    there = fit(simulate(turn(squatting, 2.0), calibration=0.0), method, **options).clip
    back = fit(simulate(squatting, calibration=0.0), method, **options).clip
    assert degrees(there, turn(back, 2.0), range(24)) < (0.01 if method == "network" else 1.0)


@pytest.mark.parametrize("names", [("head", "pelvis"), ("left_shank",), ("left_forearm", "right_forearm", "head")])
@pytest.mark.parametrize(("method", "options"), METHODS)
def test_any_of_the_sensors_will_do(squatting, names, method, options):
    fitted = fit(simulate(squatting, names, calibration=0.0), method, **options)
    assert degrees(squatting, fitted.clip, sensors.bones(names)) < 0.1


def test_the_optimisation_takes_another_prior(squatting):
    """One that wants every joint at rest leaves the spine straighter than the truth's .2 rad."""
    still = Gaussian(torch.zeros(69), 1e-4 * torch.eye(69))
    fitted = fit(simulate(squatting, ("pelvis", "left_shank"), calibration=0.0), "sip", prior=still, settings=QUICK)
    spine = torch.as_tensor(fitted.clip.rotations[:, JOINTS.index("spine2")].copy())
    assert float(rot.to_rotation_vector(spine).norm(dim=-1).mean()) < 0.03


def test_a_fit_that_is_stopped_early_says_so(squatting):
    fitted = fit(simulate(squatting, calibration=0.0), "sip", settings=QUICK)
    assert not fitted.converged and fitted.told.startswith("did not converge: the energy still fell by")


def test_settings_that_cannot_be(squatting):
    with pytest.raises(SettingError, match="method must be one of sip, network, both, found 'tip'"):
        fit(simulate(squatting), "tip")


@pytest.mark.parametrize("rate", [30.0, 100.0])
def test_other_rates_are_brought_to_the_network_s(squatting, rate):
    clip = resample(squatting, rate)
    fitted = fit(simulate(clip, calibration=0.0), "network").clip
    assert fitted.frame_rate == 60 and fitted.duration == pytest.approx(clip.duration, abs=0.02)
    assert degrees(resample(clip, 60.0), fitted, sensors.bones()) < 2.0


def test_who_stands_stays_on_the_floor(moving):
    fitted = fit(simulate(moving(), calibration=0.0), "sip", settings=QUICK).clip
    assert np.ptp(fitted.root_position, axis=0).max() < 0.02
    lowest = posed(fitted)[0][..., 2].min()
    assert 0.0 < float(lowest) < 0.12  # the feet's joints, above their soles


def test_a_jump_goes_as_high_as_gravity_says(moving):
    """In flight for .4 s with the legs stiff: g t² / 8 = .196 m, from the accelerometers alone."""
    t0, t1 = 0.3, 0.7

    def root(t):
        inside = np.clip(t, t0, t1)
        return (0 * t, 0 * t, 0.5 * 9.81 * (inside - t0) * (t1 - inside))

    clip = moving(root=root)
    given = signals(simulate(clip, calibration=0.0))
    world = pose.matrices(torch.as_tensor(clip.rotations.copy()).float())
    body = SmplBody.default()
    sole = float(from_smpl(body().vertices)[0, :, 2].min())
    path = translate(given, world, from_smpl(body.rest_joints())[0], sole)
    assert float(path[:, 2].max() - path[0, 2]) == pytest.approx(9.81 * 0.4**2 / 8, abs=0.03)


def test_a_causal_network_gives_step_by_step_what_it_gives_at_once(squatting):
    network = shipped_network(causal=True)
    given = signals(simulate(squatting, calibration=0.0))
    worn = torch.ones(len(given.rotation), 6, dtype=torch.bool)
    inputs = inputs_of(pose.matrices(given.rotation), given.acceleration, worn, reference_numbers(worn))[None]
    whole, state = network.sequence(inputs), network.initial_state(1)
    for at in range(20):
        step, state = network.step(inputs[:, at], state)
        for one, all_steps in zip(step, whole, strict=True):
            assert torch.allclose(one, all_steps[:, at], atol=1e-5)


def test_a_causal_network_knows_nothing_of_the_future(squatting):
    given = signals(simulate(squatting, calibration=0.0))
    later = replace(given, rotation=given.rotation.clone(), acceleration=given.acceleration + 0.0)
    later.acceleration[40:] += 5.0
    changed = (infer(later, shipped_network(True))[0] - infer(given, shipped_network(True))[0]).abs().amax((1, 2, 3))
    assert float(changed[:40].max()) == 0.0 and float(changed[40:].max()) > 0.0


def test_a_missing_sensor_s_numbers_are_not_looked_at():
    random = torch.Generator().manual_seed(0)
    rotation = pose.from_six_d(torch.randn(2, 6, 6, generator=random))
    acceleration = torch.randn(2, 6, 3, generator=random)
    worn = torch.ones(2, 6, dtype=torch.bool)
    worn[:, NAMES.index("head")] = False
    first = reference_numbers(worn)
    before = inputs_of(rotation, acceleration, worn, first)
    acceleration[:, NAMES.index("head")] = 99.0
    rotation[:, NAMES.index("head")] = torch.eye(3)
    assert before.shape == (2, INPUTS) and torch.equal(inputs_of(rotation, acceleration, worn, first), before)


def test_vectors_of_matrices_are_the_exponential_s_inverse():
    given = torch.randn(200, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    given = torch.cat((given / given.norm(dim=-1, keepdim=True) * torch.linspace(0, 2.9, 200)[:, None], torch.zeros(1, 3))).requires_grad_()
    found = pose.vectors(pose.matrices(rot.from_rotation_vector(given)))
    assert torch.allclose(found, given, atol=1e-6)
    assert torch.autograd.grad(found.sum(), given)[0].isfinite().all()


def test_a_network_learns_from_a_batch_again_and_again(squatting):
    batch = samples(Corpus.of([squatting]), 4, 12, torch.Generator().manual_seed(0), SmplBody.default())
    torch.manual_seed(0)
    network = ImuNetwork(hidden=16)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    losses = []
    for _ in range(15):
        loss, metrics = network.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0] and set(metrics) == {"degrees", "millimetres", "contact", "velocity"}
