"""A height scan sees the ground where it is: known planes and steps, in the character's own heading, by rays and by look-up alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mprl.envs.imitation.deepmimic import DeepMimicVectorEnv
from mprl.envs.imitation.terrain import Terrain

GRID = {"rows": 9, "columns": 7, "spacing": 0.2, "ahead": 0.4}


def standing(terrain, yaw=0.0, place=(5.0, 5.0), rays=False, **scan) -> tuple[np.ndarray, np.ndarray]:
    """What a character sees that stands somewhere, turned to some heading, and where its root is."""
    env = DeepMimicVectorEnv(1, num_threads=1, output="torch", terrain=terrain, sensors={"height_scan": {**GRID, "rays": rays, **scan}})
    env.reset(seed=0, options={"place": place})
    qpos = env._qpos.clone()
    qpos[:, 3:7] = torch.tensor([np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)])
    env.simulation.reset(torch.ones(1, dtype=torch.bool), qpos, torch.zeros_like(env._qvel))
    return env._sensors.observe(torch.zeros(1, 1), slice(None))["height_scan"][0].numpy(), qpos[0, :3].numpy()


@pytest.mark.parametrize("rays", [False, True])
@pytest.mark.parametrize("yaw", [0.0, 0.7, np.pi / 2])
def test_on_a_plane_it_is_the_closed_form(rays, yaw):
    """Row i is .4 + .2 (4 - i) m ahead and column j .2 (3 - j) m to the left: on z = .1 x - .2 y that is linear in both."""
    x, y = np.meshgrid(np.arange(0, 11.0), np.arange(0, 11.0))
    scan, root = standing(Terrain(0.1 * x - 0.2 * y, (1.0, 1.0)), yaw, rays=rays)
    ahead, left = (0.4 + 0.2 * (4 - np.arange(9)))[:, None], (0.2 * (3 - np.arange(7)))[None]
    east, north = ahead * np.cos(yaw) - left * np.sin(yaw), ahead * np.sin(yaw) + left * np.cos(yaw)
    np.testing.assert_allclose(scan, 0.1 * (root[0] + east) - 0.2 * (root[1] + north) - root[2], atol=1e-5)


@pytest.mark.parametrize("rays", [False, True])
def test_a_step_ahead_is_seen_where_it_is(rays):
    """A step of .15 m at x = 5.5 to 5.55, seen from x = 5: the rows beyond it, at .6 to 1.2 m ahead, are higher by its height."""
    heights = np.zeros((3, 201))
    heights[:, 111:] = 0.15  # beyond 5.55 m
    scan, root = standing(Terrain(heights, (0.05, 5.0)), rays=rays)
    expected = np.array([0.15] * 4 + [0.0] * 5)  # at 1.2, 1.0, .8, .6 | .4, .2, 0, -.2, -.4 m
    np.testing.assert_allclose(scan + root[2], np.tile(expected[:, None], 7), atol=1e-5)


@pytest.mark.parametrize("rays", [False, True])
def test_on_the_level_floor_everything_is_below_the_root_by_its_height(rays):
    scan, root = standing("flat", rays=rays)
    np.testing.assert_allclose(scan, -root[2], atol=1e-5)
    assert 0.7 < root[2] < 1.0


def test_rays_do_not_see_the_character_and_agree_with_the_look_up_everywhere():
    found = []
    for rays in (False, True):
        env = DeepMimicVectorEnv(
            8, num_threads=1, output="torch", terrain="stairs", difficulty=1.0, sensors={"height_scan": {"rays": rays}}, max_episode_steps=3
        )
        env.reset(seed=0)
        for _ in range(4):  # past a reset
            observation = env.step(torch.zeros(8, 28))[0]
        found.append(observation["height_scan"])
    torch.testing.assert_close(*found, rtol=0, atol=1e-4)
    assert found[0].std() > 0.05


def test_heights_are_told_up_to_the_limit():
    heights = np.zeros((2, 201))
    heights[:, 111:] = 1.5
    scan, _ = standing(Terrain(heights, (0.05, 10.0)), limit=0.3)
    assert set(np.unique(scan.round(4)).tolist()) == {np.float32(-0.3).round(4).item(), np.float32(0.3).round(4).item()}


def test_noise_is_as_large_as_asked_for():
    plain, faulty = (standing("flat", rows=40, columns=40, noise=noise)[0] for noise in (0.0, 0.03))
    assert (faulty - plain).std() == pytest.approx(0.03, rel=0.1)
