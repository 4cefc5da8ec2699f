"""The torques that a motion asks for: what forward dynamics made of known torques, inverse dynamics must give back."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from mprl.motion import HUMANOID, load
from mprl.motion.characters.character import Character
from mprl.motion.clips.pose import dynamics
from mprl.motion.contacts import body_clearance
from mprl.motion.dynamics import inverse_dynamics

STANCE = np.array([[1.0, 1.0]])
FLIGHT = np.array([[0.0, 0.0]])


def free_model() -> mujoco.MjModel:
    """The humanoid in the air: nothing damps it, nothing touches it."""
    spec = HUMANOID.spec()
    spec.option.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_CONTACT) | int(mujoco.mjtDisableBit.mjDSBL_DAMPER)
    return spec.compile()


def test_in_flight_the_torques_that_made_the_motion_are_found_again() -> None:
    model, random = free_model(), np.random.default_rng(3)
    data = mujoco.MjData(model)
    data.qvel[:] = random.normal(0, 2, model.nv)
    mujoco.mj_integratePos(model, data.qpos, random.normal(0, 0.5, model.nv), 1.0)
    torque = np.concatenate((np.zeros(6), random.normal(0, 50, model.nv - 6)))
    data.qfrc_applied[:] = torque
    data.ctrl[:] = 0.0
    data.act[:] = 0.0
    model.actuator_gainprm[:] = 0.0
    model.actuator_biasprm[:] = 0.0
    mujoco.mj_forward(model, data)
    found = inverse_dynamics(HUMANOID, data.qpos[None], data.qvel[None], data.qacc[None], FLIGHT)
    np.testing.assert_allclose(found[0], torque, atol=1e-6)


def test_standing_the_knees_carry_what_is_above_them() -> None:
    """Crouched at rest, weight on both feet: at each knee the torque is the moment of the floor's force less the shank's own weight.

    Summed over both legs the floor pushes with the whole weight, at the centre of mass's x (nothing else balances the root), so the
    moment about the knees' common axis is known without solving for the single forces.
    """
    model = HUMANOID.model
    data = mujoco.MjData(model)
    bend = 0.7
    for side in ("right", "left"):
        data.joint(f"{side}_knee").qpos = -2 * bend  # knees flex at negative angles
        data.joint(f"{side}_hip").qpos = [np.cos(bend / 2), 0.0, -np.sin(bend / 2), 0.0]
        data.joint(f"{side}_ankle").qpos = [np.cos(bend / 2), 0.0, -np.sin(bend / 2), 0.0]
    mujoco.mj_forward(model, data)
    zero = np.zeros((1, model.nv))
    torque = inverse_dynamics(HUMANOID, data.qpos[None], zero, zero, STANCE)[0]
    knees = ("right_knee", "left_knee")
    gravity, moment = 9.81, 0.0
    knee_x = data.body("right_knee").xpos[0]
    moment += model.body_mass.sum() * gravity * (data.subtree_com[1][0] - knee_x)  # the floor, upwards
    for knee in knees:
        shank = model.body(knee).id
        moment -= model.body_subtreemass[shank] * gravity * (data.subtree_com[shank][0] - knee_x)
    axis = data.xaxis[int(model.joint("right_knee").id)]
    # (r x F)_y = -x F for a force F up at x ahead of the knee; the motor balances it
    expected = moment * axis[1]
    assert sum(torque[model.joint(knee).dofadr[0]] for knee in knees) == pytest.approx(expected, rel=0.02)
    assert abs(expected) > 20


def test_the_root_has_no_motor() -> None:
    model = HUMANOID.model
    qpos, zero = model.qpos0[None], np.zeros((1, model.nv))
    assert not inverse_dynamics(HUMANOID, qpos, zero, zero, FLIGHT)[0, :6].any()


def test_along_actuators_is_the_transpose_of_the_moment_arms() -> None:
    model, random = HUMANOID.model, np.random.default_rng(0)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    moment = np.zeros((model.nu, model.nv))
    mujoco.mju_sparse2dense(moment, data.actuator_moment, data.moment_rownnz, data.moment_rowadr, data.moment_colind)
    velocity = random.normal(size=(5, model.nv))
    character: Character = HUMANOID
    np.testing.assert_allclose(character.along_actuators(velocity), velocity @ moment.T, atol=1e-12)


def test_a_back_on_the_floor_carries_the_body() -> None:
    """In the middle of a roll the upper back alone touches the floor: its force is known, m (a - g), and so are the torques."""
    clip = load("roll")
    qpos, asked = HUMANOID.to_qpos(clip).numpy(), dynamics(clip)
    clearance = body_clearance(HUMANOID, qpos)
    touching = [[HUMANOID.body_names[b] for b in np.flatnonzero(row < 0.003)] for row in clearance]
    t = [i for i, names in enumerate(touching) if names == ["chest"]][2]
    model, data, jacobian = HUMANOID.model, mujoco.MjData(HUMANOID.model), np.zeros((3, HUMANOID.model.nv))
    data.qpos[:] = qpos[t]
    mujoco.mj_forward(model, data)
    below = data.geom("chest").xpos - [0, 0, model.geom("chest").size[0]]
    mujoco.mj_jac(model, data, jacobian, None, below, model.body("chest").id)
    expected = asked.torque[t] - model.dof_damping * asked.qvel[t] - jacobian.T @ asked.force[t]
    steps = np.zeros((2, model.nv))
    for k in range(2):
        mujoco.mj_differentiatePos(model, steps[k], 1 / clip.frame_rate, qpos[t - 1 + k], qpos[t + k])
    acceleration = (steps[1] - steps[0]) * clip.frame_rate
    found = inverse_dynamics(HUMANOID, qpos[t : t + 1], asked.qvel[t : t + 1], acceleration[None], np.zeros((1, 2)))[0]
    assert np.abs(asked.force[t]).max() > 200  # N
    np.testing.assert_allclose(found[6:], expected[6:], atol=2.0)  # N m
