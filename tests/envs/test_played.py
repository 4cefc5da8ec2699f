"""A policy at play: what is drawn is what is simulated, pushes push, and falls are watched."""

from __future__ import annotations

import urllib.request

import gymnasium as gym
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from mprl.envs.imitation import terrain
from mprl.envs.imitation.played import LINGER, Played, marker_mesh, marker_pose, record, scene_of, surface
from mprl.errors import SettingError
from mprl.motion.body.joints import JOINTS
from mprl.simulation.rendering import Marker


def nothing(observation):
    return torch.zeros(1, 28)


@pytest.fixture(scope="module")
def squat():
    env = gym.make_vec("mprl/DeepMimic-v0", num_envs=1, num_threads=1, motion="squat")
    yield Played(env.unwrapped, nothing)
    env.close()


def test_the_scene_is_where_the_simulation_is(squat):
    moments = record(squat, 0.5)
    scene = scene_of(squat, moments, "squat")
    character, ghost = scene.actors
    assert (character.role, ghost.role, len(moments)) == ("character", "ghost", 16)
    assert character.frame_rate == pytest.approx(30) and scene.duration == pytest.approx(0.5)
    bodies, reference = squat.envs.body_positions()  # after the last step
    assert np.abs(character.positions[-1] - bodies[0].numpy()).max() < 1e-6
    assert np.abs(ghost.positions[-1] - reference[0].numpy()).max() < 1e-4
    curves = {curve.name: curve.values for curve in scene.curves}
    assert {"reward", "pose", "end effector", "tracking error, m"} <= set(curves)
    assert np.isnan(curves["reward"][0]) and ((curves["pose"][1:] > 0) & (curves["pose"][1:] <= 1)).all()
    error = np.linalg.norm(character.positions[-1] - ghost.positions[-1], axis=-1).mean()
    assert curves["tracking error, m"][-1] == pytest.approx(error, abs=1e-4)


def test_a_push_pushes_until_it_is_told_otherwise(squat):
    # impulse = change of momentum: 300 N for .1 s move 45 kg at .67 m/s, less what the feet hold
    def speed(force):
        squat.reset()
        squat.push(0, (0.0, force, 0.0))
        for _ in range(3):
            squat.step()
        squat.push(0, (0.0, 0.0, 0.0))
        return float(squat.envs._qvel[0, 1])

    assert speed(300.0) - speed(0.0) > 0.2
    assert not squat.envs.simulation.bind("xfrc_applied").any()


def test_a_fall_is_watched_for_a_second_more():
    env = gym.make_vec("mprl/DeepMimic-v0", num_envs=1, num_threads=1, motion="walk")
    moments = record(Played(env.unwrapped, nothing), 20.0)
    (fell,) = [number for number, moment in enumerate(moments) if moment.ended == "fell"][:1]
    assert len(moments) - 1 - fell == round(LINGER * 30) and moments[-1].qpos[2] < 0.6
    with pytest.raises(SettingError, match="at least one control step"):
        record(Played(env.unwrapped, nothing), 0.001)


@pytest.mark.slow
def test_the_smpl_body_is_drawn_joint_by_joint():
    env = gym.make_vec("mprl/DeepMimic-v0", num_envs=1, num_threads=1, character="smpl", betas=[0.5] * 10)
    played = Played(env.unwrapped, lambda _: torch.zeros(1, 69))
    character = scene_of(played, record(played, 0.2), "smpl").actors[0]
    bodies = played.envs.body_positions()[0][0].numpy()
    names = played.envs.character.body_names
    assert np.abs(character.positions[-1] - bodies[[names.index(joint) for joint in JOINTS]]).max() < 1e-6


def test_markers_are_where_they_point():
    ball, arrow = Marker("ball", (1.0, 2.0, 3.0), size=0.1), Marker("arrow", (0.0, 0.0, 0.03), (0.3, 0.4, 0.03), 0.03)
    assert marker_pose(ball)[0] == pytest.approx([1, 2, 3]) and marker_mesh(ball).triangles.vertices.max() == pytest.approx(0.1)
    place, turn = marker_pose(arrow)
    tip = Rotation.from_quat(turn, scalar_first=True).apply(marker_mesh(arrow).triangles.vertices[-1])
    assert place + tip == pytest.approx([0.3, 0.4, 0.03], abs=0.08 * 0.5)  # within the arrow's half width


def test_the_terrain_is_drawn_where_it_is():
    ground = terrain.generate("stairs", 1.0)
    low, high = np.array([10.0, 5.0]), np.array([14.0, 8.0])
    vertices = surface(ground, low, high).vertices
    assert (vertices[:, :2].min(axis=0) >= low).all() and (vertices[:, :2].max(axis=0) <= high).all()
    rows, columns = np.round(vertices[:, 1] / ground.cell[1]).astype(int), np.round(vertices[:, 0] / ground.cell[0]).astype(int)
    assert vertices[:, 2] == pytest.approx(ground.heights[rows, columns])


def test_live_it_can_be_paused_pushed_and_begun_again(squat):
    pytest.importorskip("viser")
    from mprl.envs.imitation.live import LivePlay

    with LivePlay(squat, "squat", port=0) as view:
        assert urllib.request.urlopen(view.url, timeout=10).status == 200
        view.advance(0.1)
        assert view._time == pytest.approx(0.1)
        drawn = np.stack([bone.position for bone in view._meshes[0][0][1].bones])
        used = view._meshes[0][0][0].used
        assert drawn[used] == pytest.approx(view._between(0)[0][used], abs=1e-5)
        force = squat.envs.simulation.bind("xfrc_applied")
        view.shove(0, np.array([0.0, 1e4, 0.0]))
        view.advance(0.1)
        assert force[0, 1, :3].tolist() == [0, 600, 0]  # no more than that
        view.advance(0.2)
        assert not force.any()
        head = squat.envs.character.body_names.index("neck")
        assert view.nearest(view._shown(0)[0][head] + 0.01) == head
        view._reference.value = "hidden"
        view._switch()
        assert not any(handle.visible for _, handle in view._meshes[1])
        view._ask("reset")
        view.advance(0.0)
        assert view.moment.terms == {} and view._ended == ""
