"""The GPU back end is the CPU's physics in float32, and trouble in one world stays in it.

Everything runs on Warp's CPU device (`-m slow`: the first run compiles kernels, half a minute) and on a GPU (`-m gpu`).
"""

from __future__ import annotations

import logging

import mujoco
import pytest
import torch

from mprl.errors import SettingError
from mprl.motion import HUMANOID, MotionLibrary, load
from mprl.simulation.cpu import CpuSimulation, watch_contacts

pytestmark = pytest.mark.usefixtures("warp_installed", "heard")
WORLDS = 8
BODIES = range(1, 16)
BALL = """<mujoco><option timestep="0.01" gravity="0 0 0"/><worldbody>
    <geom name="floor" type="plane" size="0 0 1"/>
    <body name="ball" pos="0 0 5"><freejoint/><geom type="sphere" size="0.1" mass="2"/></body>
    <body name="above" pos="0 0 50"><freejoint/><geom type="sphere" size="0.1" mass="2"/></body>
</worldbody></mujoco>"""


@pytest.fixture(scope="module")
def humanoid() -> mujoco.MjModel:
    return watch_contacts(HUMANOID.spec()).compile()


def warp(model: mujoco.MjModel, worlds: int, device: str, **settings):
    from mprl.simulation.gpu import WarpSimulation

    return WarpSimulation(model, worlds, device, deterministic=device == "cuda", **settings)


@pytest.fixture(scope="module")
def simulation(humanoid, device):
    """One for all tests that only need any: each sets its state first."""
    return warp(humanoid, WORLDS, device)


@pytest.fixture(scope="module")
def states(humanoid) -> dict[str, torch.Tensor]:
    """Worlds that walk (on the reference), fall (thrown) and lie (three seconds later), as float32 resolves them."""
    everyone, generator = torch.ones(WORLDS, dtype=torch.bool), torch.Generator().manual_seed(0)
    simulation = CpuSimulation(humanoid, WORLDS, 1)
    library = MotionLibrary([load("walk")], HUMANOID, torch.device("cpu"))
    times = torch.linspace(0, float(library.durations[0]), WORLDS)
    reference = library.sample(torch.zeros(WORLDS, dtype=torch.long), times)
    simulation.reset(everyone, reference.qpos.double(), reference.qvel.double())
    simulation.bind("ctrl").copy_(reference.feedforward)
    simulation.step(4)  # a warm start and contacts
    found = {"walking": simulation.state().float()}
    qpos, qvel = torch.as_tensor(humanoid.qpos0).repeat(WORLDS, 1), torch.randn(WORLDS, humanoid.nv, generator=generator).double()
    simulation.reset(everyone, qpos, qvel)
    simulation.bind("ctrl").copy_(0.3 * torch.randn(WORLDS, humanoid.nu, generator=generator))
    for name, control_steps in (("falling", 15), ("lying", 90)):
        for _ in range(control_steps):
            simulation.step(4)
        found[name] = simulation.state().float()
    return found


def equal(simulation, saved, worlds) -> bool:
    return torch.equal(simulation.state()[worlds], saved[worlds])


# ------------------------------------------------------------------------------------------------------------------ the same physics


@pytest.mark.parametrize("kind", ["walking", "falling", "lying"])
@pytest.mark.parametrize("substeps", [1, 4])
def test_a_step_is_that_of_the_cpu(simulation, humanoid, states, kind, substeps):
    """From the same state, to what float32 resolves.

    Positions are of the order of 1, where float32 resolves 1.2e-7. Its accelerations carry the mass matrix's condition number
    (of the order of 1e3) times that, relative to some 100 rad/s²; one substep of 1/120 s makes 1e-4 rad/s of it and 1e-6 rad.
    Measured: 2.8e-5 and 2.4e-7 at most.
    """
    state = states[kind]
    cpu = CpuSimulation(humanoid, WORLDS, 1)
    cpu.set_state(state.double())
    simulation.set_state(state)
    assert torch.equal(simulation.state().cpu(), state)
    fields = ("qpos", "xpos", "qvel", "actuator_velocity")
    bounds = dict(zip(fields, (1e-6, 2e-6, 1e-4, 1e-4), strict=True))
    bound = [(cpu.bind(field), simulation.bind(field), bounds[field]) for field in fields]
    cpu.step(substeps), simulation.step(substeps)
    for expected, found, within in bound:
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.cpu().double(), expected, rtol=0, atol=within)
    assert torch.equal(simulation.contacts(BODIES).cpu(), cpu.contacts(BODIES))
    assert cpu.contacts(BODIES).any()
    assert simulation.check()["diverged"] == 0


