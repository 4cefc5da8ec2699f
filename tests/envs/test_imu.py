"""Inertial sensors read what mechanics says: on a turntable, in free fall, at rest; and their faults are as large as asked."""

from __future__ import annotations

import math
from types import SimpleNamespace

import mujoco
import numpy as np
import pytest
import torch

from mprl.envs.imitation.ground import Ground
from mprl.envs.imitation.imu import Imu, ImuSettings, worn_on
from mprl.envs.imitation.sensor import Worlds
from mprl.errors import MprlError
from mprl.motion import find_character
from mprl.simulation.cpu import CpuSimulation, watch_contacts

STEP, SUBSTEPS, G = 1 / 30, 4, 9.81
RADIUS, RATE = 0.5, 3.0
# a body on a table that turns about the vertical, half a metre from its axis; one tilted there; and a ball in the air
TURNTABLE = f"""
<mujoco>
  <option timestep="{STEP / SUBSTEPS}" gravity="0 0 -{G}"/>
  <worldbody>
    <body name="table">
      <joint name="axle" type="hinge" axis="0 0 1"/>
      <geom size=".1" mass="1" contype="0" conaffinity="0"/>
      <body name="upright" pos="{RADIUS} 0 0"><geom size=".1" mass="1" contype="0" conaffinity="0"/></body>
      <body name="tilted" pos="{RADIUS} 0 0" euler="90 0 0"><geom size=".1" mass="1" contype="0" conaffinity="0"/></body>
    </body>
    <body name="ball" pos="0 0 50"><freejoint/><geom size=".1" mass="1" contype="0" conaffinity="0"/></body>
  </worldbody>
</mujoco>
"""
BODIES = ("upright", "tilted", "ball")


def turntable(rate: float = RATE, worlds: int = 1, bodies=BODIES, **settings) -> tuple[CpuSimulation, Imu]:
    simulation = CpuSimulation(watch_contacts(mujoco.MjSpec.from_string(TURNTABLE)).compile(), worlds, 1)
    names = tuple(simulation.model.body(i).name for i in range(1, simulation.model.nbody))
    character = SimpleNamespace(name="turntable", body_names=names)
    simulation.bind("qvel")[:, 0] = rate
    simulation.forward()
    imu = Imu(ImuSettings(bodies, **settings), Worlds(simulation, character, Ground(None, simulation.device), STEP))
    imu.reset(torch.ones(worlds, dtype=torch.bool), torch.Generator().manual_seed(0))
    return simulation, imu


def after_a_step(simulation: CpuSimulation, imu: Imu, random: torch.Generator | None = None) -> torch.Tensor:
    simulation.step(SUBSTEPS)
    imu.advance(random or torch.Generator())
    return imu.read(slice(None))


def test_at_rest_an_accelerometer_feels_the_floor_push_up():
    simulation, imu = turntable(rate=0.0)
    for reading in (imu.read(slice(None))[0], after_a_step(simulation, imu)[0]):
        assert reading[0, 9:].numpy() == pytest.approx([0, 0, G], abs=1e-4)
        assert reading[1, 9:].numpy() == pytest.approx([0, G, 0], abs=1e-4)  # lying on its back, up is the body's y
        assert reading[:2, 6:9].abs().max() < 1e-6


def test_in_free_fall_it_feels_nothing_even_where_the_body_spins():
    simulation, imu = turntable()
    simulation.bind("qvel")[:, 1:] = torch.tensor([1.0, 0.0, 5.0, 1.0, -2.0, 3.0])
    simulation.forward()
    imu.reset(torch.ones(1, dtype=torch.bool), torch.Generator())
    for _ in range(5):
        reading = after_a_step(simulation, imu)[0, 2]
        assert reading[9:].abs().max() < 2e-3


def test_at_radius_r_a_turntable_pulls_inwards_with_omega_squared_r():
    simulation, imu = turntable()
    for _ in range(3):
        reading = after_a_step(simulation, imu)[0]
    # over a step of angle ωΔ the mean is shorter by sin(ωΔ/2) / (ωΔ/2), here by 4 in 10 000
    pull = RATE**2 * RADIUS * math.sin(RATE * STEP / 2) / (RATE * STEP / 2)
    assert pull == pytest.approx(RATE**2 * RADIUS, rel=1e-3)
    assert reading[0, 9:].numpy() == pytest.approx([-pull, 0, G], abs=2e-3)
    assert reading[1, 9:].numpy() == pytest.approx([-pull, G, 0], abs=2e-3)


def test_a_gyroscope_reads_the_rate_in_its_own_axes():
    simulation, imu = turntable()
    reading = after_a_step(simulation, imu)[0]
    assert reading[0, 6:9].numpy() == pytest.approx([0, 0, RATE], abs=1e-5)
    assert reading[1, 6:9].numpy() == pytest.approx([0, RATE, 0], abs=1e-5)


@pytest.mark.parametrize("frame", ["world", "root", "heading"])
def test_orientations_are_told_in_the_frame_asked_for(frame):
    simulation, imu = turntable(frame=frame, representation="quaternion")
    angle = 0.0
    for _ in range(10):
        reading = after_a_step(simulation, imu)[0]
        angle += RATE * STEP
    turned = angle if frame == "world" else 0.0  # the table is the root, and turns along
    assert reading[0, :4].numpy() == pytest.approx([math.cos(turned / 2), 0, 0, math.sin(turned / 2)], abs=1e-5)


