"""Learning goes on from what was saved as if it had never stopped; what is broken or foreign is refused in one line."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import safetensors.torch
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import mprl  # noqa: F401  registers the environments
from mprl import files
from mprl.agents import PPO, checkpoints
from mprl.agents.environments import Batch
from mprl.errors import CheckpointError, MprlError

FILES = (checkpoints.CONFIG, checkpoints.WEIGHTS, checkpoints.STATE, checkpoints.TRAINING)
SMALL = dict(n_steps=8, batch_size=16, hidden=(4,), seed=3)


class Drift(gym.Env[Any, Any]):
    """A random walk with a state that can be saved. Episodes last 5 steps."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.where, self.steps = self.np_random.normal(), 0
        return np.array([self.where], np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.where, self.steps = self.where + float(action[0]) + self.np_random.normal(), self.steps + 1
        return np.array([self.where], np.float32), -abs(self.where), False, self.steps == 5, {}


class SavedDrift(Drift):
    def get_state(self) -> dict[str, Any]:
        random = json.dumps(self.np_random.bit_generator.state).encode().ljust(400)
        return {"at": np.array([getattr(self, "where", 0.0), getattr(self, "steps", 0)]), "random": np.frombuffer(random, np.uint8)}

    def set_state(self, state: dict[str, Any]) -> None:
        self.where, self.steps = float(state["at"][0]), int(state["at"][1])
        self.np_random.bit_generator.state = json.loads(state["random"].tobytes())


def deepmimic(**settings: Any) -> Callable[[], Any]:
    return lambda: gym.make_vec("mprl/DeepMimic-v0", num_envs=3, num_threads=1, time_limit=0.3, **settings)


# Other forms of an environment, and other agents: tests/agents/test_every_agent.py.
ENVIRONMENTS: dict[str, Callable[[], Any]] = {
    "DeepMimic, a library": deepmimic(output="torch", motion=["walk", "jump"]),
    "heading": lambda: gym.make_vec("mprl/DeepMimicHeading-v0", num_envs=3, num_threads=1, time_limit=0.3, output="torch"),
    "DeepMimic, single": lambda: gym.make("mprl/DeepMimic-v0", num_threads=1, time_limit=0.3),
    "with a state, under a time limit": lambda: gym.wrappers.TimeLimit(SavedDrift(), 3),
    "tabular, by gym.make": lambda: gym.make("mprl/GridworldAB-v0", max_episode_steps=5),
    "without": lambda: SyncVectorEnv([Drift] * 3, autoreset_mode=AutoresetMode.SAME_STEP),
}


def learn(agent: PPO, iterations: int) -> list[dict[str, float]]:
    """The metrics of some iterations, without wall-clock ones."""
    rows: list[dict[str, float]] = []
    keep = lambda _, row: rows.append({key: value for key, value in row.items() if not key.startswith("time_")})  # noqa: E731
    agent.learn(iterations * 8 * agent.batch.num_worlds, callback=keep)
    return rows


SLOW = ("heading", "DeepMimic, single", "DeepMimic, a library")


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=pytest.mark.slow if kind in SLOW else ()) for kind in ENVIRONMENTS])
def test_what_is_loaded_learns_on_to_the_same_bits(kind, tmp_path):
    make = ENVIRONMENTS[kind]
    agent = PPO(make(), **SMALL)
    learn(agent, 3)
    agent.save(tmp_path / "exact", training=True)
    agent.save(tmp_path / "weights")
    expected = learn(agent, 3)
    loaded = PPO.load(tmp_path / "exact", make())
    torch.rand(3), np.random.seed(1)  # noqa: NPY002  global random numbers are not learned from
    assert repr(learn(loaded, 3)) == repr(expected)
    assert all(torch.equal(a, b) for a, b in zip(agent.model.state_dict().values(), loaded.model.state_dict().values(), strict=True))
    assert repr(learn(PPO.load(tmp_path / "weights", make()), 3)) != repr(expected)  # the weights alone do not do it


def test_making_an_environment_leaves_the_caller_s_random_numbers_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    for kind in ("DeepMimic, a library", "heading"):
        ENVIRONMENTS[kind]()
    assert torch.equal(torch.rand(3), expected)


