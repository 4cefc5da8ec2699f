"""What agents share that learn from a replay memory: settings, acting, remembering, and when to learn."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from mprl.agents.agent import Agent, Metrics
from mprl.agents.eyes import Eyes
from mprl.agents.n_step import NStep, Steps
from mprl.agents.replay import PrioritizedReplay, Replay, Transitions
from mprl.errors import SettingError
from mprl.nn import averaging, precision, schedules
from mprl.nn.mlp import ACTIVATIONS
from mprl.nn.schedules import Scheduled
from mprl.perception.plug import Perception

Behaviour = Callable[[int, Tensor], Tensor]


@dataclass(frozen=True)
class OffPolicySettings:
    """Settings that these agents share."""

    learning_rate: Scheduled = 3e-4
    """Adam's step size."""
    buffer_size: int = 1_000_000
    """Transitions that the replay memory holds."""
    learning_starts: int = 100
    """Environment steps, over all worlds, of random actions before the first gradient step."""
    batch_size: int = 256
    """Transitions in a minibatch."""
    gamma: float = 0.99
    """Discount of the future."""
    train_freq: int = 1
    """Steps in every world between two times of learning."""
    gradient_steps: int = 1
    """Gradient steps each time; -1: as many as there were environment steps since the last time."""
    n_step: int = 1
    """Steps of a transition: rewards of so many are added up before a value is trusted."""
    hidden: tuple[int, ...] = (256, 256)
    """Sizes of the hidden layers."""
    activation: str = "relu"
    """elu, relu, tanh or silu."""
    precision: str = "float32"
    """float32; bfloat16 for the hidden layers, faster on processors that have it; auto: as the processor has it."""
    iteration_steps: int = 1000
    """Environment steps, over all worlds, of an iteration: of what metrics are means. Rounded up to times of learning."""
    averaging: str = "none"
    """Average of the weights that the agent is judged by: none; ema 0.995, with corrected behind it or not; swa 50000 (from this step)."""
    shift: int = 0
    """Pixels by which pictures are moved at random, on each axis, before they are learned from (DrQ, arXiv 2004.13649)."""

    _positive: ClassVar[tuple[str, ...]] = ("buffer_size", "batch_size", "train_freq", "n_step", "iteration_steps")
    _positive_schedules: ClassVar[tuple[str, ...]] = ("learning_rate",)
    _fractions: ClassVar[tuple[str, ...]] = ("gamma",)

    def __post_init__(self) -> None:
        for name in self._positive:
            if not getattr(self, name) > 0:
                raise SettingError(f"{name} must be positive, found {getattr(self, name)}")
        for name in self._positive_schedules:
            least, greatest = schedules.bounds(getattr(self, name))
            if not (least >= 0 < greatest):
                raise SettingError(f"{name} must be positive, found {getattr(self, name)}")
        for name in self._fractions:
            least, greatest = schedules.bounds(getattr(self, name))
            if not (least >= 0 and greatest <= 1):
                raise SettingError(f"{name} must be in [0, 1], found {getattr(self, name)}")
        if self.shift < 0:
            raise SettingError(f"shift must be at least 0 pixels, found {self.shift}")
        if self.learning_starts < 0:
            raise SettingError(f"learning_starts must be at least 0, found {self.learning_starts}")
        if self.gradient_steps != -1 and self.gradient_steps < 1:
            raise SettingError(f"gradient_steps must be positive, or -1 for one each environment step, found {self.gradient_steps}")
        if self.learning_starts > self.buffer_size:
            raise SettingError(f"learning_starts {self.learning_starts} is above buffer_size {self.buffer_size}: it would never be reached")
        if any(size < 1 for size in self.hidden):
            raise SettingError(f"hidden must be sizes of at least 1, found {self.hidden}")
        if self.activation not in ACTIVATIONS:
            raise SettingError(f"activation must be one of {', '.join(ACTIVATIONS)}, found '{self.activation}'")
        if self.precision not in precision.PRECISIONS:
            raise SettingError(f"precision must be one of {', '.join(precision.PRECISIONS)}, found '{self.precision}'")
        averaging.parse(self.averaging)


