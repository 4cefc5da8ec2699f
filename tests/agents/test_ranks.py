"""Several processes learn what one would from all their worlds, never drift apart, and go on exactly; threads stand for processes."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from mprl.agents import A2C, DQN, PPO, checkpoints
from mprl.agents.agent import Agent
from mprl.agents.rollout import Rollout
from mprl.errors import CheckpointError, SettingError
from mprl.ranks import Ranks

SMALL = dict(n_steps=8, hidden=(8,), seed=3)


class Drift(gym.Env[Any, Any]):
    """A random walk whose episodes end at random; its state can be saved."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = self.np_random.normal(size=2)
        return self.at.astype(np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.at = 0.9 * self.at + action[0] + self.np_random.normal(size=2)
        ended = bool(self.np_random.random() < 0.2)
        return self.at.astype(np.float32), -float(np.abs(self.at).sum()), ended, False, {"distance": abs(self.at[0])}


class Drifts(SyncVectorEnv):
    def __init__(self, worlds: int, mode: AutoresetMode = AutoresetMode.SAME_STEP) -> None:
        super().__init__([Drift] * worlds, autoreset_mode=mode)

    def get_state(self) -> dict[str, Any]:
        from mprl.generators import generator_state

        return {
            "at": np.array([getattr(env.unwrapped, "at", np.zeros(2)) for env in self.envs]),
            "random": np.array([generator_state(env.unwrapped.np_random) for env in self.envs]),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        from mprl.generators import set_generator_state

        for env, at, random in zip(self.envs, state["at"], state["random"], strict=True):
            env.unwrapped.at = at.copy()
            set_generator_state(env.unwrapped.np_random, random)


def side_by_side(rollouts: list[Rollout]) -> Rollout:
    """What several ranks did, as the rollout of one that had all their worlds."""
    found = {}
    for field in dataclasses.fields(Rollout):
        parts = [getattr(rollout, field.name) for rollout in rollouts]
        if field.name == "memory":
            found["memory"] = tuple(torch.cat(part) for part in zip(*parts, strict=True))
        else:
            found[field.name] = None if parts[0] is None else torch.cat(parts, dim=1)
    return Rollout(**found)


def weights(agent: Agent) -> torch.Tensor:
    return torch.cat([value.double().flatten() for value in agent.model.state_dict().values()])


KINDS: dict[str, tuple[type[Agent], dict[str, Any]]] = {
    "ppo, minibatches": (PPO, dict(batch_size=16, n_epochs=3)),
    "ppo, all at once": (PPO, dict(batch_size=1000, n_epochs=2, ent_coef=0.01)),
    "ppo, with a memory": (PPO, dict(batch_size=16, n_epochs=2, recurrent="gru", recurrent_size=4)),
    "ppo, a schedule": (PPO, dict(batch_size=16, target_kl=None, learning_rate="linear 1e-3 0 1e4", averaging="ema 0.9")),
    "a2c": (A2C, dict(normalize_advantage=True, normalize_returns=True, normalize_observations=True)),
}


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP], ids=["", "with steps that only reset"])
@pytest.mark.parametrize("name", KINDS)
def test_ranks_with_a_part_of_the_worlds_each_update_as_one_with_all(in_ranks, monkeypatch, name, mode):
    """5 worlds as 3 and 2: the same rollouts and minibatches give the same weights, statistics, step size and metrics."""
    kind, settings = KINDS[name]
    settings = {**SMALL, **settings}
    agents = [kind(Drifts(worlds, mode), **settings) for worlds in (3, 2)]
    alone = kind(Drifts(5, mode), **settings)
    drawn: list[list[Any]] = [[], []]
    rollouts: list[Any] = [None, None]
    shuffled = Rollout._shuffled

    def remembered(self: Rollout, count: int, size: int, generator: Any, ranks: Ranks) -> Any:
        for rows in shuffled(self, count, size, generator, ranks):
            drawn[ranks.rank].append(rows)
            yield rows

    monkeypatch.setattr(Rollout, "_shuffled", remembered)

    def learn(ranks: Ranks) -> dict[str, float]:
        agent = agents[ranks.rank].join(ranks, 5)
        agent.observation = agent._first_observation()
        rollouts[ranks.rank] = agent._act()
        agent.model.watch(rollouts[ranks.rank].observations, ranks)
        return agent._improve(copy.copy(rollouts[ranks.rank]))

    logs = in_ranks(2, learn)
    together = side_by_side(rollouts)
    places = [together.valid.new_zeros(together.valid.shape) for _ in range(2)]
    places[0][:, :3], places[1][:, 3:] = True, True
    remembers = alone.model.core is not None
    # where the samples (with a memory: the worlds) of each rank are in the rollout of all
    order = together.valid.flatten().cumsum(0).view(together.valid.shape) - 1
    where = [torch.arange(3), torch.arange(3, 5)] if remembers else [order[place & together.valid] for place in places]
    parts = iter(
        [slice(None) if one == slice(None) else torch.cat((where[0][one], where[1][other])) for one, other in zip(*drawn, strict=True)]
    )

    def told(self: Rollout, count: int, size: int, generator: Any, ranks: Ranks) -> Any:
        for _ in range(len(drawn[0]) // max(getattr(alone.settings, "n_epochs", 1), 1)):
            yield next(parts)

    monkeypatch.setattr(Rollout, "_shuffled", told)
    alone.model.watch(together.observations)
    expected = alone._improve(together)
    torch.testing.assert_close(weights(agents[0]), weights(alone), rtol=1e-4, atol=2e-6)
    assert torch.equal(weights(agents[0]), weights(agents[1]))
    assert agents[0].optimizer.param_groups[0]["lr"] == agents[1].optimizer.param_groups[0]["lr"] == alone.optimizer.param_groups[0]["lr"]
    assert logs[0] == logs[1] == pytest.approx(expected, rel=1e-3, abs=1e-6)


def learned(agent: Agent, iterations: int) -> list[dict[str, float]]:
    rows: list[dict[str, float]] = []
    keep = lambda _, row: rows.append({key: value for key, value in row.items() if not key.startswith("time_")})  # noqa: E731
    agent.learn(iterations * 8 * 5, callback=keep)
    return rows


@pytest.fixture
def pair() -> Any:
    """`pair(kind)` makes an agent for each of two ranks, in 3 and 2 worlds."""
    return lambda kind=PPO, **settings: [kind(Drifts(worlds), **{**SMALL, "batch_size": 16, **settings}) for worlds in (3, 2)]


def test_they_never_drift_apart_and_do_not_do_the_same(in_ranks, pair):
    agents = pair()

    def learn(ranks: Ranks) -> Any:
        agent = agents[ranks.rank].join(ranks, 5)
        return learned(agent, 4), agent.statistics._return.tolist()

    (one, first), (other, second) = in_ranks(2, learn)
    assert repr(one) == repr(other) and one[-1]["timesteps"] == agents[0].num_timesteps == 160
    assert first[0] != second[0] and agents[0].observation[0, 0] != agents[1].observation[0, 0]
    assert torch.equal(weights(agents[0]), weights(agents[1]))
    assert one[-1]["env_distance"] > 0 and agents[0].config["num_envs"] == 5


def test_all_stop_when_one_wants_to(in_ranks, pair):
    agents = pair()

    def learn(ranks: Ranks) -> int:
        return (
            agents[ranks.rank].join(ranks, 5).learn(400, callback=lambda agent, _: not ranks.rank or agent.num_timesteps < 80).num_timesteps
        )

    assert in_ranks(2, learn) == [80, 80]


def save_and_go_on(in_ranks: Any, agents: list[Any], folder: Path, iterations: int = 2) -> list[Any]:
    """Save all after so many iterations; what each then learns in as many more."""

    def work(ranks: Ranks) -> Any:
        agent = agents[ranks.rank].join(ranks, 5)
        learned(agent, iterations)
        agent.save(folder, training=True)
        return learned(agent, iterations)

    return in_ranks(2, work)


@pytest.mark.slow
def test_as_many_ranks_go_on_to_the_same_bits(in_ranks, pair, tmp_path):
    agents = pair(recurrent="gru", recurrent_size=4)
    expected = save_and_go_on(in_ranks, agents, tmp_path)
    assert (tmp_path / "training.rank1.safetensors").is_file()
    others = [Drifts(3), Drifts(2)]
    loaded: list[Any] = [None, None]

    def go_on(ranks: Ranks) -> Any:
        loaded[ranks.rank] = PPO.load(tmp_path, others[ranks.rank], ranks=ranks)
        return learned(loaded[ranks.rank], 2)

    assert repr(in_ranks(2, go_on)) == repr(expected)
    assert all(torch.equal(weights(one), weights(other)) for one, other in zip(agents, loaded, strict=True))


def test_another_number_of_ranks_goes_on_with_new_episodes(in_ranks, pair, tmp_path, caplog, heard):
    save_and_go_on(in_ranks, pair(), tmp_path)
    with caplog.at_level("INFO"):
        agent = PPO.load(tmp_path, Drifts(5))
    assert "Saved by 2 process(es), here are 1: episodes begin anew, with other random numbers; all else goes on." in caplog.messages
    assert agent.num_timesteps == 80 and agent.observation is None
    assert float(agent.optimizer.state[agent.parameters.vector]["step"]) > 0
    learned(agent, 1)


@pytest.mark.parametrize("name", ["training.rank1.safetensors", "training.safetensors"])
def test_a_checkpoint_that_lacks_a_rank_is_never_used(in_ranks, pair, tmp_path, name):
    save_and_go_on(in_ranks, pair(), tmp_path, 1)
    (tmp_path / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name}: is not the file that was saved with training.json: missing"):
        checkpoints.read_training(tmp_path)


def test_saving_again_leaves_nothing_of_ranks_that_are_no_more(in_ranks, pair, tmp_path):
    agents = pair()
    save_and_go_on(in_ranks, agents, tmp_path, 1)
    PPO(Drifts(2), **SMALL).save(tmp_path, training=True)
    assert not list(tmp_path.glob("training.rank*"))


def test_others_learn_in_one_process_only(in_ranks):
    agent = DQN(gym.make("CartPole-v1"), hidden=(4,))
    ranks = Ranks()
    ranks.size = 2
    with pytest.raises(SettingError, match="dqn learns in one process only; ppo and a2c learn in several"):
        agent.join(ranks, 2)


def test_small_minibatches_leave_a_rank_without_samples(in_ranks):
    """Two samples in a minibatch, three ranks."""
    agents = [PPO(Drifts(1), **{**SMALL, "batch_size": 2, "n_steps": 3}) for _ in range(3)]

    def learn(ranks: Ranks) -> Any:
        return agents[ranks.rank].join(ranks, 3).learn(18).num_timesteps

    assert in_ranks(3, learn) == [18, 18, 18]
    assert torch.isfinite(weights(agents[0])).all() and torch.equal(weights(agents[0]), weights(agents[2]))
