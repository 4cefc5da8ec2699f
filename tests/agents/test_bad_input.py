"""What cannot work is refused in one line that says where: settings, models, broken checkpoints, rewards that are no numbers."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import gymnasium as gym
import numpy as np
import pytest
import safetensors.torch

import mprl  # noqa: F401  registers the environments
from mprl import files, memory
from mprl.agents import (
    AGENTS,
    DQN,
    PPO,
    SAC,
    ModifiedPolicyIteration,
    MonteCarlo,
    PolicyIteration,
    QLearning,
    Sarsa,
    TabularMDP,
    ValueIteration,
    checkpoints,
    evaluate,
    find_agent,
    load_agent,
)  # fmt: skip
from mprl.agents.agent import Agent
from mprl.errors import CheckpointError, DivergenceError, MprlError, SettingError, UnknownNameError

EVERY = pytest.mark.parametrize("kind", AGENTS.values(), ids=AGENTS)
# One for each way to keep what is learned: the others have it from the same classes.
ONE_OF_A_KIND = pytest.mark.parametrize("kind", [PPO, DQN, SAC, QLearning, MonteCarlo], ids=lambda kind: kind.name)


class Coin(gym.Env[Any, Any]):
    """A place of four at random, a reward that is given, ten steps."""

    observation_space = gym.spaces.Discrete(4)

    def __init__(self, kind: type[Agent], reward: float = 1.0) -> None:
        discrete = gym.spaces.Discrete in kind.action_spaces
        self.action_space = gym.spaces.Discrete(2) if discrete else gym.spaces.Box(-1, 1, (1,))
        self.reward = reward

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self.np_random.integers(4), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return self.np_random.integers(4), self.reward, self.steps == 10, False, {}


def one_line(error: Any) -> str:
    message = str(error.value)
    assert message and "\n" not in message and len(message) < 400, message
    return message


# ----------------------------------------------------------------------------------------------------------------------- settings

MAY_BE_NEGATIVE = {"initial_value", "target_entropy"}
NUMBERS = {"int": (-7, math.nan, 2**31, 2.5), "float": (-0.5, math.nan, math.inf, 1e39)}
SCHEDULES = ("linear -1 -2 10", "linear nan 0 10", "linear 1 1e39 10", "linear 1 0 -10", "linnear 1 0 10", "1 2 3")


def impossible(kind: type[Agent]) -> list[tuple[str, Any]]:
    """Settings with values that none of them can have: negative ones, not numbers, and those beyond all bounds."""
    found: list[tuple[str, Any]] = []
    for name, hint in get_type_hints(kind.Settings).items():
        if name not in kind.Settings.__dataclass_fields__:
            continue
        parts = get_args(hint) or (hint,)
        if bool in parts:
            found += [(name, 3), (name, "yes")]
            continue
        number = next((part.__name__ for part in (int, float) if part in parts), None)
        values = [value for value in NUMBERS.get(number or "", ()) if not (name in MAY_BE_NEGATIVE and value < 0)]
        found += [(name, (value,) if get_origin(hint) is tuple else value) for value in values]
        if str in parts:
            found += [(name, text) for text in (SCHEDULES if number else ("nonsense", 3))]
    return found


@EVERY
def test_every_setting_has_values_that_are_refused(kind):
    env, tried = Coin(kind), impossible(kind)
    assert len(tried) > 20
    for name, value in tried:
        with pytest.raises(SettingError) as caught:
            kind(env, **{name: value})
            pytest.fail(f"{name}={value!r} was taken")
        assert name in one_line(caught), (name, value, str(caught.value))


@EVERY
def test_a_setting_that_there_is_not_and_the_one_that_is_meant(kind):
    with pytest.raises(SettingError) as caught:
        kind(Coin(kind), gama=0.9)
    assert one_line(caught) == f"{kind.name} has no setting 'gama'; did you mean 'gamma'?"


def test_whole_numbers_and_flags_of_numpy_are_taken():
    agent = QLearning(Coin(QLearning), iteration_steps=np.int64(8), gamma=np.float32(0.5), learning_rate=np.int32(1))
    assert agent.settings.iteration_steps == 8 and agent.settings.gamma == 0.5 and agent.settings.learning_rate == 1.0


# ------------------------------------------------------------------------------------------------------------------------- memory


def test_a_network_a_table_and_a_replay_memory_that_do_not_fit_are_not_begun(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 2**30)
    with pytest.raises(SettingError, match=r"^a network of 10,000,040,000 weights.* needs 149.0 GiB, 1.0 GiB are free; take fewer units"):
        PPO(Coin(PPO), hidden=(10_000, 1_000_000))
    vast = Coin(Sarsa)
    vast.observation_space = gym.spaces.Discrete(10**10)
    with pytest.raises(SettingError, match=r"^a table of 10,000,000,000 states x 2 actions needs 149.0 GiB, 1.0 GiB are free; make fewer"):
        Sarsa(vast)
    with pytest.raises(SettingError, match=r"^a replay memory of 100,000,000 transitions needs .* GiB, 1.0 GiB are free; try buffer_size="):
        DQN(Coin(DQN), buffer_size=100_000_000)
    monkeypatch.setattr(memory, "available", lambda: 2**20)
    with pytest.raises(SettingError, match=r"^learning 1,000 tables of 48 states x 4 actions needs 0.0 GiB, 0.0 GiB are free"):
        Sarsa(gym.make_vec("mprl/Cliff-v0", num_envs=1_000), tables="independent")


@ONE_OF_A_KIND
def test_an_allocation_that_fails_in_the_middle_of_learning_is_one_line(kind, small, monkeypatch):
    agent = kind(Coin(kind), **small(kind))
    monkeypatch.setattr(agent, "_iteration", lambda: np.zeros(2**55))
    with pytest.raises(SettingError, match=r"^learning needs more memory than there is \(256. PiB more\); take fewer worlds"):
        agent.learn(100)


# --------------------------------------------------------------------------------------------------------------------- divergence


@EVERY
def test_rewards_that_are_no_numbers_end_learning_before_they_are_saved(kind, small, tmp_path):
    agent = kind(Coin(kind, reward=math.nan), **small(kind))
    saved: list[int] = []
    with pytest.raises(DivergenceError, match="what was learned is no longer a number; take a smaller learning_rate") as caught:
        agent.learn(5000, callback=lambda agent, metrics: saved.append(agent.num_timesteps))
    one_line(caught)
    assert f"within {agent.num_timesteps:,} steps" in str(caught.value) and agent.num_timesteps not in saved


@pytest.mark.parametrize(
    "kind", [kind for kind in AGENTS.values() if "hidden" in kind.Settings.__dataclass_fields__], ids=lambda kind: kind.name
)
def test_observations_that_are_no_numbers_are_noticed_too(kind, small):
    env: Any = gym.wrappers.TransformObservation(Coin(kind), lambda seen: np.array([seen, np.nan], np.float32), gym.spaces.Box(0, 4, (2,)))
    with pytest.raises(DivergenceError):
        kind(env, **small(kind)).learn(5000)


# -------------------------------------------------------------------------------------------------------------------- checkpoints


@pytest.fixture(scope="module")
def saved(small, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints. To be copied, not changed."""
    folder = tmp_path_factory.mktemp("saved")
    kinds = (PPO, DQN, SAC, QLearning, MonteCarlo)
    return {kind.name: kind(Coin(kind), **small(kind)).learn(20).save(folder / kind.name, training=True) for kind in kinds}