def test_derived_fields_are_current_after_every_call(simulation, humanoid, states):
    fields = ("xpos", "xmat", "subtree_com", "cvel", "sensordata", "actuator_length", "actuator_velocity", "qfrc_bias")
    cpu = CpuSimulation(humanoid, WORLDS, 1)

    def assert_current():
        cpu.set_state(simulation.state().cpu().double())
        for field in fields:
            torch.testing.assert_close(simulation.bind(field).cpu().double(), cpu.bind(field), rtol=1e-5, atol=1e-4, msg=field)

    simulation.set_state(states["lying"])
    assert_current()
    simulation.step(2)
    assert_current()
    simulation.bind("qpos")[:, 2] += 0.5
    simulation.forward()
    assert_current()
    mask = torch.arange(WORLDS) % 2 == 0
    simulation.reset(mask, torch.as_tensor(humanoid.qpos0).expand(WORLDS, -1), torch.ones(WORLDS, humanoid.nv))
    assert_current()


def test_a_saved_state_is_continued(simulation, states):
    """On Warp's CPU device, and in its deterministic mode, bit for bit."""
    simulation.set_state(states["walking"])
    simulation.step(4)
    saved = simulation.state()
    ends = []
    for _ in range(2):
        simulation.set_state(saved)
        simulation.step(4), simulation.step(4)
        ends.append(simulation.state())
    assert torch.equal(*ends) and not torch.equal(ends[0], saved)


def test_random_torque_targets_do_no_harm(simulation, humanoid, caplog):
    """Three seconds of PD targets redrawn at 30 Hz, of .1, .3 and 1 rad, on both back ends."""
    sigma = torch.tensor([0.1, 0.3, 1.0]).repeat(3)[:WORLDS, None]
    generator = torch.Generator().manual_seed(1)
    cpu = CpuSimulation(humanoid, WORLDS, 1)
    everyone, qpos = torch.ones(WORLDS, dtype=torch.bool), torch.as_tensor(humanoid.qpos0).repeat(WORLDS, 1)
    for each in (cpu, simulation):
        each.reset(everyone, qpos, torch.zeros(WORLDS, humanoid.nv, dtype=torch.float64))
        each.check()
    caplog.clear()
    for _ in range(90):
        target = sigma * torch.randn(WORLDS, humanoid.nu, generator=generator)
        for each in (cpu, simulation):
            each.bind("ctrl").copy_(target)
            each.step(4)
    for each in (cpu, simulation):
        troubles = each.check()
        assert not troubles["diverged"] and not troubles["overflowed"]
        assert each.bind("qvel")[:, 6:].abs().max() < 50
    assert not caplog.records


def test_a_touch_in_any_state_of_a_step_counts(device):
    """Balls that bounce in the middle of a step, at its end, and never; one that another ball pushes touches no floor."""
    spec = mujoco.MjSpec.from_string(BALL)
    for geom in spec.geoms:
        geom.solref = [-45000.0, 0.0]  # a spring that throws the ball back within a substep
    simulation = warp(spec.compile(), 4, device)
    qpos, qvel = simulation.bind("qpos").clone(), simulation.bind("qvel").clone()
    qpos[:3, 2] = torch.tensor([0.25, 0.45, 0.6], device=qpos.device)
    qvel[:3, 2] = -10.0
    qpos[3, 9] = 5.15
    simulation.reset(torch.ones(4, dtype=torch.bool), qpos, qvel)
    simulation.step(4)
    assert simulation.contacts([1, 2]).tolist() == [[True, False], [True, False], [False, False], [False, False]]
    assert simulation.bind("qvel")[3, 2] < 0


# --------------------------------------------------------------------------------------------------------------- one world at a time


