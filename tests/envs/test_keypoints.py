"""Keypoints are where geometry says: in frames that turn with the character, and in a pinhole camera's picture."""

from __future__ import annotations

import math
from types import SimpleNamespace

import mujoco
import numpy as np
import pytest
import torch

from mprl.envs.imitation.ground import Ground
from mprl.envs.imitation.keypoints import Keypoints2d, Keypoints2dSettings, Keypoints3d, Keypoints3dSettings, camera_axes, project
from mprl.envs.imitation.sensor import Worlds
from mprl.errors import MprlError
from mprl.simulation.cpu import CpuSimulation, watch_contacts

# a root half a metre up, and balls in a row along y beside it
ROW = """
<mujoco>
  <worldbody>
    <body name="root" pos="0 0 .5">
      <freejoint/><geom size=".01" mass="1"/>
      <body name="near" pos="0 -1 0"><geom size=".05" mass="1"/></body>
      <body name="far" pos="0 1 0"><geom size=".05" mass="1"/></body>
      <body name="aside" pos=".5 1 0"><geom size=".05" mass="1"/></body>
    </body>
  </worldbody>
</mujoco>
"""


def row(kind, settings, worlds: int = 1, place=(0.0, 0.0, 0.5), yaw: float = 0.0, tilt: float = 0.0):
    simulation = CpuSimulation(watch_contacts(mujoco.MjSpec.from_string(ROW)).compile(), worlds, 1)
    character = SimpleNamespace(name="row", body_names=("root", "near", "far", "aside"))
    qpos, turned = simulation.bind("qpos"), np.zeros(4)
    mujoco.mju_euler2Quat(turned, np.array([yaw, 0.0, tilt]), "zyx")
    qpos[:, :3], qpos[:, 3:] = torch.tensor(place), torch.from_numpy(turned)
    simulation.forward()
    sensor = kind(settings, Worlds(simulation, character, Ground(None, simulation.device), 1 / 30))
    sensor.reset(torch.ones(worlds, dtype=torch.bool), torch.Generator().manual_seed(0))
    return sensor


def read(sensor) -> np.ndarray:
    return sensor.read(slice(None)).numpy()


# --------------------------------------------------------------------------------------------------------------------- projection


def test_what_the_camera_looks_at_is_in_the_middle_and_moves_by_similar_triangles():
    """At a depth d, w to the right is f w / d pixels to the right, and f is half the height over tan(half the angle)."""
    axes, eye = camera_axes(azimuth=90, elevation=0), torch.tensor([[0.0, -3.0, 1.0]])  # looks along +y, so right is +x
    points = torch.tensor([[[0.0, 0.0, 1.0], [0.5, 0.0, 1.0], [0.0, 0.0, 1.5], [0.5, 3.0, 1.0], [0.0, -4.0, 1.0]]])
    pixels, depth = project(points, eye, axes, fovy=90.0, width=200, height=100)  # so f = 50
    expected = [[100, 50], [100 + 50 / 6, 50], [100, 50 - 50 / 6], [100 + 50 / 12, 50]]
    np.testing.assert_allclose(pixels[0, :4], expected, atol=1e-4)
    assert depth[0].tolist() == [3, 3, 3, 6, -1]


@pytest.mark.parametrize(("azimuth", "elevation"), [(90, 0), (125, -10), (-40, 30), (200, -80)])
def test_a_camera_is_turned_as_mujoco_turns_its_own(azimuth, elevation):
    model = mujoco.MjModel.from_xml_string("<mujoco/>")
    data, scene, camera = mujoco.MjData(model), mujoco.MjvScene(model, 10), mujoco.MjvCamera()
    mujoco.mj_forward(model, data)
    camera.azimuth, camera.elevation, camera.distance, camera.lookat[:] = azimuth, elevation, 2.0, (1.0, 2.0, 3.0)
    mujoco.mjv_updateScene(model, data, mujoco.MjvOption(), None, camera, mujoco.mjtCatBit.mjCAT_ALL.value, scene)
    peer = scene.camera[0]
    right, up, forward = camera_axes(azimuth, elevation).numpy()
    np.testing.assert_allclose(forward, peer.forward, atol=1e-6)
    np.testing.assert_allclose(up, peer.up, atol=1e-6)
    np.testing.assert_allclose(right, np.cross(forward, up), atol=1e-6)
    np.testing.assert_allclose(np.array([1.0, 2.0, 3.0]) - 2.0 * forward, peer.pos, atol=0.07)  # of its left eye


CAMERA = {"width": 100, "height": 100, "fovy": 90.0, "azimuth": 90.0, "elevation": 0.0}  # f = 50, looks along +y


def test_a_camera_that_stands_sees_the_character_go_out_of_the_picture():
    settings = Keypoints2dSettings(lookat=(0.0, 0.0, 0.5), distance=4.0, **CAMERA)
    found = read(row(Keypoints2d, settings))[0]
    np.testing.assert_allclose(found[:, :2], [[50, 50], [50, 50], [50, 50], [55, 50]], atol=1e-3)
    assert found[:, 2].tolist() == [1, 1, 1, 1]
    gone = read(row(Keypoints2d, settings, place=(-3.8, 0.0, 0.5)))[0]  # 3.8 m to the left: beyond 3 m at the near ball
    np.testing.assert_allclose(gone[[0, 2], :2], [[50 - 50 * 3.8 / 4, 50], [50 - 50 * 3.8 / 5, 50]], atol=1e-3)
    assert gone[:, 2].tolist() == [1, 0, 1, 1] and not gone[1].any()