class OffPolicyAgent(Agent):
    """An agent that acts a little, remembers it, and learns from what it draws out of its memory.

    Attributes:
        replay: what it remembers; None as long as there is no environment to learn in.
    """

    settings: Any
    perceives = True
    replay: Any  # a Replay

    def _prepare(self, *args: Any) -> None:
        super()._prepare(*args)
        self.replay = None
        self._windows = NStep(self.settings.n_step, self.settings.gamma)
        self._draws = torch.Generator().manual_seed(self.seed)  # what is drawn from the memory; on the CPU, as it is

    def set_env(self, env: Any) -> None:
        self._close_windows()
        super().set_env(env)
        if self.replay is None:
            self.replay = self._make_replay()

    def _make_replay(self) -> Replay:
        s = self.settings
        bytes_only = self.observation_space.dtype == np.uint8 and self._frozen_eyes is None  # features are floats
        kept = torch.uint8 if bytes_only else torch.float32
        kinds = (s.buffer_size, self.observation_size, *self._action_kind(), kept)
        alpha = getattr(s, "prioritized", False) and s.prioritized_alpha
        return PrioritizedReplay(*kinds, alpha=alpha) if alpha else Replay(*kinds)

    def begin_new_episodes(self) -> None:
        super().begin_new_episodes()
        self._close_windows()

    def _make_eyes(self, perception: Perception) -> Eyes:
        eyes = super()._make_eyes(perception)
        if self.settings.shift and (eyes.frozen or not perception.spec.image):
            raise SettingError("shift moves pictures before eyes that learn: this perception model is frozen, or reads no pictures")
        return eyes

    def _augmented(self, drawn: Transitions) -> Transitions:
        """Transitions whose pictures are moved at random, those before and those after each by its own draw."""
        if self.settings.shift == 0 or self.eyes is None:
            return drawn
        moved = {
            field: self.eyes.shifted(getattr(drawn, field), self.settings.shift, self.generator)
            for field in ("observation", "next_observation")
        }
        return drawn._replace(**moved)

    def _close_windows(self) -> None:
        left = self._windows.cut()
        if left is not None and self.replay is not None:
            self.replay.add(left)

    @abstractmethod
    def _action_kind(self) -> tuple[tuple[int, ...], torch.dtype]:
        """Shape and type of an action as it is remembered."""

    @abstractmethod
    def _behaviour(self, steps: int, random: bool) -> Behaviour:
        """How to act for so many steps: a function of which step it is and the observation (W, n); wholly at random if so wanted."""

    @abstractmethod
    def _improve(self, gradient_steps: int) -> None:
        """Take gradient steps, and note down what the metrics are made of."""

    @abstractmethod
    def _take_metrics(self) -> Metrics:
        """Of the iteration, and begin with those of the next."""

    # --- an iteration -------------------------------------------------------------------------------------------------------

    def _blocks(self) -> int:
        """Times of acting and learning in an iteration."""
        return -(-self.settings.iteration_steps // (self.settings.train_freq * self.batch.num_worlds))

    def _samples_per_iteration(self) -> int:
        return self._blocks() * self.settings.train_freq * self.batch.num_worlds

    def _iteration(self) -> Metrics:
        s, worlds = self.settings, self.batch.num_worlds
        spent = [0.0, 0.0]
        taken: list[Steps] = []
        self.steps = self.num_timesteps  # as of now, within the iteration too
        for _ in range(self._blocks()):
            began = time.perf_counter()
            taken.append(self._act(s.train_freq))
            self.replay.add(self._windows.add(taken[-1]))
            self.steps += s.train_freq * worlds
            acted = time.perf_counter()
            if self.steps >= s.learning_starts and self.replay.size:
                self._improve(s.gradient_steps if s.gradient_steps > 0 else s.train_freq * worlds)
            spent[0] += acted - began
            spent[1] += time.perf_counter() - acted
        kinds = zip(*((step.reward, step.terminated, step.truncated, step.valid) for step in taken), strict=True)
        self.statistics.add(*(torch.cat(kind) for kind in kinds))
        log = self.statistics.take() | self._take_metrics()
        return log | {"replay_size": float(self.replay.size), "time_acting": spent[0], "time_learning": spent[1]}

    def _act(self, steps: int) -> Steps:
        batch, observation = self.batch, self.observation
        behave = self._behaviour(steps, random=self.steps < self.settings.learning_starts)
        tensors: list[tuple[Tensor, Tensor, Tensor]] = []
        arrays: list[tuple[Any, Any, Any, Any]] = []
        for t in range(steps):
            action = behave(t, observation)
            own = self._to_environment.forward(action)
            step = batch.raw_step(own if batch.output == "torch" else own.cpu().numpy())
            following = batch.observation(step.observation)
            successor = following if step.final_observation is None else batch.observation(step.final_observation)
            tensors.append((observation, action, successor))
            arrays.append((step.reward, step.terminated, step.truncated, step.valid))
            if step.info:
                self.statistics.add_info(batch.as_tensors(step))
            observation = following
        self.observation = observation
        seen, done, led_to = map(torch.stack, zip(*tensors, strict=True))
        reward, terminated, truncated, valid = (self._stack(column) for column in zip(*arrays, strict=True))
        return Steps(seen, done, reward.float(), terminated, truncated, valid, led_to)

    def _stack(self, arrays: Sequence[Any]) -> Tensor:
        """Arrays or tensors (W,) of T steps, (T, W)."""
        if isinstance(arrays[0], Tensor):
            return torch.stack(tuple(arrays))
        return torch.from_numpy(np.concatenate(arrays)).view(len(arrays), -1).to(self.device)

    def _minibatch(self) -> int:
        # What is learned from is valued twice, now and as a target, so that two threads pay for smaller minibatches too: with 64
        # transitions and 256 x 256 weights a gradient step of DQN takes three quarters of the time.
        return 2 * self.settings.batch_size

    def _scheduled(self, name: str) -> float:
        """A setting that may follow a schedule, as of now."""
        return schedules.value(getattr(self.settings, name), self.steps)

    # --- going on exactly ---------------------------------------------------------------------------------------------------

    def _extra_state(self) -> dict[str, Tensor]:
        replay = {f"replay.{key}": value for key, value in self.replay.get_state().items()}
        return {**replay, **{f"waiting.{key}": value for key, value in self._windows.get_state().items()}, "draws": self._draws.get_state()}

    def _restore_extra_state(self, tensors: dict[str, Tensor]) -> None:
        part = lambda name: {key.removeprefix(name): value for key, value in tensors.items() if key.startswith(name)}  # noqa: E731
        self.replay.set_state(part("replay."))
        self._windows.set_state(part("waiting."))
        self._draws.set_state(tensors["draws"])