def test_a_masked_reset_leaves_the_others_bitwise_alone(simulation, humanoid, states):
    simulation.set_state(states["lying"])
    force = simulation.bind("actuator_force")
    simulation.step(4)
    mask = torch.tensor([True, False] * (WORLDS // 2), device=simulation.device)
    views = [simulation.bind(field) for field in ("xpos", "sensordata", "actuator_force", "qacc", "cvel")]
    before = [simulation.state(), simulation.contacts(BODIES), *(view.clone() for view in views)]
    qpos = torch.full_like(simulation.bind("qpos"), torch.nan)
    qvel = torch.full_like(simulation.bind("qvel"), torch.nan)
    qpos[mask], qvel[mask] = torch.as_tensor(humanoid.qpos0, dtype=qpos.dtype, device=qpos.device), 0.5
    simulation.reset(mask, qpos, qvel)
    for now, then in zip((simulation.state(), simulation.contacts(BODIES), *views), before, strict=True):
        assert torch.equal(now[~mask], then[~mask])
    assert torch.equal(simulation.bind("qpos")[mask], qpos[mask]) and torch.equal(simulation.bind("qvel")[mask], qvel[mask])
    assert not simulation.contacts(BODIES)[mask].any() and not force[mask].any() and force[~mask].any()
    state = simulation.state()
    simulation.reset(torch.zeros_like(mask), qpos, qvel)
    assert torch.equal(simulation.state(), state)


@pytest.fixture(params=["mujoco", "warp"])
def pair(request, humanoid, states, device):
    """Two simulations of one back end in the same states: one to break, one to compare with."""
    make = (lambda: CpuSimulation(humanoid, WORLDS, 1)) if request.param == "mujoco" else (lambda: warp(humanoid, WORLDS, device))
    broken, whole = make(), make()
    for simulation in (broken, whole):
        simulation.set_state(states["falling"])
        simulation.step(4)
    return broken, whole


@pytest.mark.parametrize(
    "breaks",
    [
        pytest.param(lambda simulation: simulation.bind("qpos")[2, 10:11].fill_(torch.nan), id="NaN position"),
        pytest.param(lambda simulation: simulation.bind("qvel")[2, 8:9].fill_(torch.inf), id="infinite velocity"),
        pytest.param(lambda simulation: simulation.bind("qvel")[2, 8:9].fill_(1e12), id="velocity beyond MuJoCo's limit"),
        pytest.param(
            lambda simulation: simulation.apply_force(3, 1e14 * (torch.arange(WORLDS) == 2).float()[:, None].expand(-1, 3)),
            id="huge force",
        ),
    ],
)
def test_a_world_that_breaks_down_is_reported_counted_and_reset_and_the_others_do_not_notice(pair, humanoid, breaks, caplog):
    broken, whole = pair
    others = torch.arange(WORLDS) != 2
    broken.bind("actuator_force")
    breaks(broken)
    seen = torch.zeros(WORLDS, dtype=torch.bool)
    for _ in range(3):
        broken.step(4), whole.step(4)
        diverged = broken.diverged.clone()
        seen |= diverged.cpu()
        assert broken.state().isfinite().all() and broken.bind("xpos").isfinite().all() and broken.bind("actuator_force").isfinite().all()
        broken.reset(diverged, torch.as_tensor(humanoid.qpos0).expand(WORLDS, -1), torch.zeros(WORLDS, humanoid.nv, dtype=torch.float64))
        assert not broken.diverged.any() and not whole.diverged.any()
        assert equal(broken, whole.state(), others.to(broken.device))
    assert seen.tolist() == (~others).tolist()
    assert broken.state().isfinite().all()
    assert broken.check()["diverged"] == broken.troubles["diverged"] == 1 and broken.check()["diverged"] == 0
    assert "the physics of 1 worlds diverged" in caplog.text


# -------------------------------------------------------------------------------------------------------------------------- buffers


def test_the_probe_makes_room_for_bodies_on_the_floor(simulation, states):
    """No more than 29 contacts of 4 rows each are possible: 5 spheres, 8 capsules with two, 2 boxes with four."""
    rows, contacts = simulation.capacity
    simulation.check()
    simulation.set_state(states["lying"])
    for _ in range(5):
        simulation.step(4)
    assert not simulation.check()["overflowed"]
    assert 64 <= rows <= 1.5 * 116 + 8 and 8 <= contacts <= 1.5 * 29 + 8


def test_rows_that_overflow_are_reported_counted_and_grow(humanoid, states, device, caplog):
    """Only worlds that need more rows than there are break down, those on the floor; those in the air go on, bit for bit."""
    needy, flying = torch.arange(WORLDS) % 4 == 1, states["falling"].clone()
    flying[:, 3] += 2.0
    mixed = torch.where(needy.unsqueeze(-1), states["lying"], flying)
    small, large = warp(humanoid, WORLDS, device, njmax=8, nconmax=40), warp(humanoid, WORLDS, device)
    bound = small.bind("qpos")
    for simulation in (small, large):
        simulation.set_state(mixed)
        simulation.step(4)
    assert small.diverged.tolist() == needy.tolist()
    others = ~small.diverged
    assert equal(small, large.state(), others)
    rest = torch.as_tensor(humanoid.qpos0).expand(WORLDS, -1), torch.zeros(WORLDS, humanoid.nv)
    small.reset(small.diverged.clone(), *rest)
    with caplog.at_level(logging.WARNING, "mprl"):
        troubles = small.check()
    assert troubles["overflowed"] == 2 and troubles["diverged"] == 0
    assert small.capacity[0] > 8 and small.capacity[1] == 40
    assert f"grew from 8 to {small.capacity[0]} constraint rows a world (njmax)" in caplog.text
    small.step(4), large.step(4)
    assert equal(small, large.state(), others)  # the state was kept, and what was bound before still is
    assert torch.equal(bound[others], large.bind("qpos")[others]) and torch.equal(small.bind("qpos"), bound)
    small.set_state(mixed), small.step(4)
    assert not small.diverged.any() and small.check()["overflowed"] == 0  # one growth was enough


def test_contacts_that_overflow_are_reported_and_grow(humanoid, states, device, caplog):
    """The worlds share the contact buffer, so that none can be trusted."""
    small, large = warp(humanoid, WORLDS, device, nconmax=2), warp(humanoid, WORLDS, device)
    small.set_state(states["lying"]), large.set_state(states["lying"])
    small.step(4)
    assert small.diverged.all()
    while small.check()["overflowed"]:
        small.set_state(states["lying"])
        small.step(4)
    assert "grew from 2 to" in caplog.text and "contacts a world (nconmax)" in caplog.text
    large.step(4)
    assert torch.equal(small.state(), large.state())
    assert torch.equal(small.contacts(BODIES), large.contacts(BODIES))


# ------------------------------------------------------------------------------------------------------------------------- the rest


def test_worlds_may_differ_and_forces_push(device):  # v = F t / m; v = g t
    simulation = warp(mujoco.MjModel.from_xml_string(BALL), 3, device)
    simulation.step(1)  # a graph that must not be used again
    simulation.expand("body_mass")[:, 2] = torch.tensor([1.0, 2.0, 4.0])
    simulation.set_constants()
    simulation.expand("opt.gravity")[:, 2] = torch.tensor([-10.0, -2.0, 0.0])
    simulation.apply_force(2, torch.tensor([[4.0, 0, 0]] * 3))
    simulation.reset(torch.zeros(3, dtype=torch.bool), simulation.bind("qpos"), simulation.bind("qvel"))  # takes no force away
    simulation.step(10)
    assert simulation.bind("qvel")[:, 6].tolist() == pytest.approx([0.4, 0.2, 0.1])
    assert simulation.bind("qvel")[:, 2].tolist() == pytest.approx([-1.0, -0.2, 0.0])
    with pytest.raises(SettingError, match="one value of 'geom_type' for all worlds"):
        simulation.expand("geom_type")


def test_a_ray_measures_the_distance_to_the_first_thing(device):
    simulation = warp(mujoco.MjModel.from_xml_string(BALL), 2, device)
    qpos = simulation.bind("qpos").clone()
    qpos[:, 2] = torch.tensor([2.0, 5.0])
    simulation.reset(torch.ones(2, dtype=torch.bool), qpos, simulation.bind("qvel").clone())
    origin = torch.tensor([[[0, 0, 1.0], [0, 0, 4.0], [0, 0, 1.0]]] * 2)
    direction = torch.tensor([[[0, 0, -1.0], [0, 0, -1.0], [1.0, 0, 0]]] * 2)
    assert simulation.ray(origin, direction).flatten().tolist() == pytest.approx([1, 1.9, -1, 1, 4, -1])


def test_what_cannot_be_simulated_is_one_line(device):
    with pytest.raises(SettingError, match="at least 1, found 0"):
        warp(mujoco.MjModel.from_xml_string(BALL), 0, device)
    unknown = BALL.replace("<option", '<option solver="PGS" ')
    with pytest.raises(SettingError, match="cannot simulate this model: mjSOL_PGS"):
        warp(mujoco.MjModel.from_xml_string(unknown), 1, device)


def test_more_worlds_than_fit_are_told_before_they_are_made(device, humanoid, monkeypatch):
    from mprl.errors import DeviceError
    from mprl.simulation import gpu

    data = warp(humanoid, 8, device, njmax=64, nconmax=16)._data
    monkeypatch.setattr(gpu, "_free_memory", lambda device: int(gpu._bytes(data) / 0.9) + 1)
    warp(humanoid, 8, device, njmax=64, nconmax=16)
    with pytest.raises(DeviceError, match=r"^16 worlds need \d\.\d GiB on .*, 0\.0 GiB are free; try --num-envs 8$"):
        warp(humanoid, 16, device, njmax=64, nconmax=16)
