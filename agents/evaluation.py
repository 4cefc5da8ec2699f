"""Judging a trained agent: `evaluate` is the Python twin of `mprl evaluate`."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from mprl.agents.agent import Agent
from mprl.agents.environments import check_environment, check_seed
from mprl.errors import RenderingError, SettingError, number

log = logging.getLogger(__name__)

LONGEST = 10_000  # steps of an episode in an environment that sets no limit of its own
FILM = 2_000  # pictures in a film at most: they are all kept in memory


def evaluate(
    agent: Agent,
    env: Any,
    episodes: int = 32,
    seed: int = 0,
    video: str | Path | None = None,
    max_episode_steps: int | None = None,
) -> dict[str, Any]:
    """Play deterministic episodes and measure them.

    An environment that knows how it wants to be judged (a method `evaluate(policy, episodes, seed, video)`; `mprl/DeepMimic-v0`
    has one) judges; any other is played for its return.

    Args:
        agent: whose likeliest actions are played.
        env: single or vector.
        episodes: how many.
        seed: of the environment.
        video: write the first episode to this .mp4, its first 2 000 steps at most; other environments than ours need
            `render_mode="rgb_array"`.
        max_episode_steps: a longer episode is cut off there and counted with what it earned until then, since a policy that does not
            explore may never come to an end; by default 10 000, or as many as the environment is registered with, if those are more.
            An environment that judges keeps to its own.

    Returns:
        `env_id`, `agent`, `episodes`, `return_mean`, `return_std`, `length_mean`, and what the environment adds; where episodes were
        cut off, their number as `episodes_cut_off`.
    """
    episodes = number("episodes", episodes, least=1, whole=True)
    if max_episode_steps is not None:
        number("max_episode_steps", max_episode_steps, least=1)
    if not isinstance(agent, Agent):
        raise SettingError(f"evaluate takes an agent first, found a {type(agent).__name__}")
    check_environment(env)
    check_seed(seed)
    agent.check_spaces(*_spaces(env))
    identity = {"env_id": agent.env_id, "agent": agent.name, "num_timesteps": agent.num_timesteps, "seed": seed}
    own = getattr(env.unwrapped, "evaluate", None)
    if own is not None and _spaces(env.unwrapped) == _spaces(env):  # it plays itself, without wrappers that show something else
        return {**identity, **own(Player(agent, agent._make_batch(env).observation), episodes, seed, video)}
    return {**identity, **play(agent, env, episodes, seed, video, max_episode_steps)}


def _spaces(env: Any) -> tuple[Any, ...]:
    """Of one world: of observations, and of actions."""
    return tuple(getattr(env, f"single_{what}", None) or getattr(env, what) for what in ("observation_space", "action_space"))


class Player:
    """An agent's deterministic policy as an environment plays it that judges by itself: observations of W worlds -> actions (W, ...).

    The environment calls `reset()` where episodes begin in all worlds. An agent with a memory cannot be played by one that does not.

    Args:
        agent: who plays.
        see: from the environment's observations to what the agent acts on, (W, n).
    """

    def __init__(self, agent: Agent, see: Callable[[Any], Tensor]) -> None:
        self.agent = agent
        self._see = see
        self._memory: Any = None
        self._told = False

    def reset(self) -> None:
        """Forget what was before."""
        self._memory, self._told = None, True

    def __call__(self, observation: Any) -> Tensor:
        action, self._memory = self.agent.act_on(self._see(observation), self._memory, None, deterministic=True)
        if self._memory is not None and not self._told:
            raise SettingError(f"{self.agent.env_id} cannot judge an agent with a memory: its evaluate() does not call policy.reset()")
        return action


def score(results: Mapping[str, Any]) -> float:
    """The one number that agents are compared by: the normalised return where the environment gives one, else the mean return."""
    return float(next(results[key] for key in ("normalized_return", "return_mean") if key in results))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Within, what an environment logs when it is made is not printed: it was when learning began."""
    log = logging.getLogger("mprl")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def play(
    agent: Agent, env: Any, episodes: int, seed: int, video: str | Path | None = None, max_episode_steps: int | None = None
) -> dict[str, Any]:
    """Play deterministic episodes for their return alone, whatever else the environment could tell: see `evaluate`."""
    spec = env.spec or env.unwrapped.spec
    longest = max_episode_steps or max(LONGEST, getattr(spec, "max_episode_steps", None) or 0)
    batch = agent._make_batch(env)
    # every world plays its share, so that short episodes are not preferred to long ones
    share = torch.full((batch.num_worlds,), episodes // batch.num_worlds)
    share[: episodes % batch.num_worlds] += 1
    returns, lengths = torch.zeros(batch.num_worlds), torch.zeros(batch.num_worlds)
    stuck = torch.zeros(batch.num_worlds, dtype=torch.bool)  # in an episode that was cut off: it waits for all to be reset
    done_returns: list[float] = []
    done_lengths: list[float] = []
    cut_off = 0
    frames: list[Any] = []
    filming = video is not None
    observation = batch.reset(seed=seed)
    memory, begins = None, np.ones(batch.num_worlds, bool)
    while (share > 0).any():
        if not ((share > 0) & ~stuck).any():
            observation, begins = batch.reset(), np.ones(batch.num_worlds, bool)
            stuck, returns, lengths = torch.zeros_like(stuck), torch.zeros_like(returns), torch.zeros_like(lengths)
        if filming:
            frames.append(_picture(env))
        action, memory = agent.act_on(observation, memory, begins, deterministic=True)
        step = batch.step(action)
        returns += torch.as_tensor(step.reward).cpu()
        lengths += torch.as_tensor(step.valid).cpu()
        ended = torch.as_tensor(step.terminated | step.truncated).cpu()
        too_long = (lengths >= longest) & (share > 0) & ~ended & ~stuck
        for world in (ended | too_long).nonzero().flatten().tolist():
            if share[world] > 0 and not stuck[world]:
                done_returns.append(float(returns[world]))
                done_lengths.append(float(lengths[world]))
                share[world] -= 1
            returns[world] = lengths[world] = 0.0
        stuck = (stuck | too_long) & ~ended
        cut_off += int(too_long.sum())
        filming = filming and len(frames) < FILM and not (ended | too_long)[0]  # the first world is the one in the picture
        observation, begins = step.observation, step.begins
    if cut_off:
        log.warning("%s of %s episodes did not end within %s steps: they were cut off there", cut_off, episodes, f"{longest:,}")
    if agent.batch is not None and agent.batch.unwrapped is batch.unwrapped:
        agent.begin_new_episodes()
    if video is not None:
        from mprl.simulation.video import write_video

        write_video(video, frames, env.metadata.get("render_fps", 30))
    values = torch.tensor(done_returns)
    return {
        "episodes": episodes,
        "return_mean": float(values.mean()),
        "return_std": float(values.std(correction=0)),
        "length_mean": float(torch.tensor(done_lengths).mean()),
        **({"episodes_cut_off": cut_off} if cut_off else {}),
    }


def _picture(env: gym.Env[Any, Any]) -> Any:
    from mprl.simulation.rendering import prepare_gymnasium  # imports MuJoCo

    prepare_gymnasium(env)
    try:
        frame: Any = env.render()
    except gym.error.DependencyNotInstalled as error:
        raise RenderingError(f"a video cannot be made: {' '.join(str(error).split())}") from None
    if isinstance(frame, tuple | list):
        frame = frame[0]
    if frame is None or isinstance(frame, Tensor | str) or getattr(frame, "ndim", 0) != 3:
        raise RenderingError("a video needs pictures: make the environment with render_mode='rgb_array'")
    return frame
