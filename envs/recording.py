"""Rollouts of any policy as a dataset: what models of perception are trained on.

    envs = pixels(gymnasium.make_vec("CartPole-v1", num_envs=8, render_mode="rgb_array"), 64, state=True)
    dataset = record(envs, "random", "frames", samples=50_000)      # columns image, state, action, reward, episode, step, ...

Called again after a kill, it goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from torch import Tensor

from mprl.errors import SettingError, number
from mprl.perception.datasets import Columns, Dataset, DatasetWriter

_log = logging.getLogger("mprl")

Policy = Callable[[Any], Any]


def record(
    env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any],
    policy: Any,
    folder: str | Path,
    samples: int,
    *,
    seed: int = 0,
    deterministic: bool = False,
    extra: Mapping[str, Callable[[], Any]] | None = None,
    about: Mapping[str, Any] | None = None,
    shard_samples: int | None = None,
    progress: bool = True,
) -> Dataset:
    """Act in an environment and write down what is seen and done.

    | column | |
    |---|---|
    | each entry of a `Dict` observation; else `image` (uint8 pictures) or `state` | what the policy saw |
    | `action` | what it did there |
    | `reward` float32, `terminated`, `truncated` bool | what came of it |
    | `episode` int64, `step` int32 | where it belongs: samples of an episode are numbered from 0 |

    The last observation of an episode, on which nobody acts, is not written.

    Args:
        env: single or batched, in any autoreset mode. Observations are a `Box`, `Discrete`, or a `Dict` of such.
        policy: "random"; an agent, that is anything with `predict(observation, state, episode_start, deterministic)`; or a function
            of a batch of observations, (W, ...), that gives actions, (W, ...).
        folder: made if missing. A dataset that is there is continued until it has `samples`.
        samples: how many there are to be.
        seed: of the environment and of random actions. Recording in two goes gives other episodes than in one.
        deterministic: the likeliest action of an agent rather than a random one.
        extra: further columns: functions that give (W, ...) arrays, called where the observation is looked at (keypoints, poses, ...).
        about: how the observations come about, in terms that fit into JSON; a dataset that says otherwise is not continued.
        shard_samples: samples of a file; by default as many as are 32 MiB.
        progress: show a bar.

    Returns:
        The dataset.

    Raises:
        SettingError: an observation, policy or extra column that cannot be written.
        DatasetError: the folder holds something else, or a dataset with other columns or of another environment.
    """
    samples = number("samples", samples, 1, whole=True)
    worlds = _Worlds(env)
    act = _actions(policy, worlds, deterministic)
    further = dict(extra or {})
    observation = worlds.reset(seed)
    columns = _columns(worlds, observation, further)
    same = json.loads(json.dumps({"env": worlds.name, **(about or {})}))
    actor = {"policy": policy if isinstance(policy, str) else type(policy).__name__, "seed": seed}
    with DatasetWriter(folder, columns, {**same, **actor}, shard_samples, tuple(same)) as writer:
        done = writer.samples
        if done >= samples:
            _log.info("%s: all %s samples are there", folder, f"{samples:,}")
            return Dataset(folder)
        if done:
            _log.info("%s: %s of %s samples are there; going on", folder, f"{done:,}", f"{samples:,}")
            observation = worlds.reset(seed + done)  # not the episodes that are there already
        worlds.env.action_space.seed(seed + done)
        first = max(Dataset(folder).episodes, default=-1) + 1 if done else 0
        episode, step = first + np.arange(worlds.count), np.zeros(worlds.count, np.int32)
        next_episode, begins = first + worlds.count, np.ones(worlds.count, bool)
        with progress_bar(progress, f"recording {worlds.name}", done, samples) as advance:
            while writer.samples < samples:
                row = {**_parts(worlds.space, observation), **{name: _array(read()) for name, read in further.items()}}
                row = {name: value.copy() for name, value in row.items()}  # the step may write into the same arrays
                row |= {"episode": episode.copy(), "step": step.copy()}
                action = act(observation, begins)
                observation, reward, terminated, truncated, valid = worlds.step(action)
                row |= {"action": _array(action), "reward": reward.astype(np.float32), "terminated": terminated, "truncated": truncated}
                kept = np.flatnonzero(valid)[: samples - writer.samples]
                writer.add({name: row[name][kept].astype(dtype, copy=False) for name, (dtype, _) in columns.items()})
                advance(writer.samples)
                step += valid
                ended = (terminated | truncated) & valid
                begins = worlds.begins(ended, valid)
                fresh = int(ended.sum())
                episode[ended], step[ended] = next_episode + np.arange(fresh), 0
                next_episode += fresh
    return Dataset(folder)


class _Worlds:
    """A single environment or a batch, in any autoreset mode, as worlds that are stepped together. (`mprl.agents.environments` is not
    for environments to import, and keeps final observations besides.)"""

    def __init__(self, env: Any) -> None:
        if not isinstance(env, gym.Env | VectorEnv):
            raise SettingError(f"expected a Gymnasium environment (of gym.make or gym.make_vec), found {type(env).__name__}")
        self.env, self.single = env, isinstance(env, gym.Env)
        self.count = 1 if isinstance(env, gym.Env) else env.num_envs
        self.space = env.observation_space if isinstance(env, gym.Env) else env.single_observation_space
        self.action_space: Any = env.action_space if isinstance(env, gym.Env) else env.single_action_space
        self.mode = AutoresetMode.DISABLED if self.single else env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self.name = env.spec.id if env.spec is not None else type(env.unwrapped).__name__
        self._ended = np.zeros(self.count, bool)

    def reset(self, seed: int | None = None) -> Any:
        self._ended = np.zeros(self.count, bool)
        observation, _ = self.env.reset(seed=seed)
        return _batched(observation) if self.single else observation

    def step(self, action: Any) -> tuple[Any, NDArray[Any], NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
        """Observations to act on next, rewards, terminated, truncated, and where this was a step and not only a reset."""
        valid = np.ones(self.count, bool)
        if self.single:
            observation, reward, terminated, truncated, _ = self.env.step(_array(action)[0])
            if terminated or truncated:
                observation, _ = self.env.reset()
            return _batched(observation), np.array([reward]), np.array([terminated], bool), np.array([truncated], bool), valid
        observation, *told, _ = self.env.step(action)
        reward, terminated, truncated = (_array(value) for value in told)
        ended = terminated | truncated
        if self.mode == AutoresetMode.NEXT_STEP:
            valid, self._ended = ~self._ended, ended
        elif self.mode == AutoresetMode.DISABLED and ended.any():
            observation, _ = self.env.reset(options={"reset_mask": ended})
        return observation, reward, terminated, truncated, valid

    def begins(self, ended: NDArray[np.bool_], valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Where the observation to act on next is the first of an episode."""
        return ~valid if self.mode == AutoresetMode.NEXT_STEP else ended


