"""What `mprl play` shows: a simulated character beside its reference, or the pictures of any other environment."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from mprl.agents import Agent
from mprl.agents.environments import TorchBatch
from mprl.agents.evaluation import FILM, Player, _picture
from mprl.errors import SettingError


class Blind:
    """A policy that does not look: actions of zero, or uniformly random ones (normally distributed where a space has no bounds).

    Args:
        space: of one world's actions.
        kind: "zero" or "random".
        seed: of the random ones.
    """

    def __init__(self, space: gym.Space[Any], kind: str, seed: int = 0) -> None:
        self._space, self._zero = space, kind == "zero"
        space.seed(seed)

    def __call__(self, observation: Any) -> torch.Tensor:
        """For any observation of one world the action, (1, ...)."""
        drawn = np.asarray(self._space.sample())
        if self._zero:
            drawn = np.zeros_like(drawn)
            if isinstance(self._space, gym.spaces.Box):  # or what is nearest to it
                drawn = np.clip(drawn, self._space.low, self._space.high)
            elif isinstance(self._space, gym.spaces.Discrete):
                drawn = np.asarray(self._space.start)
        return torch.from_numpy(np.array(drawn)[None])


class Simulated:
    """A character that imitates a motion."""

    def __init__(self, env: Any, who: Agent | Blind, name: str, seed: int) -> None:
        from mprl.envs.imitation.played import Played

        policy = who if isinstance(who, Blind) else Player(who, who._make_batch(env).observation)
        self._name, self.played, self._env = name, Played(env.unwrapped, policy, seed), env

    def live(self, port: int | None) -> Any:
        """A server with it."""
        from mprl.envs.imitation.live import LivePlay

        return LivePlay(self.played, self._name, port)

    def page(self, path: Path, seconds: float) -> None:
        """Write an episode as a page."""
        from mprl.envs.imitation.played import record, scene_of
        from mprl.motion import viewing

        scene = scene_of(self.played, record(self.played, seconds), self._name)
        viewing.write(scene, path, f"{self._name} · {self.played.name}")

    def film(self, path: Path, seconds: float) -> None:
        """Write an episode as a film."""
        from mprl.envs.imitation.film import Film

        film = Film(self.played.envs, path, *self.played.envs._render_size)
        moment = self.played.reset()
        film()
        for _ in range(max(1, round(seconds / self.played.control_step))):
            moment = self.played.step()
            film()
            if moment.ended:
                break
        film.write()

    def close(self) -> None:
        """Free the worlds."""
        self.played.close()
        self._env.close()


class Drawn:
    """An environment that draws itself, made with `render_mode="rgb_array"` and one world."""

    def __init__(self, env: Any, who: Agent | Blind, name: str, seed: int) -> None:
        self._env, self._who, self._name = env, who, name
        self._batch = TorchBatch(env) if isinstance(who, Blind) else who._make_batch(env)
        self._observation = self._batch.reset(seed=seed)
        self._memory, self._begins = None, np.ones(1, bool)
        self.rate = float(env.metadata.get("render_fps") or 30)

    def step(self) -> tuple[NDArray[np.uint8], float, bool]:
        """Act once: the picture before, the reward, and whether an episode ended."""
        picture = np.asarray(_picture(self._env))
        if isinstance(self._who, Blind):
            action = self._who(self._observation)
        else:
            action, self._memory = self._who.act_on(self._observation, self._memory, self._begins, deterministic=True)
        step = self._batch.step(action)
        self._observation, self._begins = step.observation, step.begins
        return picture, float(step.reward[0]), bool((step.terminated | step.truncated)[0])

    def live(self, port: int | None) -> Any:
        """A server with it."""
        from mprl.motion.viewing.pictures import LivePictures

        return LivePictures(self.step, self.rate, self._name, port)

    def page(self, path: Path, seconds: float) -> None:
        """There is none.

        Raises:
            SettingError: always.
        """
        raise SettingError(f"{path}: a page shows simulated characters, and {self._name} has only pictures; film it with --video")

    def film(self, path: Path, seconds: float) -> None:
        """Write an episode as a film."""
        from mprl.simulation.video import write_video

        frames: list[NDArray[np.uint8]] = []
        ended = False
        while not ended and len(frames) < min(FILM, math.ceil(seconds * self.rate)):
            picture, _, ended = self.step()
            frames.append(picture)
        write_video(path, frames, self.rate)

    def close(self) -> None:
        """Free the worlds."""
        self._env.close()