def test_saving_disturbs_nothing_where_the_environment_has_a_state(tmp_path):
    one, other = (PPO(SavedDrift(), **SMALL) for _ in range(2))
    saved: list[Path] = []
    rows = [learn(one, 4), []]
    for _ in range(4):
        saved.append(other.save(tmp_path, training=True))
        rows[1] += learn(other, 1)
    assert repr(rows[0]) == repr(rows[1])


def test_before_the_first_step_there_is_a_state_too(tmp_path):
    agent = PPO(SavedDrift(), **SMALL)
    agent.save(tmp_path, training=True)
    assert repr(learn(agent, 2)) == repr(learn(PPO.load(tmp_path, SavedDrift()), 2))


def test_a_time_limit_s_count_is_saved_too():
    """Saved after the second step of three."""
    envs = [gym.make("mprl/GridworldAB-v0", max_episode_steps=3) for _ in range(2)]
    one, other = (Batch(env) for env in envs)
    one.reset(seed=1)
    assert [bool(one.step(np.array([0])).truncated[0]) for _ in range(2)] == [False, False]
    assert one.has_state
    other.set_state(one.get_state())
    assert other.step(np.array([0])).truncated[0]


def test_wrappers_with_a_state_of_their_own_are_not_saved_as_if_they_had_none(tmp_path):
    """A stack of frames is beyond the reach of the environment's own `get_state`, so the whole is reset."""
    make = lambda: gym.wrappers.FrameStackObservation(SavedDrift(), 2)  # noqa: E731
    agent = PPO(make(), **SMALL)
    assert not agent.batch.has_state and PPO(SavedDrift(), **SMALL).batch.has_state
    learn(agent, 2)
    agent.save(tmp_path, training=True)
    assert repr(learn(agent, 2)) == repr(learn(PPO.load(tmp_path, make()), 2))


def test_an_agent_saved_again_without_its_training_has_none(tmp_path):
    agent = PPO(Drift(), **SMALL)
    agent.save(tmp_path, training=True)
    agent.save(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [checkpoints.CONFIG, checkpoints.WEIGHTS]
    with pytest.raises(MprlError, match="without training=True"):
        PPO.load(tmp_path).save(tmp_path, training=True)


def test_the_same_moment_is_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        agent = PPO(SavedDrift(), **SMALL)
        learn(agent, 2)
        agent.seconds = 1.5
        agent.save(tmp_path / name, training=True)
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in FILES)


# ------------------------------------------------------------------------------------------------------------------------- damage


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of one run after 1 and 2 iterations, and of a run with another seed."""
    folder = tmp_path_factory.mktemp("saved")
    for name, seed in (("run", 3), ("other", 4)):
        agent = PPO(SavedDrift(), **{**SMALL, "hidden": (), "seed": seed})
        for step in (1, 2):
            learn(agent, 1)
            agent.save(folder / f"{name}{step}", training=True)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of a checkpoint, to spoil."""
    return Path(shutil.copytree(saved / "run2", tmp_path / "run2"))


