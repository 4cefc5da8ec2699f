"""What every agent promises, whatever its algorithm: it takes what Gymnasium has, and repeats itself to the last bit.

The agents are those of `mprl.agents.AGENTS`: one that comes later is held to the same.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces as kinds
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from stable_baselines3.common.evaluation import evaluate_policy

import mprl  # noqa: F401  registers the environments
from mprl.agents import AGENTS, PPO, QLearning, evaluate, load_agent
from mprl.agents.agent import Agent
from mprl.agents.tabular.learner import TabularLearner
from mprl.errors import SettingError
from mprl.generators import generator_state, set_generator_state

# What the algorithm has no part in is shown of one agent of each kind: the others have it from the same classes, whose names these are.
# An agent that comes later is shown too, in the slow tests.
KINDS = ("ppo", "dqn", "q-learning")
SHARED = ("a2c", "n-step-td", "td-lambda", "sarsa", "expected-sarsa", "n-step-sarsa", "double-q-learning", "dyna-q", "prioritized-sweeping")
ONE_OF_A_KIND = pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, id=name, marks=() if name in KINDS else pytest.mark.slow) for name, kind in AGENTS.items() if name not in SHARED],
)
BOX, PLACES = kinds.Box(-1, 1, (2,), np.float32), kinds.Discrete(5, start=-2)


def is_tabular(kind: type[Agent]) -> bool:
    return issubclass(kind, TabularLearner)


def acts_in(kind: type[Agent]) -> gym.Space[Any]:
    return kinds.Discrete(3, start=1) if kinds.Discrete in kind.action_spaces else BOX


def sees(kind: type[Agent]) -> gym.Space[Any]:
    return PLACES if is_tabular(kind) else BOX


class Clockwork(gym.Env[Any, Any]):
    """Random observations, others for other actions; 1 for every step. Episodes end after 3 steps and are cut off after 5, in turn."""

    def __init__(self, observation: gym.Space[Any], action: gym.Space[Any]) -> None:
        self.observation_space, self.action_space = copy.deepcopy(observation), action  # with random numbers of its own
        self.episodes = self.steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
            self.episodes = 0
        self.episodes, self.steps = self.episodes + 1, 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        self.steps += 1
        if np.sum(action) > 1:
            self.observation_space.sample()
        info = {"steps": self.steps, "text": "tick", "array": np.arange(3), **({"third": 3.0} if self.steps == 3 else {})}
        ended = self.steps == 3 and self.episodes % 2 == 1
        return self.observation_space.sample(), np.float32(1), np.bool_(ended), self.steps == 5, info


class OneArray(Clockwork):
    """Every observation is written into the same array."""

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        observation, info = super().reset(**options)
        self.array = getattr(self, "array", observation)
        self.array[:] = observation
        return self.array, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.array[:], *rest = super().step(action)
        return self.array, *rest


class SavedClockwork(Clockwork):
    """One whose state can be saved."""

    def get_state(self) -> dict[str, Any]:
        return {"count": np.array([self.episodes, self.steps]), "random": generator_state(self.observation_space.np_random)}

    def set_state(self, state: dict[str, Any]) -> None:
        self.episodes, self.steps = map(int, state["count"])
        set_generator_state(self.observation_space.np_random, state["random"])


def clockwork(kind: type[Agent]) -> Clockwork:
    """As the agent can see it and act in it."""
    return Clockwork(sees(kind), acts_in(kind))


def rows(agent: Agent, steps: float) -> list[dict[str, float]]:
    """The metrics of learning on, without wall-clock ones."""
    found: list[dict[str, float]] = []
    agent.learn(steps, callback=lambda _, row: found.append({key: value for key, value in row.items() if not key.startswith("time_")}))
    return found


def bits(agent: Agent) -> dict[str, bytes]:
    """All that was learned."""
    tensors = {f"{name}.{key}": value for name, net in agent._networks().items() for key, value in net.state_dict().items()}
    return {key: value.numpy().tobytes() for key, value in tensors.items()}


# ----------------------------------------------------------------------------------------------------- it takes what Gymnasium has

ENVIRONMENTS: dict[str, Callable[[type[Agent]], Any]] = {
    "single": clockwork,
    **{
        mode.name: lambda kind, mode=mode: SyncVectorEnv([lambda: clockwork(kind)] * 3, autoreset_mode=mode)  # type: ignore[misc]
        for mode in AutoresetMode
    },
}


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        pytest.param(kind, form, id=f"{name}, {form}", marks=() if form == "SAME_STEP" or name in KINDS else pytest.mark.slow)
        for name, kind in AGENTS.items()
        for form in ENVIRONMENTS
        if name not in SHARED
    ],
)
def test_in_every_form_of_an_environment_episodes_are_what_they_are(kind, form, small):
    """Of 3 and 5 steps: 4 on average, in learning as in judging."""
    agent = kind(ENVIRONMENTS[form](kind), seed=1, **small(kind))
    learned = rows(agent, 120)
    ended = [row for row in learned if row["episodes"]]
    mean = sum(row["episodes"] * row["return"] for row in ended) / sum(row["episodes"] for row in ended)
    assert mean == pytest.approx(4, abs=0.2) and all(row["return"] == row["episode_length"] for row in learned if row["episodes"])
    assert all(row["reward"] == pytest.approx(1) for row in learned)
    judged = evaluate(agent, ENVIRONMENTS[form](kind), episodes=6)
    assert (judged["return_mean"], judged["length_mean"], judged["return_std"]) == (4, 4, 1)


@ONE_OF_A_KIND
def test_an_environment_may_write_its_observations_into_the_same_array(kind, small):
    space = kinds.MultiDiscrete([3, 4]) if is_tabular(kind) else BOX

    def learned(env: Any) -> dict[str, bytes]:
        return bits(kind(env, **small(kind)).learn(60))

    assert learned(OneArray(space, acts_in(kind))) == learned(Clockwork(space, acts_in(kind)))
    for mode in AutoresetMode:
        worlds = lambda copied, mode=mode: SyncVectorEnv([lambda: clockwork(kind)] * 2, copy=copied, autoreset_mode=mode)  # noqa: E731
        assert learned(worlds(False)) == learned(worlds(True)), mode


@ONE_OF_A_KIND
def test_stable_baselines3_evaluates_it(kind, small):
    agent = kind(clockwork(kind), **small(kind)).learn(40)
    for deterministic in (True, False):
        returns, lengths = evaluate_policy(agent, clockwork(kind), 4, deterministic, return_episode_rewards=True, warn=False)
        assert returns == lengths == [3, 5, 3, 5]


@ONE_OF_A_KIND
def test_predictions_have_the_shape_and_type_of_the_space(kind, small):
    env = clockwork(kind)
    agent, space = kind(env, **small(kind)).learn(40), env.action_space
    env.observation_space.seed(0)
    observations = np.stack([env.observation_space.sample() for _ in range(4)])
    for deterministic in (True, False):
        one, state = agent.predict(observations[0], deterministic=deterministic)
        assert space.contains(one) and state is None
        many, _ = agent.predict(observations, deterministic=deterministic)
        assert many.shape == (4, *space.shape) and many.dtype == space.dtype and all(space.contains(action) for action in many)


WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "TimeLimit": lambda env: gym.wrappers.TimeLimit(env, 2),
    "RecordEpisodeStatistics": gym.wrappers.RecordEpisodeStatistics,
    "Autoreset": gym.wrappers.Autoreset,
    "NormalizeReward": gym.wrappers.NormalizeReward,
    "TransformReward": lambda env: gym.wrappers.TransformReward(env, lambda reward: 2 * reward),
    "StickyAction": lambda env: gym.wrappers.StickyAction(env, 0.5),
    "FrameStackObservation": lambda env: gym.wrappers.FrameStackObservation(env, 3),
    "TimeAwareObservation": lambda env: gym.wrappers.TimeAwareObservation(gym.wrappers.TimeLimit(env, 9), flatten=False),
    "NormalizeObservation": gym.wrappers.NormalizeObservation,
    "DelayObservation": lambda env: gym.wrappers.DelayObservation(env, 1),
    "RescaleAction": lambda env: gym.wrappers.RescaleAction(env, np.float32(0), np.float32(5)),
    "ClipAction": gym.wrappers.ClipAction,
}
OF_BOXES = {"NormalizeObservation": "sees", "TimeAwareObservation": "sees", "RescaleAction": "acts", "ClipAction": "acts"}


@pytest.mark.slow
@ONE_OF_A_KIND
def test_gymnasium_s_wrappers_of_single_environments(kind, small):
    for name, wrap in WRAPPERS.items():
        space = {"sees": sees, "acts": acts_in}.get(OF_BOXES.get(name, ""), lambda kind: BOX)(kind)
        if not isinstance(space, kinds.Box):
            continue
        if name == "ClipAction" and "bounds" in _refusal(kind, wrap(clockwork(kind)), small(kind)):  # it takes the bounds away
            continue
        agent = kind(wrap(clockwork(kind)), **small(kind)).learn(40)
        judged = evaluate(agent, wrap(clockwork(kind)), episodes=4)
        assert judged["length_mean"] == (2 if name == "TimeLimit" else 4), name


def _refusal(kind: type[Agent], env: Any, settings: dict[str, Any]) -> str:
    """The one line in which an environment is refused; '' if it is not, and can be learned in."""
    try:
        kind(env, seed=1, **settings).learn(24)
    except SettingError as error:
        assert "\n" not in str(error) and len(str(error)) < 400
        return str(error)
    return ""


VECTOR_WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "NormalizeReward": gym.wrappers.vector.NormalizeReward,
    "ClipReward": lambda env: gym.wrappers.vector.ClipReward(env, -1, 1),
    "NormalizeObservation": gym.wrappers.vector.NormalizeObservation,
    "FlattenObservation": gym.wrappers.vector.FlattenObservation,
    "ReshapeObservation": lambda env: gym.wrappers.vector.ReshapeObservation(env, (2, 1)),
    "RescaleObservation": lambda env: gym.wrappers.vector.RescaleObservation(env, np.float32(0), np.float32(1)),
}


@ONE_OF_A_KIND
def test_gymnasium_s_wrappers_of_vector_environments(kind, small):
    for name, wrap in VECTOR_WRAPPERS.items():
        if "Observation" in name and is_tabular(kind):
            continue
        make = lambda wrap=wrap: wrap(SyncVectorEnv([lambda: clockwork(kind)] * 2))  # noqa: E731
        assert evaluate(kind(make(), **small(kind)).learn(40), make(), episodes=4)["length_mean"] == 4, name
    with pytest.raises(SettingError, match="expected info as a dict of arrays, found a list; leave out the wrapper DictInfoToList"):
        kind(gym.wrappers.vector.DictInfoToList(SyncVectorEnv([lambda: clockwork(kind)] * 2)), **small(kind)).learn(40)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [PPO, QLearning], ids=lambda kind: kind.name)
def test_worlds_in_processes_of_their_own(kind, small):
    env = AsyncVectorEnv([functools.partial(clockwork, kind)] * 2, context="forkserver")
    agent = kind(env, **small(kind)).learn(60)
    assert evaluate(agent, env, episodes=4)["length_mean"] == 4
    env.close()


@ONE_OF_A_KIND
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP], ids=lambda mode: mode.name)
def test_gymnasium_s_statistics_of_vector_environments_agree_with_the_agent_s(kind, mode, small):
    worlds = SyncVectorEnv([lambda: clockwork(kind)] * 2, autoreset_mode=mode)
    wrapped = gym.wrappers.vector.RecordEpisodeStatistics(worlds)
    agent = kind(wrapped, **small(kind))
    learned = rows(agent, 100)
    assert set(wrapped.return_queue) == {3.0, 5.0}
    assert wrapped.episode_count >= sum(row["episodes"] for row in learned) > 0
    assert evaluate(agent, gym.wrappers.vector.RecordEpisodeStatistics(worlds), episodes=4)["return_mean"] == 4


# ------------------------------------------------------------------------------------------------------------------------- spaces

PARTS = {"a": BOX, "b": kinds.Discrete(3)}
SEEN: dict[str, gym.Space[Any]] = {
    "box": BOX,
    "picture": kinds.Box(0, 255, (2, 3), np.uint8),
    "discrete": PLACES,
    "multi-discrete": kinds.MultiDiscrete([2, 3], start=[0, 1]),
    "multi-discrete table": kinds.MultiDiscrete([[2, 3], [2, 2]]),
    "bits": kinds.MultiBinary(3),
    "tuple of discrete": kinds.Tuple((kinds.Discrete(3), kinds.Discrete(2, start=4))),
    "dict": kinds.Dict(PARTS),
    "nested": kinds.Tuple((kinds.Dict(PARTS), kinds.MultiBinary([2, 2]))),
    "text": kinds.Text(5),
    "sequence": kinds.Dict(a=kinds.Sequence(BOX)),
}
ACTED: dict[str, gym.Space[Any]] = {
    "box": BOX,
    "bounds of each": kinds.Box(np.array([[0.0, -2.0]]), np.array([[1.0, 5.0]]), dtype=np.float64),
    "box without bounds": kinds.Box(-np.inf, np.inf, (2,)),
    "whole numbers": kinds.Box(0, 5, (2,), np.int64),
    "discrete": kinds.Discrete(3, start=1),
    "multi-discrete": kinds.MultiDiscrete([2, 3], start=[0, 1]),
    "multi-discrete table": kinds.MultiDiscrete([[2, 3], [2, 2]]),
    "bits": kinds.MultiBinary(3),
    "table of bits": kinds.MultiBinary([2, 2]),
    "dict": kinds.Dict(PARTS),
}
OF_TABLES = {"discrete", "multi-discrete", "tuple of discrete"}
BOUNDED, DISCRETE = {"box", "bounds of each"}, {"discrete"}
ANY = BOUNDED | DISCRETE | {"box without bounds", "multi-discrete", "multi-discrete table", "bits", "table of bits"}


@ONE_OF_A_KIND
def test_the_spaces_that_it_learns_in_and_one_line_for_each_of_the_others(kind, small):
    """The environment checks every action."""
    seen = {name for name, space in SEEN.items() if not _refusal(kind, Clockwork(space, acts_in(kind)), small(kind))}
    acted = {name for name, space in ACTED.items() if not _refusal(kind, Clockwork(sees(kind), space), small(kind))}
    assert seen == (OF_TABLES if is_tabular(kind) else set(SEEN) - {"text", "sequence"})
    assert acted == (ANY if kinds.MultiDiscrete in kind.action_spaces else DISCRETE if kinds.Discrete in kind.action_spaces else BOUNDED)


@ONE_OF_A_KIND
def test_several_parts_are_seen_one_by_one_and_in_batches(kind, small):
    space = kinds.Tuple((kinds.Discrete(3), kinds.Discrete(2))) if is_tabular(kind) else kinds.Dict(PARTS)
    agent = kind(Clockwork(space, acts_in(kind)), **small(kind)).learn(24)
    worlds = SyncVectorEnv([lambda: Clockwork(space, acts_in(kind))] * 3)
    batch, _ = worlds.reset(seed=0)
    assert acts_in(kind).contains(agent.predict(space.sample())[0])
    assert len(agent.predict(batch, deterministic=True)[0]) == 3
    assert evaluate(agent, worlds, episodes=6)["length_mean"] == 4


# ---------------------------------------------------------------------------------------------------------------- bit for bit

WITH_A_STATE: dict[str, Callable[[type[Agent]], Any]] = {
    "saved": lambda kind: SavedClockwork(sees(kind), acts_in(kind)),
    "saved, under a time limit": lambda kind: gym.wrappers.TimeLimit(SavedClockwork(sees(kind), acts_in(kind)), 4),
}
FORMS = WITH_A_STATE | ENVIRONMENTS
OFF_POLICY = dict(n_step=3, averaging="ema 0.9", train_freq=2)
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "a2c": [dict(recurrent="gru")],
    "ppo": [dict(recurrent="lstm", averaging="swa 30")],
    "reinforce": [dict(baseline="constant", recurrent="lstm")],
    "dqn": [
        dict(OFF_POLICY, prioritized=True, double=True, dueling=True),
        dict(buffer_size=40, exploration_mu=2.0, learning_rate="linear 1e-3 0 200"),
    ],
    "sac": [OFF_POLICY, dict(buffer_size=40, learn_ent_coef=False, ent_coef="linear 0.1 0.01 200")],
}
OF_TABULAR = [dict(tables="independent", learning_rate="linear 0.5 0.01 200"), dict(learning_rate=None)]


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, id=name, marks=pytest.mark.slow if name in SHARED else ()) for name, kind in AGENTS.items()]
)
def test_a_seed_says_all_that_happens(kind, small):
    runs = []
    for seed in (7, 7, 8):
        np.random.seed(seed + len(runs)), torch.manual_seed(len(runs))  # noqa: NPY002  global random numbers have no part in it
        agent = kind(ENVIRONMENTS["SAME_STEP"](kind), seed=seed, **small(kind))
        runs.append((repr(rows(agent, 100)), bits(agent)))
    assert runs[0] == runs[1]
    assert runs[0][1] != runs[2][1]


def assert_goes_on_exactly(kind: type[Agent], form: str, settings: dict[str, Any], folder: Path) -> None:
    """What is saved in the middle learns on to the same metrics and the same weights; the weights alone would not do."""
    agent = kind(FORMS[form](kind), seed=3, **settings)
    assert agent.batch.has_state is (form in WITH_A_STATE)
    agent.learn(60)
    agent.save(folder / "exact", training=True)
    agent.save(folder / "weights")
    expected = repr(rows(agent, 60))
    np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    loaded = load_agent(folder / "exact", FORMS[form](kind))
    assert type(loaded) is kind and loaded.num_timesteps > 0
    assert repr(rows(loaded, 60)) == expected
    assert bits(loaded) == bits(agent)
    alone = load_agent(folder / "weights", FORMS[form](kind))
    assert repr(rows(alone, 60)) != expected or bits(alone) != bits(agent)


QUICK = "saved, under a time limit"


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        pytest.param(kind, form, id=f"{name}, {form}", marks=() if form == QUICK else pytest.mark.slow)
        for name, kind in AGENTS.items()
        for form in FORMS
        if form == QUICK or name not in SHARED
    ],
)
def test_saved_in_the_middle_it_goes_on_to_the_same_bits(kind, form, small, tmp_path):
    assert_goes_on_exactly(kind, form, small(kind), tmp_path)


def takes(kind: type[Agent], settings: dict[str, Any]) -> bool:
    try:
        kind.Settings(**settings)
    except (SettingError, TypeError):
        return False
    return True


CASES = [
    pytest.param(kind, variant, id=f"{name}, {', '.join(variant)}")
    for name, kind in AGENTS.items()
    for variant in (OF_TABULAR[: 1 if name in SHARED else 2] if is_tabular(kind) else VARIANTS.get(name, []))
    if takes(kind, variant)
]


@pytest.mark.parametrize(("kind", "variant"), CASES)
def test_with_all_that_an_agent_may_have_besides(kind, variant, small, tmp_path):
    assert_goes_on_exactly(kind, "NEXT_STEP", small(kind, **variant), tmp_path)
