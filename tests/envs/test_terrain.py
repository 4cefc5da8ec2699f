"""Terrain: what is looked up is what is simulated; characters begin on it, imitate on it, and fall on it as on level ground."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
import torch

from mprl.envs.imitation.deepmimic import DeepMimicVectorEnv
from mprl.envs.imitation.ground import EDGE, Ground
from mprl.envs.imitation.layout import simulated
from mprl.envs.imitation.terrain import KINDS, LENGTH, WIDTH, Terrain, generate
from mprl.errors import MprlError
from mprl.motion import find_character
from mprl.simulation.cpu import CpuSimulation, watch_contacts

CPU = torch.device("cpu")


def make(worlds: int = 4, **settings) -> DeepMimicVectorEnv:
    return DeepMimicVectorEnv(worlds, **{"num_threads": 1, "output": "torch", **settings})


def plane(slope: float, across: float = 0.0) -> Terrain:
    x, y = np.meshgrid(np.arange(0, 20.5, 0.5), np.arange(0, 10.5, 0.5))
    return Terrain(slope * x + across * y, (0.5, 0.5))


def profile(kind: str, difficulty: float, y: float = 12.0) -> np.ndarray:
    """Heights along x, every 5 mm."""
    x = torch.arange(0.0, LENGTH, 0.005)
    ground = Ground(generate(kind, difficulty, seed=3), CPU)
    return ground.height(torch.stack((x, torch.full_like(x, y)), dim=-1)).numpy().astype(float)


# ---------------------------------------------------------------------------------------------------------------------- surfaces


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_height_that_is_looked_up_is_where_mujoco_s_ray_hits(kind):
    terrain = generate(kind, 0.8, seed=1)
    spec = mujoco.MjSpec()
    terrain.put_into(spec)
    body = spec.worldbody.add_body(name="ball")
    body.add_freejoint()
    body.add_geom(size=[0.1, 0, 0])
    simulation = CpuSimulation(watch_contacts(spec).compile(), 1, 1)
    points = torch.rand(1, 1000, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([LENGTH, WIDTH, 0.0])
    origin = points + torch.tensor([0.0, 0.0, 20.0])
    down = torch.tensor([0.0, 0.0, -1.0]).expand_as(points)
    hit = 20.0 - simulation.ray(origin.double(), down.double().contiguous()).float()
    # MuJoCo keeps heights in float32, and so do we; on a riser, steep as 4, a rounding of x counts four times
    torch.testing.assert_close(Ground(terrain, CPU).height(points), hit, rtol=0, atol=5e-5)


def test_on_a_plane_height_guide_and_gradient_are_the_plane_s():
    ground = Ground(plane(0.2, -0.1), CPU)
    points = torch.rand(50, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([16.0, 6.0]) + 2.0
    torch.testing.assert_close(ground.height(points), points @ torch.tensor([0.2, -0.1]), rtol=0, atol=1e-5)
    guide, gradient = ground.guide(points)
    torch.testing.assert_close(gradient, torch.tensor([0.2, -0.1]).expand(50, 2), rtol=0, atol=1e-4)
    assert (guide >= ground.height(points) - 1e-5).all()


def test_slopes_are_as_steep_as_their_difficulty_says():
    for difficulty in (0.3, 1.0):
        steep = np.abs(np.diff(profile("slopes", difficulty))) / 0.005
        assert steep.max() <= 0.35 * difficulty * 1.001 and steep.max() > 0.3 * difficulty
        assert np.median(steep) > 0.17 * difficulty  # hardly anything is level


def test_stairs_have_risers_of_eighteen_centimetres_and_treads_of_thirty_five():
    heights = profile("stairs", 1.0)
    levels = heights[np.concatenate((np.diff(heights) == 0, [False]))]
    steps = np.abs(np.diff(levels))
    assert np.unique(steps[steps > 1e-3].round(3)).tolist() == [0.18]
    edges = np.flatnonzero((np.diff(heights) != 0) & (np.diff(heights, prepend=0.0)[:-1] == 0)) * 0.005
    lengths = np.diff(edges)
    assert ((np.abs(lengths - 0.35) < 0.02) | (lengths > 1.5)).all() and (np.abs(lengths - 0.35) < 0.02).sum() > 20


def test_gaps_are_as_wide_as_their_difficulty_says_and_the_reference_bridges_them():
    heights = profile("gaps", 1.0)
    deep = heights < 0.25  # half way down
    starts, ends = np.flatnonzero(np.diff(deep.astype(int)) == 1), np.flatnonzero(np.diff(deep.astype(int)) == -1)
    width = (ends - starts[: len(ends)]) * 0.005
    assert np.abs(width - 0.6).max() < 0.06 and len(width) > 15
    assert heights.min() == 0 and heights.max() == pytest.approx(0.5)
    assert (generate("gaps", 1.0).guide == 0.5).all()


def test_rough_ground_is_even_noise():
    heights = generate("rough", 0.5, seed=0).heights
    assert heights.min() >= 0 and heights.max() <= 0.06 and heights.std() == pytest.approx(0.06 / np.sqrt(12), rel=0.02)


@pytest.mark.parametrize("kind", list(KINDS))
def test_terrain_is_level_at_no_difficulty_and_its_seed_decides_it(kind):
    assert np.ptp(generate(kind, 0.0).heights) == 0
    one, again, other = (generate(kind, 0.7, seed).heights for seed in (1, 1, 2))
    assert np.array_equal(one, again) and not np.array_equal(one, other)


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_guide_is_smooth_and_nowhere_below_what_the_reference_walks_on(kind):
    terrain = generate(kind, 1.0, seed=2)
    assert (terrain.guide >= (terrain.heights if terrain.level is None else terrain.level) - 1e-9).all()
    along = np.abs(np.diff(terrain.guide, axis=1)) / terrain.cell[0]
    assert along.max() < 0.75  # a flight of stairs as a ramp, .18 in .35 m, and half as much again


# ------------------------------------------------------------------------------------------------------------------ environments


@pytest.mark.parametrize("kind", list(KINDS))
def test_episodes_begin_at_different_places_on_the_ground_and_not_in_it(kind):
    env = make(64, terrain=kind, difficulty=1.0)
    env.reset(seed=0)
    root = env._qpos[:, :3].float()
    assert len({(round(x, 2), round(y, 2)) for x, y, _ in root.tolist()}) > 32
    assert ((root[:, :2] > 1.9) & (root[:, :2] < torch.tensor([LENGTH, WIDTH]) - 1.9)).all()
    above = root[:, 2] - env.ground.height(root)
    assert ((above > 0.75) & (above < 1.25)).all()
    data = mujoco.MjData(env.model)
    for pose in env._qpos.numpy():
        data.qpos[:] = pose
        mujoco.mj_forward(env.model, data)
        assert data.ncon == 0 or data.contact.dist.min() > -0.07


def test_the_reference_goes_up_a_slope_as_fast_as_it_is_steep():
    """Walking at v along a slope s, it climbs s v; the characters begin with that speed, and do what is asked for."""
    slope = 0.2
    env = make(2, terrain=plane(slope))
    env.reset(seed=0, options={"place": (5.0, 5.0), "phase": 0.3})
    level = make(2)
    level.reset(seed=0, options={"phase": 0.3})
    expected = level._qvel[:, 2] + slope * level._qvel[:, 0]
    torch.testing.assert_close(env._qvel[:, 2], expected, rtol=0, atol=1e-5)
    assert env._qpos[:, :2].tolist() == [[5.0, 5.0]] * 2
    before = env.reference_qpos()
    env.step(torch.zeros(2, 28))
    climbed, went = (env.reference_qpos() - before)[:, 2], (env.reference_qpos() - before)[:, 0]
    swing = (level.library.sample(env._clip, env.times).root_position - level.library.sample(env._clip, env.times - 1 / 30).root_position)[
        :, 2
    ]
    torch.testing.assert_close(climbed, swing + slope * went, rtol=0, atol=1e-5)


def test_perfect_imitation_on_terrain_earns_one_and_observations_are_those_of_level_ground():
    """Heights and speeds are told relative to the guide: there a slope, whose reference walks as on the level floor."""
    env, level = make(3, terrain=plane(0.15), reference_sync=False), make(3, reference_sync=False)
    options = {"phase": [0.1, 0.4, 0.8]}
    found = [e.reset(seed=0, options=options | more)[0] for e, more in ((env, {"place": (4.0, 5.0)}), (level, {}))]
    torch.testing.assert_close(*found, rtol=0, atol=1e-4)
    everyone = torch.ones(3, dtype=torch.bool)

    def on_the_reference(substeps: int) -> None:
        reference = env.ground.lifted(env.library.sample(env._clip, env.times + env.control_step).moved(env._offset))
        env.simulation.reset(everyone, reference.qpos.double(), reference.qvel.double())

    env.simulation.step = on_the_reference  # type: ignore[method-assign]
    for _ in range(40):
        _, reward, terminated, _, info = env.step(torch.zeros(3, 28))
        assert (reward > 0.999).all() and not info["terminated_tracking"].any() and not terminated.any()


def test_standing_on_terrain_is_no_fall_and_lying_on_it_is_one():
    env = make(1, terrain=plane(0.1), tracking_termination=None, autoreset_mode="DISABLED")
    env.reset(seed=0, options={"phase": 0.0, "place": (5.0, 5.0)})
    assert not env.step(torch.zeros(1, 28))[4]["terminated_contact"].any()
    qpos = env._qpos.clone()
    qpos[:, 3:7] = torch.tensor([0.7071, 0.0, 0.7071, 0.0])  # on its face
    qpos[:, 2] = env.ground.height(qpos[:, :2].float()) + 0.1
    env.simulation.reset(torch.ones(1, dtype=torch.bool), qpos, torch.zeros_like(env._qvel))
    assert env.step(torch.zeros(1, 28))[4]["terminated_contact"].all()


def test_a_character_s_feet_bear_its_weight_on_rough_ground():
    """Half a second of the reference's own torques: nobody falls through, or is thrown up."""
    env = make(16, terrain="rough", difficulty=0.5)
    env.reset(seed=0)
    for _ in range(15):
        info = env.step(torch.zeros(16, 28))[4]
        assert not info["terminated_diverged"].any()
    above = env._qpos[:, 2].float() - env.ground.height(env._qpos[:, :2].float())
    assert ((above > 0.7) & (above < 1.05)).float().mean() > 0.8


