"""A batch of worlds means the same whatever the environment's kind and autoreset mode."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import batch_space

from mprl.agents import PPO
from mprl.agents.environments import Step, TorchBatch
from mprl.agents.statistics import EpisodeStatistics
from mprl.errors import SettingError

MODES = list(AutoresetMode)


class Counting(gym.Env[Any, Any]):
    """Observes the steps taken; a step earns its number; an episode lasts `length` steps."""

    def __init__(self, length: int = 3, end: str = "truncated", space: gym.Space[Any] | None = None) -> None:
        self.length, self.end = length, end
        self.observation_space = space or gym.spaces.Box(0, 100, (1,), np.float32)
        self.action_space = gym.spaces.Discrete(2)
        self.actions: list[Any] = []

    def _see(self) -> Any:
        if isinstance(self.observation_space, gym.spaces.Discrete):
            return np.int64(self.observation_space.start + self.count)
        return np.full(self.observation_space.shape, self.count, self.observation_space.dtype)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.count = 0
        return self._see(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.actions.append(action)
        self.count += 1
        over = self.count == self.length
        return self._see(), float(self.count), over and self.end == "terminated", over and self.end == "truncated", {"count": self.count}


class NativeCounting(gym.vector.VectorEnv[Any, Any, Any]):
    """The same as one batch of torch tensors, reset in the same step."""

    output = "torch"
    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(self, lengths: tuple[int, ...], action_start: int = 0) -> None:
        self.num_envs, self.lengths = len(lengths), torch.tensor(lengths)
        self.single_observation_space = gym.spaces.Box(0, 100, (1,), np.float32)
        self.single_action_space = gym.spaces.Discrete(2, start=action_start)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.count = torch.zeros(self.num_envs)
        return self.count.unsqueeze(1).clone(), {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        assert isinstance(actions, torch.Tensor) and all(self.single_action_space.contains(int(a)) for a in actions)
        self.count += 1
        reward, truncated = self.count.clone(), self.count == self.lengths
        info = {"count": self.count.clone()}
        if truncated.any():
            info |= {"final_obs": self.count.unsqueeze(1).clone(), "_final_obs": truncated}
            self.count[truncated] = 0
        return self.count.unsqueeze(1).clone(), reward, torch.zeros_like(truncated), truncated, info


def vector(*lengths: int, mode: AutoresetMode, **settings: Any) -> SyncVectorEnv:
    return SyncVectorEnv([lambda n=n: Counting(n, **settings) for n in lengths], autoreset_mode=mode)  # type: ignore[misc]


def play(batch: TorchBatch, steps: int) -> list[dict[str, Any]]:
    """What each world went through: (before, reward, after, how it ended) of each real step, and the steps' first observations."""
    worlds: list[dict[str, Any]] = [{"steps": [], "skipped": 0} for _ in range(batch.num_worlds)]
    before = batch.reset(seed=0)
    for _ in range(steps):
        step = batch.step(torch.zeros(batch.num_worlds, dtype=torch.long))
        for world, record in enumerate(worlds):
            if not step.valid[world]:
                record["skipped"] += 1
                assert step.reward[world] == 0 and not step.terminated[world] and not step.truncated[world]
                continue
            ended = bool(step.terminated[world] | step.truncated[world])
            after = step.final_observation if ended and step.final_observation is not None else step.observation
            how = "terminated" if step.terminated[world] else "truncated" if step.truncated[world] else ""
            record["steps"].append((*before[world].tolist(), float(step.reward[world]), *after[world].tolist(), how))
        before = step.observation
    return worlds


def episode(length: int, end: str = "truncated") -> list[tuple[float, float, float, str]]:
    return [(float(t), t + 1.0, t + 1.0, end if t + 1 == length else "") for t in range(length)]