def test_what_is_behind_the_camera_is_not_seen():
    found = read(row(Keypoints2d, Keypoints2dSettings(lookat=(0.0, 0.0, 0.5), distance=0.5, **CAMERA)))[0]
    assert found[:, 2].tolist() == [1, 0, 1, 1]


def test_a_camera_that_comes_along_sees_the_same_wherever_the_character_goes():
    settings = Keypoints2dSettings(distance=4.0, **CAMERA)
    here, there = (read(row(Keypoints2d, settings, place=place)) for place in ((0.0, 0.0, 0.5), (7.0, -3.0, 0.5)))
    np.testing.assert_allclose(here, there, atol=1e-3)
    assert here[0, 0] == pytest.approx([50, 50 + 50 * 0.4 / 4, 1], abs=1e-3)  # it looks .9 m above the ground, .4 m above the root


def test_what_a_limb_hides_is_not_seen_where_that_is_asked_for():
    for occlusion, expected in ((False, [1, 1, 1, 1]), (True, [0, 1, 0, 1])):  # the near ball hides the root and the far one
        settings = Keypoints2dSettings(lookat=(0.0, 0.0, 0.5), distance=4.0, occlusion=occlusion, **CAMERA)
        assert read(row(Keypoints2d, settings))[0, :, 2].tolist() == expected


# -------------------------------------------------------------------------------------------------------------------------- space


def test_in_the_heading_frame_a_character_is_the_same_wherever_it_goes_and_turns():
    here = read(row(Keypoints3d, Keypoints3dSettings(), tilt=0.3))
    there = read(row(Keypoints3d, Keypoints3dSettings(), place=(3.0, -4.0, 0.5), yaw=2.0, tilt=0.3))
    np.testing.assert_allclose(here, there, atol=1e-5)
    assert here[0, 0] == pytest.approx([0, 0, 0.5, 1], abs=1e-6)
    assert here[0, 2] == pytest.approx([0, math.cos(0.3), 0.5 + math.sin(0.3), 1], abs=1e-6)


def test_in_the_root_s_frame_a_rigid_body_never_moves_and_in_the_world_s_it_does():
    moved = {"place": (3.0, -4.0, 0.7), "yaw": 2.0, "tilt": 0.3}
    found = read(row(Keypoints3d, Keypoints3dSettings(frame="root"), **moved))[0]
    np.testing.assert_allclose(found[:, :3], [[0, 0, 0], [0, -1, 0], [0, 1, 0], [0.5, 1, 0]], atol=1e-5)
    found = read(row(Keypoints3d, Keypoints3dSettings(frame="world", bodies=("root", "far")), place=(3.0, -4.0, 0.7), yaw=math.pi / 2))[0]
    np.testing.assert_allclose(found[:, :3], [[3, -4, 0.7], [2, -4, 0.7]], atol=1e-5)


# ------------------------------------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("kind", "settings", "size"),
    [
        (Keypoints3d, Keypoints3dSettings(noise=0.02, dropout=0.25), 0.02),
        (Keypoints2d, Keypoints2dSettings(noise=2.0, dropout=0.25, distance=6.0), 2.0),
    ],
)
def test_noise_and_misses_are_as_large_as_asked_for_and_a_missed_keypoint_is_zeros(kind, settings, size):
    sensor = row(kind, settings, worlds=400)
    first = read(sensor)
    seen = first[..., -1] == 1
    assert 1 - seen.mean() == pytest.approx(0.25, abs=0.04)
    assert not first[~seen].any()
    assert np.std(first[:, 2, 0][seen[:, 2]]) == pytest.approx(size, rel=0.15)
    assert np.array_equal(read(sensor), first)  # until the next step
    sensor.advance(torch.Generator().manual_seed(1))
    assert (read(sensor)[..., -1] == 1)[~seen].mean() == pytest.approx(0.75, abs=0.08)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Keypoints2dSettings(fovy=180.0), "keypoints_2d: fovy must be within 0 and 180 degrees"),
        (lambda: Keypoints2dSettings(width=0), "keypoints_2d: width must be at least 1, found 0"),
        (lambda: Keypoints2dSettings(lookat=(1.0, 2.0)), "keypoints_2d: lookat must be three coordinates"),
        (lambda: Keypoints3dSettings(dropout=1.5), "keypoints_3d: dropout must be a probability in 0 to 1, found 1.5"),
        (lambda: Keypoints3dSettings(frame="camera"), "no frame of keypoints_3d named 'camera'"),
    ],
)
def test_what_cannot_be_seen_is_one_line(make, text):
    with pytest.raises(MprlError) as error:
        make()
    assert text in str(error.value) and "\n" not in str(error.value)