def refused(folder: Path, env: Any = None, **options: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        PPO.load(folder, SavedDrift() if env is None else env, **options)
    message = str(caught.value)
    assert "\n" not in message and str(folder) in message and len(message) < 400
    return message


def cuts(whole: bytes) -> list[int]:
    """Lengths to cut a file off at: at its beginning, at its end, and at some two hundred places between."""
    return sorted({*range(20), *range(0, len(whole), max(1, len(whole) // 200)), *range(len(whole) - 20, len(whole))})


@pytest.mark.parametrize("name", FILES)
def test_cut_off_after_any_number_of_bytes(folder, name):
    whole = (folder / name).read_bytes()
    for number, length in enumerate(cuts(whole)):
        (folder / name).write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=name):
            checkpoints.read_training(folder)
        if number % 50 == 0:
            assert name in refused(folder)
    (folder / name).write_bytes(whole)
    PPO.load(folder, SavedDrift())


@pytest.mark.parametrize("name", FILES[:2])
def test_cut_off_in_an_agent_without_training(folder, name):
    (folder / checkpoints.TRAINING).unlink()
    whole = (folder / name).read_bytes()
    for length in cuts(whole):
        (folder / name).write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=name):
            checkpoints.read(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("other", ["run1", "other2"])
def test_a_file_of_another_moment_or_another_run_is_noticed(saved, folder, name, other):
    if (saved / other / name).read_bytes() == (folder / name).read_bytes():
        pytest.skip("the same in both")
    shutil.copy(saved / other / name, folder / name)
    assert "of another checkpoint" in refused(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named_and_without_training_json_there_is_only_an_agent(folder, name):
    (folder / name).unlink()
    if name == checkpoints.TRAINING:
        assert PPO.load(folder, SavedDrift()).observation is None
    else:
        assert name in refused(folder)


class Marker:
    """Unpickling this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", FILES)
def test_a_pickle_in_disguise_is_never_opened(folder, name, tmp_path):
    marker = tmp_path / "executed"
    content = pickle.dumps(Marker(marker))
    pickle.loads(content)
    assert marker.exists()  # so it would work
    marker.unlink()
    (folder / name).write_bytes(content)
    refused(folder)
    torch.save({"model": Marker(marker)}, folder / name)
    refused(folder)
    forge(folder)  # with all digests right
    refused(folder)
    assert not marker.exists()


def forge(folder: Path, **changes: Any) -> None:
    """Make `training.json` say what the files are now."""
    path = folder / checkpoints.TRAINING
    try:
        content = json.loads(path.read_text())
    except ValueError:
        return
    content["sha256"] = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES[:3]}
    path.write_text(json.dumps({**content, **changes}))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"version": 9}, "version 1, found 9"),
        ({"format": "mprl-agent"}, "mprl-training"),
        ({"sha256": None}, "of another checkpoint"),
        ({"num_envs": 4}, "with num_envs 4, here it is 1; load with training=False"),
        ({"num_timesteps": 7}, "at step 7, the weights at 16"),
        ({"learning_rates": {}}, "cannot be taken up"),
        ({"learning_rates": {"model": [float("nan")]}}, "a learning rate of nan"),
        ({"learning_rates": {"model": [1e-3, 1e-3]}}, "cannot be taken up"),
        ({"seconds": "long"}, '"seconds" must be a number, found long'),
        ({"torch_threads": None}, '"torch_threads" must be a whole number'),
    ],
)
def test_numbers_that_cannot_be(folder, changes, says):
    forge(folder, **changes)
    assert says in refused(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("generator", torch.zeros(16, dtype=torch.uint8)),
        ("generator", torch.zeros(5056, dtype=torch.uint8)),
        ("observation", torch.zeros(1, 2)),
        ("env.at", torch.zeros(2)),  # float32
        ("env.more", torch.zeros(2)),
        ("episodes.return", torch.zeros(2)),
        ("optimizer.model.0.exp_avg", torch.zeros(7)),
        ("optimizer.model.99.exp_avg", torch.zeros(1)),
        ("optimizer.model.x.exp_avg", torch.zeros(1)),
    ],
)
def test_tensors_that_cannot_be(folder, key, value):
    tensors = files.read_tensors(folder / checkpoints.STATE, "cpu")
    (folder / checkpoints.STATE).write_bytes(safetensors.torch.save({**tensors, key: value}))
    forge(folder)
    refused(folder)


def test_another_number_of_worlds_begins_anew_where_asked_to(folder):
    envs = SyncVectorEnv([SavedDrift] * 2)
    assert "num_envs 1, here it is 2" in refused(folder, envs)
    assert PPO.load(folder, envs, training=False).learn(16).num_timesteps == 32
    assert "no set_state()" in refused(folder, Drift())


def test_without_an_environment_the_agent_predicts(folder):
    (folder / checkpoints.STATE).write_bytes(b"")
    assert PPO.load(folder).predict(np.zeros(1, np.float32), deterministic=True)[0].shape == (1,)


def test_other_threads_are_told(folder, caplog):
    forge(folder, torch_threads=torch.get_num_threads() + 1)
    PPO.load(folder, SavedDrift())
    assert "not bit for bit" in caplog.text


@pytest.mark.parametrize("settings", [{"vf_coef": -1.0}, {"ent_coef": -0.1}, {"min_learning_rate": -1e-5}, {"min_learning_rate": 1.0}])
def test_settings_that_cannot_work(settings):
    (name,) = settings
    with pytest.raises(MprlError, match=name):
        PPO(Drift(), **settings)


@pytest.mark.parametrize("how", [{"total_timesteps": -5}, {"max_seconds": -1.0}, {"total_timesteps": float("nan")}])
def test_learning_for_less_than_nothing_is_refused(how):
    with pytest.raises(MprlError, match="must be at least 0"):
        PPO(Drift(), **SMALL).learn(**how)