@pytest.mark.parametrize("end", ["terminated", "truncated"])
@pytest.mark.parametrize("mode", MODES)
def test_every_step_tells_what_came_before_and_after_it(mode, end):
    three, five = play(TorchBatch(vector(3, 5, mode=mode, end=end)), 12)
    for world, length in ((three, 3), (five, 5)):
        expected = episode(length, end) * 4
        assert world["steps"] == expected[: len(world["steps"])]
        # only NEXT_STEP spends a step on each reset
        resets = (12 // (length + 1)) if mode == AutoresetMode.NEXT_STEP else 0
        assert world["skipped"] == resets and len(world["steps"]) == 12 - resets


def test_a_single_environment_is_a_batch_of_one():
    (world,) = play(TorchBatch(Counting(3)), 7)
    assert world["steps"] == (episode(3) * 3)[:7] and world["skipped"] == 0


def test_a_single_environment_under_a_time_limit_is_truncated():
    (world,) = play(TorchBatch(gym.wrappers.TimeLimit(Counting(100), 2)), 4)
    assert world["steps"] == episode(2) * 2


def test_a_native_torch_environment_is_read_without_numpy():
    three, five = play(TorchBatch(NativeCounting((3, 5))), 10)
    assert three["steps"] == (episode(3) * 4)[:10] and five["steps"] == episode(5) * 2


def count(statistics: EpisodeStatistics, *steps: Step) -> None:
    for step in steps:
        statistics.add_info(step)
    statistics.add(*(torch.stack([getattr(step, name) for step in steps]) for name in ("reward", "terminated", "truncated", "valid")))


def batches() -> dict[str, TorchBatch]:
    return {
        "NEXT_STEP": TorchBatch(vector(3, 5, mode=AutoresetMode.NEXT_STEP)),
        "SAME_STEP": TorchBatch(vector(3, 5, mode=AutoresetMode.SAME_STEP)),
        "DISABLED": TorchBatch(vector(3, 5, mode=AutoresetMode.DISABLED)),
        "native": TorchBatch(NativeCounting((3, 5))),
    }


@pytest.mark.parametrize("kind", ["NEXT_STEP", "SAME_STEP", "DISABLED", "native"])
def test_statistics_are_of_whole_episodes_in_every_mode(kind):
    """Episodes of 3 steps earn 1 + 2 + 3, those of 5 earn 15."""
    batch = batches()[kind]
    statistics = EpisodeStatistics(2, torch.device("cpu"))
    batch.reset()
    step = lambda: count(statistics, batch.step(torch.zeros(2, dtype=torch.long)))  # noqa: E731
    for _ in range(3):
        step()
    first = statistics.take()
    assert (first["episodes"], first["return"], first["episode_length"]) == (1, 6, 3)
    for _ in range(2):
        step()
    second = statistics.take()
    assert (second["episodes"], second["return"], second["episode_length"]) == (1, 15, 5)
    step()
    none = statistics.take()  # no episode ended (or, under SAME_STEP, the second of three steps)
    if none["episodes"] == 0:
        assert (none["return"], none["episode_length"]) == (15, 5)
    else:
        assert (none["return"], none["episode_length"]) == (6, 3)


@pytest.mark.parametrize("kind", ["NEXT_STEP", "SAME_STEP", "native"])
def test_means_per_step_leave_out_the_steps_that_only_reset(kind):
    """Over whole episodes of 3 steps the mean reward, and the mean count in `info`, is 2 in every mode."""
    batch = {
        "NEXT_STEP": lambda: TorchBatch(vector(3, 3, mode=AutoresetMode.NEXT_STEP)),
        "SAME_STEP": lambda: TorchBatch(vector(3, 3, mode=AutoresetMode.SAME_STEP)),
        "native": lambda: TorchBatch(NativeCounting((3, 3))),
    }[kind]()
    statistics = EpisodeStatistics(2, torch.device("cpu"))
    batch.reset()
    for _ in range(8 if kind == "NEXT_STEP" else 6):
        count(statistics, batch.step(torch.zeros(2, dtype=torch.long)))
    metrics = statistics.take()
    assert metrics["reward"] == pytest.approx(2)
    if kind == "native":
        assert metrics["env_count"] == pytest.approx(2)


@pytest.mark.parametrize("kind", ["NEXT_STEP", "SAME_STEP", "DISABLED", "native"])
def test_statistics_of_many_steps_at_once_are_those_of_one_after_the_other(kind):
    found = []
    for together in (1, 7, 28):
        batch, statistics = batches()[kind], EpisodeStatistics(2, torch.device("cpu"))
        batch.reset()
        steps = [batch.step(torch.zeros(2, dtype=torch.long)) for _ in range(28)]
        metrics = []
        for start in range(0, 28, together):
            count(statistics, *steps[start : start + together])
            metrics.append(statistics.take())
        totals = [sum(m["episodes"] * m[key] for m in metrics if m["episodes"]) for key in ("return", "episode_length")]
        found.append((*totals, sum(m["episodes"] for m in metrics), *(value.tolist() for value in statistics.get_state().values())))
    for other in found[1:]:
        assert other[:5] == found[0][:5]


def test_metrics_before_the_first_episode_s_end_are_not_a_number():
    metrics = EpisodeStatistics(2, torch.device("cpu")).take()
    assert np.isnan(metrics["return"]) and np.isnan(metrics["episode_length"]) and metrics["episodes"] == 0


# ---------------------------------------------------------------------------------------------------------------------- spaces


@pytest.mark.parametrize("start", [0, 7, -3])
@pytest.mark.parametrize("mode", MODES)
def test_discrete_observations_are_one_hot_from_their_first_value_on(mode, start):
    batch = TorchBatch(vector(3, 2, mode=mode, space=gym.spaces.Discrete(4, start=start)))
    assert batch.observation_size == 4
    assert batch.reset().tolist() == [[1, 0, 0, 0], [1, 0, 0, 0]]
    batch.step(torch.zeros(2, dtype=torch.long))
    step = batch.step(torch.zeros(2, dtype=torch.long))
    assert step.observation[0].tolist() == [0, 0, 1, 0]
    last = step.observation if step.final_observation is None else step.final_observation
    assert step.truncated.tolist() == [False, True] and last[1].tolist() == [0, 0, 1, 0]


def test_boxes_are_flattened_to_float():
    batch = TorchBatch(vector(3, 3, mode=AutoresetMode.SAME_STEP, space=gym.spaces.Box(0, 255, (2, 3), np.uint8)))
    observation = batch.reset()
    assert batch.observation_size == 6 and observation.shape == (2, 6) and observation.dtype == torch.float32
    for _ in range(3):
        step = batch.step(torch.zeros(2, dtype=torch.long))
    assert step.final_observation.tolist() == [[3.0] * 6] * 2


@pytest.mark.parametrize("start", [0, 5, -1])
def test_discrete_actions_start_where_the_space_does(start):
    env = Counting()
    env.action_space = gym.spaces.Discrete(2, start=start)
    agent = PPO(env, n_steps=16, hidden=(4,), seed=1)
    agent.learn(16)
    assert {int(action) for action in env.actions} == {start, start + 1}
    actions = {int(agent.predict(np.zeros(1, np.float32))[0]) for _ in range(50)}
    assert actions == {start, start + 1}
    actions = set(agent.predict(torch.zeros(50, 1))[0].tolist())
    assert actions == {start, start + 1}
    PPO(NativeCounting((3, 5), action_start=start), n_steps=16, hidden=(4,)).learn(32)  # checks its actions itself


# ---------------------------------------------------------------------------------------------------------------- what is refused


class Odd(gym.Env[Any, Any]):
    def __init__(self, observation: gym.Space[Any], action: gym.Space[Any]) -> None:
        self.observation_space, self.action_space = observation, action


BOX = gym.spaces.Box(-1, 1, (2,))


@pytest.mark.parametrize(
    ("observation", "action", "says"),
    [
        (gym.spaces.Text(3), BOX, "observations must be a Box, .* found Text"),
        (gym.spaces.Dict({"a": gym.spaces.Sequence(BOX)}), BOX, "found Sequence"),
        (BOX, gym.spaces.Dict({"a": BOX}), "ppo needs Discrete, MultiDiscrete, MultiBinary or Box actions, found Dict"),
    ],
)
def test_spaces_that_are_not_supported_are_named(observation, action, says):
    with pytest.raises(SettingError, match=says) as caught:
        PPO(Odd(observation, action))
    assert "\n" not in str(caught.value)