@ONE_OF_A_KIND
def test_a_checkpoint_that_is_cut_off_is_refused_and_the_file_is_named(kind, saved, tmp_path):
    folder = Path(shutil.copytree(saved[kind.name], tmp_path / "run"))
    for file in (checkpoints.CONFIG, checkpoints.WEIGHTS, checkpoints.STATE, checkpoints.TRAINING):
        whole = (folder / file).read_bytes()
        for length in (0, 1, 7, len(whole) // 2, len(whole) - 1):
            (folder / file).write_bytes(whole[:length])
            with pytest.raises(CheckpointError, match=file) as caught:
                load_agent(folder, Coin(kind))
            assert str(folder) in one_line(caught)
        (folder / file).write_bytes(whole)
    assert load_agent(folder, Coin(kind)).learn(20).num_timesteps >= 40


@ONE_OF_A_KIND
def test_weights_of_another_shape_and_missing_ones_are_refused(kind, saved, tmp_path):
    shutil.copy(saved[kind.name] / checkpoints.CONFIG, tmp_path)
    whole = files.read_tensors(saved[kind.name] / checkpoints.WEIGHTS, "cpu")
    for name, value in whole.items():
        for changed in ({}, {name: value.unsqueeze(-1)}) if value.ndim else ({},):
            kept = {other: tensor for other, tensor in whole.items() if other != name}
            (tmp_path / checkpoints.WEIGHTS).write_bytes(safetensors.torch.save({**kept, **changed}))
            with pytest.raises(CheckpointError, match="do not fit together") as caught:
                load_agent(tmp_path)
                pytest.fail(f"{name}: {[value.shape for value in changed.values()]} was taken")
            one_line(caught)


@ONE_OF_A_KIND
def test_a_checkpoint_of_another_agent_is_refused(kind, saved):
    for other, folder in saved.items():
        if other != kind.name:
            with pytest.raises(CheckpointError) as caught:
                kind.load(folder)
            assert one_line(caught) == f"{folder}: holds an agent '{other}', expected '{kind.name}'"


# -------------------------------------------------------------------------------------------------------------------------- names


def test_unknown_agents_and_planners():
    with pytest.raises(UnknownNameError, match="no agent named 'dqqn'; did you mean 'dqn'"):
        find_agent("dqqn")
    with pytest.raises(
        SettingError, match="value-iteration plans in a known model and does not learn: mprl plot ENV_ID --planner value-it"
    ):
        find_agent("value-iteration")


# ----------------------------------------------------------------------------------------------------------------------- planners

LEAK = [[[0.5, 0.5], [0.5, 0.4]], [[0.0, 1.0], [0.0, 1.0]]]
PLANNERS = pytest.mark.parametrize("planner", [ValueIteration, PolicyIteration, ModifiedPolicyIteration])


@PLANNERS
def test_a_planner_needs_a_model(planner):
    for env, name in (
        (gym.make("CartPole-v1"), "CartPole-v1"),
        (gym.make_vec("CartPole-v1", num_envs=2), "CartPole-v1"),
        (None, "NoneType"),
    ):
        for discount in ({}, {"discount": 0.9}):
            with pytest.raises(SettingError) as caught:
                planner(env, **discount)
            assert one_line(caught).startswith(f"{name} has no model: a planner needs a TabularMDP or an environment with P, such as Froz")


@PLANNERS
def test_limits_of_planning_that_cannot_be(planner):
    lake = gym.make("FrozenLake-v1")
    for discount in (-0.1, 1.5, math.nan):
        with pytest.raises(SettingError, match=r"discount must be in \[0, 1\], found"):
            planner(lake, discount=discount)
    with pytest.raises(SettingError, match="needs the discount of an environment, as in ValueIteration"):
        planner(lake)
    for limits in ({"tolerance": -1.0}, {"tolerance": math.nan}, {"max_iterations": 0}):
        with pytest.raises(SettingError, match=f"{next(iter(limits))} must be at least"):
            planner(lake, discount=0.9).solve(**limits)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: TabularMDP.from_arrays(LEAK, np.zeros((2, 2)), 0.9), "state 0, action 1: probabilities sum to 0.9, expected 1"),
        (lambda: TabularMDP.from_function(lambda s, a: [(0.5, 0, 1.0, True)], 2, 1, 0.9), "state 0, action 0: probabilities sum to 0.5"),
        (lambda: TabularMDP.from_function(lambda s, a: [(1.0, 2, 1.0, True)], 2, 1, 0.9), "state 0, action 0: expected a next state 0…1"),
        (lambda: TabularMDP.from_function(lambda s, a: 1, 2, 1, 0.9), "state 0, action 0: expected a list of (probability, next state, r"),
        (lambda: TabularMDP.from_function(lambda s, a: [("p", 0, 0, 0)], 2, 1, 0.9), "state 0, action 0: expected (probability, next sta"),
        (lambda: TabularMDP.from_arrays([[[0.5, 0.5]]] * 2, np.ones((2, 1)), 1.0), "discount 1 needs a terminal state, found none"),
        (lambda: TabularMDP.from_sparse(np.eye(3), np.zeros((3, 1)), 0.9), "expected one matrix (states, states) for each action"),
    ],
)  # fmt: skip
def test_a_model_that_is_none(make, says):
    with pytest.raises(SettingError) as caught:
        make()
    assert one_line(caught).startswith(says)