def test_near_the_border_an_episode_is_truncated():
    env = make(2, terrain=plane(0.0), autoreset_mode="DISABLED")
    env.reset(seed=0, options={"place": [[20.0 - EDGE - 0.1, 5.0], [10.0, 5.0]], "phase": 0.0})
    for _ in range(6):  # .1 m in at most 4 steps of a walk
        _, _, terminated, truncated, info = env.step(torch.zeros(2, 28))
        if truncated.any():
            break
    assert truncated.tolist() == info["truncated_edge"].tolist() == [True, False] and not terminated.any()


def test_flat_ground_knows_no_border():
    env = make(2)
    env.reset(seed=0)
    assert "truncated_edge" not in env.step(torch.zeros(2, 28))[4]


def test_a_reference_that_is_put_below_the_character_is_put_onto_the_ground_there():
    env = make(1, terrain=plane(0.2), tracking_termination=None, contact_termination=False)
    env.reset(seed=0, options={"place": (5.0, 5.0), "phase": 0.9})
    reference = env.library
    for _ in range(8):
        env.step(torch.zeros(1, 28))
    root = env.reference_qpos()[:, :3]
    own = reference.sample(env._clip, env.times).root_position[:, 2]
    torch.testing.assert_close(root[:, 2], own + env.ground.guide(root)[0], rtol=0, atol=1e-5)


