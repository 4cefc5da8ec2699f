"""The benchmark of walking over generated ground: what is learned on, how agents begin, and figures from what was found."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch

import mprl  # noqa: F401  registers the environments
from mprl.agents import PPO
from mprl.envs.imitation.terrain import KINDS
from mprl.errors import UnknownNameError
from mprl.perception.plug import build
from mprl.perception.spec import Spec
from mprl.scripts.benchmarks import terrain
from mprl.scripts.benchmarks.terrain import BLIND, LEVELS, SEEING, Found


@pytest.mark.parametrize("kind", ["gaps", "stairs"])
def test_what_is_learned_on_has_a_band_of_each_difficulty(kind):
    ground = terrain.side_by_side(kind)
    alone = [KINDS[kind](level, np.random.default_rng(terrain.LEARNED_SEED)) for level in LEVELS]
    rows = (0, len(ground.heights) // 2, -1)
    assert ground.heights.shape == alone[0].heights.shape
    for row, each in zip(rows, alone, strict=True):
        assert np.array_equal(ground.heights[row], each.heights[row])
        assert np.array_equal(ground.level[row], (each.heights if each.level is None else each.level)[row])
    assert not np.array_equal(ground.heights[0], ground.heights[-1])


def test_an_agent_that_sees_more_begins_as_one_that_does_not():
    plain = gym.spaces.Box(-1, 1, (3,), np.float32)
    both = gym.spaces.Dict({"height_scan": gym.spaces.Box(-1, 1, (4, 2), np.float32), "state": plain})
    walker = PPO(Fixed(plain), seed=1, hidden=(8,), n_steps=16).learn(32)
    spec = Spec.of(both, "height_scan", frozen=False)
    agent = PPO(Fixed(both), seed=2, hidden=(8,), perception=build("mlp", spec, 5))
    terrain.begin_as(agent, walker)
    state, scan = torch.randn(6, 3), torch.randn(6, 8)
    seen = agent.act(torch.cat((scan, state), dim=1), deterministic=True)
    torch.testing.assert_close(seen, walker.act(state, deterministic=True))


class Fixed(gym.Env):
    """Any observations."""

    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, space):
        self.observation_space = space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 1.0, False, False, {}


def test_figures_put_those_that_see_beside_those_that_do_not():
    found = {
        BLIND: [Found((0.5, 0.25, 0.0), (9.0, 5.0, 1.0), 1e6, 10.0), Found((0.7, 0.35, 0.0), (9.0, 5.0, 1.0), 1e6, 20.0)],
        SEEING: [Found((1.0, 0.9, 0.6), (20.0, 19.0, 15.0), 1e6, 12.0), Found((1.0, 0.7, 0.2), (20.0, 17.0, 9.0), 1e6, 12.0)],
    }
    figures = terrain.figures("gaps", found)
    assert [figure.ours for figure in figures] == pytest.approx([1.0, 0.8, 0.4])
    assert [figure.peer for figure in figures] == pytest.approx([0.6, 0.3, 0.0])
    assert terrain.overview("gaps", found)[0] == (
        "gaps",
        "blind",
        f"{LEVELS[0]:g}",
        "2",
        "0.60",
        "0.50 to 0.70",
        "9.0",
        "1,000,000",
        "15.0",
    )


def test_another_ground_is_one_line(tmp_path):
    with pytest.raises(UnknownNameError, match="no terrain named 'stair'"):
        terrain.measure("stair", 1, 100, None, tmp_path)


@pytest.mark.slow
def test_agents_are_trained_judged_and_read_back(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(terrain, "WORLDS", 4)
    monkeypatch.setattr(terrain, "EPISODES", 3)
    monkeypatch.setattr(terrain, "WALK_STEPS", 64)
    found = terrain.measure("rough", 1, 64, None, tmp_path)
    assert len(found.figures) == 3 and all(0 <= figure.ours <= 1 for figure in found.figures) and len(found.overview.rows) == 6
    assert capsys.readouterr().out.count("training") == 3  # the walker, blind, seeing
    assert terrain.measure("rough", 1, 64, None, tmp_path).overview == found.overview and not capsys.readouterr().out