def test_gyroscope_and_orientation_are_mujoco_s_own_on_a_moving_humanoid():
    character = find_character("humanoid", None, None)
    spec = character.spec()
    for name in worn_on(character):
        body = spec.body(name)
        middle = character.model.body_ipos[character.model.body(name).id]
        body.add_site(name=name, pos=middle)
        for kind in (mujoco.mjtSensor.mjSENS_FRAMEQUAT, mujoco.mjtSensor.mjSENS_GYRO):
            spec.add_sensor(name=f"{name}{int(kind)}", type=kind, objtype=mujoco.mjtObj.mjOBJ_SITE, objname=name)
    simulation = CpuSimulation(watch_contacts(spec).compile(), 3, 1)
    settings = ImuSettings(frame="world", representation="quaternion")
    imu = Imu(settings, Worlds(simulation, character, Ground(None, simulation.device), STEP))
    imu.reset(torch.ones(3, dtype=torch.bool), torch.Generator())
    simulation.bind("qvel").copy_(torch.randn(3, simulation.model.nv, generator=torch.Generator().manual_seed(1)))
    reading = after_a_step(simulation, imu).numpy()
    peer = simulation.bind("sensordata")[:, : 7 * reading.shape[1]].numpy().reshape(3, -1, 7)
    quaternion = peer[..., :4] * np.where(peer[..., :1] < 0, -1, 1)
    np.testing.assert_allclose(reading[..., :4], quaternion, atol=1e-5)
    np.testing.assert_allclose(reading[..., 4:7], peer[..., 4:], atol=1e-4)


def test_the_six_of_the_literature_are_worn_by_default():
    assert worn_on(find_character("humanoid", None, None)) == ("right_elbow", "left_elbow", "right_knee", "left_knee", "neck", "root")


@pytest.mark.slow  # it makes a body
def test_the_six_are_those_of_the_smpl_body_too():
    assert worn_on(find_character("smpl", None, None)) == ("right_elbow", "left_elbow", "right_knee", "left_knee", "head", "pelvis")


# ----------------------------------------------------------------------------------------------------------------------- faults


def test_white_noise_has_the_deviations_asked_for_and_no_memory():
    simulation, imu = turntable(worlds=600, bodies=("upright",), gyroscope_noise=0.1, accelerometer_noise=0.5)
    random = torch.Generator().manual_seed(0)
    readings = [after_a_step(simulation, imu, random)[:, 0, 6:] for _ in range(2)]
    assert readings[0][:, :3].std(dim=0).numpy() == pytest.approx([0.1] * 3, rel=0.15)
    assert readings[0][:, 3:].std(dim=0).numpy() == pytest.approx([0.5] * 3, rel=0.15)
    assert abs(np.corrcoef(readings[0][:, 4], readings[1][:, 4])[0, 1]) < 0.15


def test_drift_is_a_random_walk_from_the_start_of_each_episode():
    simulation, imu = turntable(worlds=600, bodies=("upright",), gyroscope_drift=0.3)
    random, steps = torch.Generator().manual_seed(0), 12
    assert imu.read(slice(None))[:, 0, 6].std() < 1e-6
    for _ in range(steps):
        reading = after_a_step(simulation, imu, random)
    assert float(reading[:, 0, 6].std()) == pytest.approx(0.3 * math.sqrt(steps * STEP), rel=0.15)
    half = torch.arange(600) < 300
    imu.reset(half, random)
    reading = imu.read(slice(None))[:, 0, 6]
    assert reading[half].std() < 1e-6 < reading[~half].std()


def test_a_misplaced_sensor_is_pulled_by_where_it_is():
    simulation, imu = turntable(worlds=600, bodies=("upright",), misplacement=0.05)
    pull = after_a_step(simulation, imu)[:, 0, 9]
    assert float(pull.mean()) == pytest.approx(-(RATE**2) * RADIUS, rel=0.03)
    assert float(pull.std()) == pytest.approx(RATE**2 * 0.05, rel=0.15)


def test_a_misaligned_sensor_sees_the_same_rate_along_other_axes():
    simulation, imu = turntable(worlds=500, bodies=("upright",), misalignment=0.1)
    rate = after_a_step(simulation, imu)[:, 0, 6:9]
    assert rate.norm(dim=-1).numpy() == pytest.approx(np.full(500, RATE), rel=1e-5)
    assert float(rate[:, 0].std()) == pytest.approx(RATE * 0.1, rel=0.1)  # the table's axis, seen turned about y


def test_orientation_noise_turns_by_the_angle_asked_for():
    _, imu = turntable(worlds=600, bodies=("upright",), orientation_noise=0.1, representation="quaternion", frame="root")
    angle = 2 * torch.acos(imu.read(slice(None))[:, 0, 0].clamp(max=1.0))
    assert float(angle.square().mean().sqrt()) == pytest.approx(0.1, rel=0.15)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"bodies": ("upright", "tail")}, "no body named 'tail'; did you mean 'table'? (the turntable has table, upright, tilted, ball)"),
        ({"bodies": ()}, "bodies: expected at least one name, found none"),
        ({"frame": "roof"}, "no frame of imu named 'roof'; did you mean 'root'? (known: heading, root, world)"),
        ({"gyroscope_noise": -1.0}, "imu: gyroscope_noise must be a number of at least 0, found -1.0"),
        ({"misplacement": "much"}, "imu: misplacement must be a number of at least 0, found 'much'"),
    ],
)
def test_what_cannot_be_measured_is_one_line(settings, text):
    with pytest.raises(MprlError) as error:
        turntable(**settings)
    assert text in str(error.value) and "\n" not in str(error.value)