def test_goals_work_on_terrain():
    from mprl.envs.imitation.heading import DeepMimicHeadingVectorEnv

    env = DeepMimicHeadingVectorEnv(2, terrain=plane(0.1), num_threads=1, output="torch")
    env.reset(seed=0, options={"place": (10.0, 5.0)})
    env.step(torch.zeros(2, 28))
    (arrow,) = env.markers(0)
    root = env._now.root_position[0]
    assert arrow.position[2] == pytest.approx(0.03 + float(env.ground.guide(root)[0]), abs=1e-5)


def test_other_bodies_walk_on_terrain_too():
    character = find_character("humanoid", None, None)
    terrain = generate("stairs", 0.5)
    model = simulated(character, terrain).compile()
    assert model.nhfield == 1 and model.geom("terrain").conaffinity == 1 and model.geom("terrain").friction[0] == pytest.approx(0.9)
    assert model.geom("floor").pos[2] < -1
    assert model.qpos0[:2].tolist() == [LENGTH / 2, WIDTH / 2]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"terrain": "stair"}, "no terrain named 'stair'; did you mean 'stairs'? (known: flat, slopes, stairs, gaps, rough)"),
        ({"terrain": "rough", "difficulty": 1.5}, "difficulty must be in 0 to 1, found 1.5"),
        ({"difficulty": "hard"}, "difficulty must be in 0 to 1, found 'hard'"),
        ({"terrain": "gaps", "terrain_seed": -1}, "terrain_seed must be a whole number of at least 0, found -1"),
        ({"terrain": 3}, "no terrain named '3'"),
    ],
)
def test_terrain_that_cannot_be_is_one_line(settings, text):
    with pytest.raises(MprlError) as error:
        make(1, **settings)
    assert text in str(error.value) and "\n" not in str(error.value)


def test_heights_that_cannot_be_are_one_line():
    for heights, cell, text in (
        (np.zeros(3), (1, 1), "terrain: heights must be finite numbers (rows, columns), 2 x 2 or more, found shape (3,)"),
        (np.full((2, 2), np.nan), (1, 1), "terrain: heights must be finite numbers"),
        (np.zeros((2, 2)), (1, 0), "terrain: cell must be two lengths above 0 m, found (1, 0)"),
    ):
        with pytest.raises(MprlError) as error:
            Terrain(heights, cell)
        assert text in str(error.value)


def test_a_place_that_is_none_is_one_line():
    env = make(2)
    with pytest.raises(MprlError) as error:
        env.reset(options={"place": (1.0, 2.0, 3.0)})
    assert "place must be 2 numbers or 2 x 2, found (1.0, 2.0, 3.0)" in str(error.value)