def _actions(policy: Any, worlds: _Worlds, deterministic: bool) -> Callable[[Any, NDArray[np.bool_]], Any]:
    """What acts: given observations and where episodes begin, actions (W, ...)."""
    if policy == "random":
        if worlds.single:
            return lambda observation, begins: np.asarray(worlds.env.action_space.sample())[None]
        return lambda observation, begins: worlds.env.action_space.sample()
    if hasattr(policy, "predict"):
        memory: list[Any] = [None]

        def act(observation: Any, begins: NDArray[np.bool_]) -> Any:
            action, memory[0] = policy.predict(observation, memory[0], begins, deterministic)
            return action

        return act
    if callable(policy):
        return lambda observation, begins: policy(observation)
    raise SettingError(f"policy must be 'random', an agent with predict(), or a function of observations, found {str(policy)[:60]!r}")


def _columns(worlds: _Worlds, observation: Any, extra: Mapping[str, Callable[[], Any]]) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    """Types and shapes of what is written."""
    found: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
    own: Columns = {
        "action": (worlds.action_space.dtype, worlds.action_space.shape or ()),
        "reward": (np.float32, ()),
        "terminated": (np.bool_, ()),
        "truncated": (np.bool_, ()),
        "episode": (np.int64, ()),
        "step": (np.int32, ()),
    }
    values = {name: _array(value) for name, value in _parts(worlds.space, observation).items()}
    values |= {name: _array(read()) for name, read in extra.items()}
    for name, value in values.items():
        if value.shape[:1] != (worlds.count,):
            raise SettingError(f"column '{name}': expected {worlds.count} worlds, found an array of shape {value.shape}")
        if name in own:
            raise SettingError(f"column '{name}' is written by itself; give the other one another name")
        found[name] = (value.dtype, value.shape[1:])
    return found | {name: (np.dtype(dtype), tuple(shape)) for name, (dtype, shape) in own.items()}


def _parts(space: gym.Space[Any], observation: Any) -> dict[str, NDArray[Any]]:
    """The arrays of an observation by name."""
    if isinstance(observation, Mapping):
        return {name: _array(value) for name, value in observation.items()}
    if isinstance(space, gym.spaces.Tuple):
        raise SettingError("observations to be recorded must be arrays or a Dict of arrays, found a Tuple")
    value = _array(observation)
    return {"image" if value.dtype == np.uint8 and value.ndim == 4 else "state": value}


def _array(value: Any) -> NDArray[Any]:
    return value.numpy(force=True) if isinstance(value, Tensor) else np.asarray(value)


def _batched(observation: Any) -> Any:
    if isinstance(observation, Mapping):
        return {name: _batched(value) for name, value in observation.items()}
    return np.asarray(observation)[None]


@contextlib.contextmanager
def progress_bar(progress: bool, title: str, done: int, samples: int) -> Iterator[Callable[[int], None]]:
    """A progress bar that is told how many samples there are."""
    if not progress:
        yield lambda count: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as display:
        task = display.add_task(title, total=samples, completed=done)
        yield lambda count: display.update(task, completed=count)
