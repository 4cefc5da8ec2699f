"""Many worlds on the CPU: each is what MuJoCo alone would compute, and what happens in one stays in it."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
import torch

from mprl.errors import SettingError
from mprl.motion import HUMANOID
from mprl.simulation.cpu import CpuSimulation, watch_contacts

STATE = int(mujoco.mjtState.mjSTATE_INTEGRATION)
BALL = """<mujoco><option timestep="0.01" gravity="0 0 0"/><worldbody>
    <geom name="floor" type="plane" size="0 0 1"/>
    <body name="ball" pos="0 0 5"><freejoint/><geom type="sphere" size="0.1" mass="2"/></body>
    <body name="above" pos="0 0 50"><freejoint/><geom type="sphere" size="0.1" mass="2"/></body>
</worldbody></mujoco>"""


def humanoid() -> mujoco.MjModel:
    return watch_contacts(HUMANOID.spec()).compile()


def balls(solref: str = "0.02 1") -> mujoco.MjModel:
    spec = mujoco.MjSpec.from_string(BALL)
    for geom in spec.geoms:
        geom.solref = [float(x) for x in solref.split()]
    return watch_contacts(spec).compile()


def scattered(model: mujoco.MjModel, worlds: int, threads: int = 1, seed: int = 0) -> CpuSimulation:
    """Worlds in different states, with different controls."""
    simulation = CpuSimulation(model, worlds, threads)
    generator = torch.Generator().manual_seed(seed)
    qvel = torch.randn(worlds, model.nv, generator=generator, dtype=torch.float64)
    qpos = torch.as_tensor(model.qpos0).repeat(worlds, 1)
    qpos[:, 2] += 0.3 * torch.rand(worlds, generator=generator, dtype=torch.float64)
    simulation.reset(torch.ones(worlds, dtype=torch.bool), qpos, qvel)
    simulation.bind("ctrl").copy_(torch.randn(worlds, model.nu, generator=generator, dtype=torch.float64))
    return simulation


def assert_current(simulation: CpuSimulation) -> None:
    """Derived fields are those that MuJoCo computes from the state alone."""
    for world in range(simulation.num_worlds):
        data = mujoco.MjData(simulation.model)
        mujoco.mj_setState(simulation.model, data, simulation.state()[world].numpy(), STATE)
        mujoco.mj_forward(simulation.model, data)
        for field in ("xpos", "xquat", "xipos", "geom_xpos", "subtree_com", "cvel", "sensordata", "qfrc_bias"):
            np.testing.assert_allclose(simulation.bind(field)[world], getattr(data, field), rtol=0, atol=1e-12, err_msg=field)


# ------------------------------------------------------------------------------------------------------------------ the same physics


def test_a_world_is_what_mujoco_alone_computes():
    model = humanoid()
    simulation = scattered(model, 3)
    alone = []
    for world in range(3):
        data = mujoco.MjData(model)
        mujoco.mj_setState(model, data, simulation.state()[world].numpy(), STATE)
        mujoco.mj_step(model, data, 20)
        alone.append(data.qpos.copy())
    for _ in range(5):
        simulation.step(4)
    assert np.array_equal(simulation.bind("qpos").numpy(), alone)


def test_derived_fields_are_current_after_every_call():
    simulation = scattered(humanoid(), 3)
    for field in ("xpos", "xquat", "xipos", "geom_xpos", "subtree_com", "cvel", "sensordata", "qfrc_bias"):
        simulation.bind(field)
    assert_current(simulation)
    simulation.step(4)
    assert_current(simulation)
    simulation.bind("qpos")[:, 2] += 0.1
    simulation.forward()
    assert_current(simulation)
    state = simulation.state()
    mask = torch.tensor([False, True, False])
    simulation.reset(mask, simulation.bind("qpos") + 0.01, simulation.bind("qvel") * 2)
    assert_current(simulation)
    simulation.set_state(state)
    assert_current(simulation)


def test_a_field_bound_late_is_current_at_once():
    simulation = scattered(humanoid(), 2)
    simulation.step(3)
    assert simulation.bind("xpos").abs().sum() > 0
    assert_current(simulation)


def test_actuator_forces_are_each_world_s_own():
    """kp x (target - angle), as far as the force limit: knees at rest, targets growing from world to world."""
    simulation = CpuSimulation(humanoid(), 4, 1)
    force = simulation.bind("actuator_force")
    knee = simulation.model.actuator("right_knee").id
    simulation.bind("ctrl")[:, knee] = torch.tensor([0.0, 0.1, -0.2, 1.0], dtype=torch.float64)
    simulation.step(1)
    assert force[:, knee].tolist() == pytest.approx([0, 50, -100, 150], abs=1e-9)
    simulation.reset(torch.tensor([False, True, False, False]), simulation.bind("qpos").clone(), simulation.bind("qvel").clone())
    assert force[:, knee].tolist() == pytest.approx([0, 0, -100, 150], abs=1e-9)


def test_sensors_that_would_not_be_current_are_refused():
    spec = HUMANOID.spec()
    spec.add_sensor(type=mujoco.mjtSensor.mjSENS_ACTUATORFRC, objtype=mujoco.mjtObj.mjOBJ_ACTUATOR, objname="right_knee")
    with pytest.raises(ValueError, match="forces or accelerations"):
        CpuSimulation(spec.compile(), 1)


def test_results_do_not_depend_on_the_number_of_threads():
    states = []
    for threads in (1, 2, 3):
        simulation = scattered(humanoid(), 16, threads)
        touched = []
        for _ in range(30):
            simulation.step(4)
            touched.append(simulation.contacts(range(1, 16)))
        states.append((simulation.state(), torch.stack(touched)))
    assert states[0][1].any() and not states[0][1].all()
    for state, touched in states[1:]:
        assert torch.equal(state, states[0][0]) and torch.equal(touched, states[0][1])


def test_a_saved_state_is_continued_bit_for_bit():
    simulation = scattered(humanoid(), 4)
    for _ in range(10):
        simulation.step(4)
    saved, other = simulation.state(), scattered(humanoid(), 4, seed=9)
    other.step(4)
    other.set_state(saved)
    for _ in range(10):
        simulation.step(4)
        other.step(4)
    assert torch.equal(simulation.state(), other.state())
    assert torch.equal(simulation.contacts(range(1, 16)), other.contacts(range(1, 16)))


def test_a_saved_state_is_a_copy():
    simulation = scattered(humanoid(), 2)
    saved = simulation.state()
    before = saved.clone()
    simulation.step(4)
    assert torch.equal(saved, before)


# --------------------------------------------------------------------------------------------------------------- one world at a time


def test_a_masked_reset_leaves_the_others_bitwise_alone():
    simulation = scattered(humanoid(), 4)
    xpos, sensors = simulation.bind("xpos"), simulation.bind("sensordata")
    simulation.step(8)
    state, before = simulation.state(), (xpos.clone(), sensors.clone(), simulation.contacts([6, 9]))
    mask = torch.tensor([True, False, True, False])
    qpos, qvel = torch.full_like(simulation.bind("qpos"), torch.nan), torch.full_like(simulation.bind("qvel"), torch.nan)
    qpos[mask], qvel[mask] = torch.as_tensor(simulation.model.qpos0), 0.5
    simulation.reset(mask, qpos, qvel)
    for now, then in zip((simulation.state(), xpos, sensors, simulation.contacts([6, 9])), (state, *before), strict=True):
        assert torch.equal(now[~mask], then[~mask])
    assert torch.equal(simulation.bind("qpos")[mask], qpos[mask]) and torch.equal(simulation.bind("qvel")[mask], qvel[mask])
    assert not simulation.contacts([6, 9])[mask].any()


def test_a_reset_world_keeps_nothing_of_its_past():
    simulation = scattered(humanoid(), 2)
    simulation.apply_force(1, torch.full((2, 3), 50.0))
    simulation.step(20)
    fresh = CpuSimulation(simulation.model, 2, 1)
    qpos, qvel = fresh.bind("qpos").clone(), fresh.bind("qvel").clone()
    simulation.reset(torch.tensor([True, True]), qpos, qvel)
    fresh.reset(torch.tensor([True, True]), qpos, qvel)
    simulation.step(8), fresh.step(8)
    assert torch.equal(simulation.state(), fresh.state())


def test_an_empty_mask_resets_nothing():
    simulation = scattered(humanoid(), 2)
    before = simulation.state()
    simulation.reset(torch.tensor([False, False]), torch.zeros(2, simulation.model.nq), torch.zeros(2, simulation.model.nv))
    assert torch.equal(simulation.state(), before)


@pytest.mark.parametrize(("field", "value"), [("qpos", torch.nan), ("qvel", torch.inf), ("qvel", 1e12)])
def test_a_world_that_breaks_down_is_flagged_and_the_others_do_not_notice(field, value):
    broken, whole = scattered(humanoid(), 4), scattered(humanoid(), 4)
    broken.step(4), whole.step(4)
    assert not broken.diverged.any()
    broken.bind(field)[2, 10] = value
    others = torch.tensor([True, True, False, True])
    broken.step(4), whole.step(4)
    assert torch.equal(broken.diverged, ~others) and not whole.diverged.any()
    assert torch.equal(broken.state()[others], whole.state()[others])
    broken.step(4), whole.step(4)
    assert not broken.diverged.any()  # the flag is of the last step
    assert torch.equal(broken.state()[others], whole.state()[others])
    assert broken.state().isfinite().all()


def test_a_reset_takes_the_flag_back():
    simulation = scattered(humanoid(), 2)
    simulation.bind("qpos")[1, 10] = torch.nan
    simulation.step(1)
    qpos = torch.as_tensor(simulation.model.qpos0).repeat(2, 1)
    simulation.reset(simulation.diverged.clone(), qpos, torch.zeros(2, simulation.model.nv, dtype=torch.float64))
    assert not simulation.diverged.any()
    simulation.step(1)
    assert not simulation.diverged.any()


# ------------------------------------------------------------------------------------------------------------------------- contacts


def touching(model: mujoco.MjModel, height: float, speed: float, substeps: int) -> list[bool]:
    """Whether the ball touches the floor in each state, from the first on, by MuJoCo alone."""
    data = mujoco.MjData(model)
    data.qpos[2], data.qvel[2] = height, speed
    touches = []
    for _ in range(substeps + 1):
        mujoco.mj_forward(model, data)
        touches.append(data.ncon > 0)
        mujoco.mj_step(model, data)
    return touches


def dropped(model: mujoco.MjModel, height: float, speed: float) -> CpuSimulation:
    simulation = CpuSimulation(model, 2, 1)
    qpos, qvel = simulation.bind("qpos").clone(), simulation.bind("qvel").clone()
    qpos[:, 2], qvel[:, 2] = height, speed
    qpos[1, 2] = 5.0  # the second world's ball is far up
    simulation.reset(torch.tensor([True, True]), qpos, qvel)
    return simulation


@pytest.mark.parametrize(
    ("height", "touches"),
    [
        (0.25, [False, False, True, False, False]),  # bounces in the middle
        (0.45, [False, False, False, False, True]),  # only the last state touches
        (0.15, [False, True, False, False, False]),
    ],
)
def test_a_touch_in_any_state_of_a_step_counts(height, touches):
    model = balls("-45000 0")  # a spring that throws the ball back within a substep
    assert touching(model, height, -10.0, 4) == touches  # the case is as constructed
    simulation = dropped(model, height, -10.0)
    simulation.step(4)
    assert simulation.contacts([1, 2]).tolist() == [[True, False], [False, False]]
    simulation.step(4)  # each state is counted in one step only
    assert simulation.contacts([1]).tolist() == [[any(touching(model, height, -10.0, 8)[5:])], [False]]


def test_what_never_comes_near_the_floor_touches_nothing():
    simulation = dropped(balls(), 0.6, -10.0)
    simulation.step(4)
    assert not simulation.contacts([1, 2]).any()


def test_bodies_that_touch_each_other_do_not_touch_the_floor():
    model = balls()
    simulation = CpuSimulation(model, 1, 1)
    qpos = simulation.bind("qpos").clone()
    qpos[0, 2], qpos[0, 9] = 5.0, 5.15
    simulation.reset(torch.tensor([True]), qpos, simulation.bind("qvel").clone())
    simulation.step(1)
    assert simulation.bind("qvel")[0, 2] < 0  # they push each other apart
    assert not simulation.contacts([1, 2]).any()


def test_contacts_need_a_model_that_watches_them():
    simulation = CpuSimulation(HUMANOID.spec().compile(), 1)
    with pytest.raises(ValueError, match="watch_contacts"):
        simulation.contacts([1])


# ---------------------------------------------------------------------------------------------------------------------- the rest


def test_a_force_pushes_until_it_is_changed():  # v = F t / m
    simulation = CpuSimulation(balls(), 2, 1)
    qvel = simulation.bind("qvel")
    simulation.apply_force(2, torch.tensor([[6.0, 0, 0], [0, -3.0, 0]]))
    simulation.step(5)
    simulation.step(5)
    assert qvel[0, 6:9].tolist() == pytest.approx([0.3, 0, 0]) and qvel[1, 6:9].tolist() == pytest.approx([0, -0.15, 0])
    assert qvel[:, :6].abs().max() == 0  # the other body feels nothing
    simulation.apply_force(2, torch.zeros(2, 3))
    simulation.step(5)
    assert qvel[0, 6:9].tolist() == pytest.approx([0.3, 0, 0])


def test_worlds_may_differ_in_their_masses():
    simulation = CpuSimulation(balls(), 3, 1)
    simulation.expand("body_mass")[:, 2] = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    simulation.set_constants()
    simulation.apply_force(2, torch.tensor([[4.0, 0, 0]] * 3))
    simulation.step(10)
    assert simulation.bind("qvel")[:, 6].tolist() == pytest.approx([0.4, 0.2, 0.1])


def test_worlds_may_differ_in_their_gravity():
    simulation = CpuSimulation(balls(), 2, 1)
    simulation.expand("opt.gravity")[:, 2] = torch.tensor([-10.0, -2.0], dtype=torch.float64)
    simulation.step(10)
    assert simulation.bind("qvel")[:, 2].tolist() == pytest.approx([-1.0, -0.2])


def test_a_ray_measures_the_distance_to_the_first_thing():
    simulation = dropped(balls(), 2.0, 0.0)
    origin = torch.tensor([[[0, 0, 1.0], [0, 0, 4.0], [0, 0, 1.0]]] * 2, dtype=torch.float64)
    direction = torch.tensor([[[0, 0, -1.0], [0, 0, -1.0], [1.0, 0, 0]]] * 2, dtype=torch.float64)
    # down to the floor; down onto the ball of the first world (top at 2.1), to the floor in the second; along the floor: nothing
    distance = simulation.ray(origin, direction)
    assert distance.flatten().tolist() == pytest.approx([1, 1.9, -1, 1, 4, -1])


@pytest.mark.parametrize("worlds", [0, -3])
def test_zero_worlds_are_refused(worlds):
    with pytest.raises(SettingError, match=f"at least 1, found {worlds}"):
        CpuSimulation(balls(), worlds)


def test_fewer_than_no_threads_are_refused():
    with pytest.raises(SettingError, match="num_threads must be at least 1, or 0 for all cores, found -3"):
        CpuSimulation(balls(), 2, num_threads=-3)