def test_a_batch_of_copies_has_the_model_of_one():
    one, many = gym.make("FrozenLake-v1"), gym.make_vec("FrozenLake-v1", num_envs=2, vectorization_mode="sync")
    assert (ValueIteration(many, discount=0.9).solve().values == ValueIteration(one, discount=0.9).solve().values).all()


# ------------------------------------------------------------------------------------------------------- arguments of another type

MODEL = (np.full((3, 2, 3), 1 / 3), np.zeros((3, 2)))
EMPTY = TabularMDP.from_arrays(*MODEL, 0.9)
ARGUMENTS: dict[str, tuple[Callable[[], Any], str]] = {
    "discount, text": (lambda: TabularMDP.from_arrays(*MODEL, "x"), "discount must be a number, found 'x'"),
    "discount, none": (lambda: TabularMDP.from_arrays(*MODEL, None), "discount must be a number, found None"),
    "discount, two": (lambda: TabularMDP.from_arrays(*MODEL, [0.9, 0.8]), "discount must be a number, found [0.9, 0.8]"),
    "discount, truth": (lambda: TabularMDP.from_arrays(*MODEL, True), "discount must be a number, found True"),
    "another discount": (lambda: EMPTY.with_discount("x"), "discount must be a number, found 'x'"),
    "discount of an environment": (lambda: ValueIteration(gym.make("FrozenLake-v1"), "x"), "discount must be a number, found 'x'"),
    "probabilities": (lambda: TabularMDP.from_arrays("abc", MODEL[1], 0.9), "expected probabilities as an array of numbers"),
    "ragged": (lambda: TabularMDP.from_arrays([[1], [1, 2]], MODEL[1], 0.9), "expected probabilities as an array of numbers"),
    "rewards": (lambda: TabularMDP.from_arrays(MODEL[0], "r", 0.9), "expected rewards as an array of numbers"),
    "terminal, text": (lambda: TabularMDP.from_arrays(*MODEL, 0.9, terminal="x"), "terminal: expected states 0…2, found ['x']"),
    "terminal, a half": (lambda: TabularMDP.from_arrays(*MODEL, 0.9, terminal=[0.5]), "terminal: expected states 0…2, found [0.5]"),
    "sparse": (lambda: TabularMDP.from_sparse("x", MODEL[1], 0.9), "expected SciPy's sparse matrices, found 'x'"),
    "sparse, a number": (lambda: TabularMDP.from_sparse(3, MODEL[1], 0.9), "expected SciPy's sparse matrices, found 3"),
    "function": (lambda: TabularMDP.from_function(3, 3, 2, 0.9), "expected a function of state and action, found 3"),
    "states": (lambda: TabularMDP.from_function(lambda s, a: (), "x", 2, 0.9), "num_states must be a whole number, found 'x'"),
    "no states": (lambda: TabularMDP.from_function(lambda s, a: (), 0, 2, 0.9), "num_states must be at least 1, found 0"),
    "tolerance": (lambda: ValueIteration(EMPTY).solve("x"), "tolerance must be a number, found 'x'"),
    "no tolerance": (lambda: ValueIteration(EMPTY).solve(None), "tolerance must be a number, found None"),
    "iterations": (lambda: ValueIteration(EMPTY).solve(max_iterations=1.5), "max_iterations must be a whole number, found 1.5"),
    "values": (lambda: ValueIteration(EMPTY).solve(initial="x"), "expected initial values as an array of numbers"),
    "sweeps": (lambda: ModifiedPolicyIteration(EMPTY, sweeps="x"), "sweeps must be a whole number, found 'x'"),
    "steps": (lambda: coin().learn("x"), "total_timesteps must be a number, found 'x'"),
    "steps, a list": (lambda: coin().learn([3]), "total_timesteps must be a number, found [3]"),
    "steps, not a number": (lambda: coin().learn(math.nan), "total_timesteps must be at least 0, found nan"),
    "seconds": (lambda: coin().learn(max_seconds="x"), "max_seconds must be a number, found 'x'"),
    "callback": (lambda: coin().learn(3, callback=3), "callback must be a function of the agent and the metrics, found 3"),
    "a folder to load": (lambda: load_agent(None), "expected the path of a folder, found None"),
    "a folder to load one kind": (lambda: QLearning.load(3), "expected the path of a folder, found 3"),
    "a folder to save": (lambda: coin().save(None), "expected the path of a folder, found None"),
    "episodes": (lambda: evaluate(coin(), Coin(QLearning), episodes="x"), "episodes must be a whole number, found 'x'"),
    "half an episode": (lambda: evaluate(coin(), Coin(QLearning), episodes=1.5), "episodes must be a whole number, found 1.5"),
    "length": (lambda: evaluate(coin(), Coin(QLearning), max_episode_steps="x"), "max_episode_steps must be a number, found 'x'"),
    "agent": (lambda: evaluate(None, Coin(QLearning)), "evaluate takes an agent first, found a NoneType"),
    "name": (lambda: find_agent(None), "no agent named 'None'"),
}


def coin() -> QLearning:
    return QLearning(Coin(QLearning))


@pytest.mark.parametrize("case", ARGUMENTS)
def test_an_argument_of_another_type_is_told_in_one_line(case):
    call, text = ARGUMENTS[case]
    with pytest.raises(MprlError) as error:
        call()
    assert one_line(error).startswith(text)
