"""What every learning agent is: the interface of Stable-Baselines3, over single and vector Gymnasium environments alike."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import itertools
import logging
import math
import time
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ClassVar, Self, Union, get_args, get_origin, get_type_hints

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from mprl import files, memory
from mprl.agents import checkpoints, spaces, training_state
from mprl.agents.descriptions import describe, in_words, plain, to_space
from mprl.agents.environments import TorchBatch, check_environment, check_seed
from mprl.agents.eyes import Eyes
from mprl.agents.statistics import EpisodeStatistics
from mprl.devices import available
from mprl.errors import CheckpointError, DivergenceError, SettingError, nearest, number
from mprl.nn import schedules, threads
from mprl.perception.plug import Perception, check_perception
from mprl.ranks import ALONE, Ranks

Metrics = dict[str, float]
Callback = Callable[["Agent", Metrics], bool | None]
log = logging.getLogger(__name__)
PRESETS = Path(__file__).with_name("presets")
_BOUNDS: dict[type, float] = {int: 2**31 - 1, float: float(np.finfo(np.float32).max)}  # of settings; nobody means what is larger


class Agent(ABC):
    """An agent that learns by acting in an environment.

    Args:
        env: a Gymnasium environment, single or vector.
        seed: of everything random in the agent, and of the environment's first reset.
        device: where the networks live; by default the environment's.
        perception: a model that makes features of a part of the observation. It learns along, unless it is frozen.
        settings: fields of `Settings`. What is not given comes from the preset for this environment, if there is one.

    Attributes:
        num_timesteps: environment steps learned from so far, over all worlds.
        seconds: spent in `learn` so far.
        config: what `config.json` holds: format, version, agent, env_id, env_kwargs, settings, seed, num_timesteps, spaces.
    """

    name: ClassVar[str]
    Settings: ClassVar[type[Any]]
    action_spaces: ClassVar[tuple[type[gym.Space[Any]], ...]] = spaces.ACTIONS  # in which it can act
    perceives: ClassVar[bool] = False  # whether it can see through a perception model
    distributes: ClassVar[bool] = False  # whether it can learn in several processes
    eyes: Eyes | None = None
    ranks: Ranks = ALONE  # the processes that learn together
    begun_from: str | None = None  # another agent's folder, or a shipped one's name
    batch: Any  # a TorchBatch, or None where there is no environment to learn in
    observation: Any  # to act on next, (W, n); None before the first reset

    @property
    def observation_size(self) -> int:
        """Numbers in a flat observation; of one that is seen through a frozen model, as it is seen."""
        return self.eyes.size if self.eyes is not None and self.eyes.frozen else spaces.size(self.observation_space)

    def __init__(
        self,
        env: Any,
        seed: int = 0,
        device: torch.device | str | None = None,
        perception: Perception | None = None,
        **settings: Any,
    ) -> None:
        if isinstance(env, str):
            raise SettingError(
                f"{type(self).__name__} takes the environment first, found '{env}'; "
                f"write {type(self).__name__}(env, hidden=(256, 256)): there are no policy names"
            )
        check_environment(env)
        check_seed(seed)
        self.batch = None
        chosen = available(device if device is not None else getattr(env.unwrapped, "device", "cpu"))
        batch = self._make_batch(env, chosen)
        spec = env.unwrapped.spec or env.spec
        self.env_id = spec.id if spec is not None else type(env.unwrapped).__name__
        self.env_kwargs = plain(spec.kwargs) if spec is not None else {}
        preset = self.presets(self.env_id)
        own = batch.env
        spaces_of = own.single_observation_space, own.single_action_space
        self._prepare(self._make_settings({**preset, **settings}), seed, chosen, *spaces_of, perception)
        self.set_env(env)

    def _prepare(
        self,
        settings: Any,
        seed: int,
        device: torch.device,
        observation_space: Any,
        action_space: Any,
        perception: Perception | None = None,
    ) -> None:
        self.settings, self.seed, self.device = settings, seed, device
        self.observation_space, self.action_space = observation_space, action_space
        self.eyes = None if perception is None else self._make_eyes(perception).to(device)
        self.num_timesteps = 0
        self.seconds = 0.0
        self._told = False
        self.generator = torch.Generator(device=device).manual_seed(seed)
        spaces.require_actions(action_space, self.action_spaces, self.name)
        self._to_environment = spaces.ToEnvironment(action_space).to(device)
        inputs = self.observation_size if self.eyes is None else self.eyes.size
        sizes = (inputs, *settings.hidden) if hasattr(settings, "hidden") else ()
        numbers = sum(rows * columns for rows, columns in itertools.pairwise(sizes))
        memory.require(16 * numbers, f"a network of {numbers:,} weights, with gradient and moments,", "take fewer units")
        with torch.random.fork_rng(devices=[]):  # weights come from the seed; the caller's generator is left alone
            torch.manual_seed(seed)
            self._build()

    def _make_eyes(self, perception: Perception) -> Eyes:
        if not self.perceives:
            raise SettingError(f"{self.name} learns a table and sees through no perception model; use dqn, ppo, a2c, reinforce or sac")
        check_perception(perception)
        # what learns along is this agent's own
        return Eyes(perception if perception.spec.frozen else copy.deepcopy(perception), self.observation_space)

    @property
    def _learning_eyes(self) -> Eyes | None:
        """The eyes, if they learn along: a part of the networks."""
        return None if self.eyes is None or self.eyes.frozen else self.eyes

    @property
    def _frozen_eyes(self) -> Eyes | None:
        """The eyes, if they do not: a part of the environment."""
        return self.eyes if self.eyes is not None and self.eyes.frozen else None

    @abstractmethod
    def _build(self) -> None:
        """Make the networks and optimisers."""

    @abstractmethod
    def _iteration(self) -> Metrics:
        """Act for a while and learn from it."""

    @abstractmethod
    def _samples_per_iteration(self) -> int:
        """Environment steps an iteration takes."""

    @abstractmethod
    def _choose(self, observation: Tensor, deterministic: bool) -> Tensor:
        """Actions (W, ...) in the environment's units for observations (W, n)."""

    @abstractmethod
    def _networks(self) -> dict[str, nn.Module]:
        """What `save` writes, by name."""

    @abstractmethod
    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """What `save` writes beside them for learning to go on, by name."""

    def _make_batch(self, env: Any, device: torch.device | None = None) -> Any:
        """The worlds of an environment, as this agent sees them."""
        return TorchBatch(env, self.device if device is None else device, self._frozen_eyes)

    def _extra_state(self) -> dict[str, Tensor]:
        """What else learning goes on from, by name: a replay memory, counters."""
        return {}

    def _restore_extra_state(self, tensors: dict[str, Tensor]) -> None:  # noqa: B027
        """Go on from what `_extra_state` returned."""

    @property
    def threads(self) -> int:
        """Torch's threads to learn with."""
        return max([1, *(threads.worth(network, self._minibatch()) for network in self._networks().values())])

    def _minibatch(self) -> int:
        """Samples in one step of the optimiser."""
        return int(getattr(self.settings, "batch_size", 1))

    def act(self, observation: Tensor, deterministic: bool = False) -> Tensor:
        """Actions in the environment's units for flat observations (W, n) on the agent's device."""
        return self._choose(observation, deterministic)

    def act_on(self, observation: Tensor, memory: Any, begins: Any, deterministic: bool = False) -> tuple[Tensor, Any]:
        """As `act`, for agents with a memory too.

        Args:
            observation: (W, n).
            memory: what the call before returned; None: nothing is remembered.
            begins: where the observation is the first of an episode, (W,) bool; None: nowhere.
        """
        return self.act(observation, deterministic), memory

    def policy_module(self) -> nn.Module:
        """The deterministic policy alone: flat observations (B, n) float32 to actions (B, ...) in the environment's units. A copy."""
        raise SettingError(f"the policy of {self.name} cannot be exported")

    def _after_eyes(self, network: nn.Module) -> nn.Module:
        """A network of what the agent keeps of an observation, as one of the observation: frozen eyes are no part of it otherwise."""
        return network if self._frozen_eyes is None else nn.Sequential(self._frozen_eyes, network)

    # --- the interface ------------------------------------------------------------------------------------------------------

    @classmethod
    def presets(cls, env_id: str) -> dict[str, Any]:
        """Tuned settings for an environment id, {} where there are none (`agents/presets/<agent>.toml`)."""
        names = {field.name for field in dataclasses.fields(cls.Settings)}
        return {key: value for key, value in cls._preset(env_id).items() if key in names}

    @classmethod
    def training_preset(cls, env_id: str) -> dict[str, Any]:
        """Tuned `num_envs` and fields of `runs.Plan` for an environment id, {} where there are none."""
        names = {field.name for field in dataclasses.fields(cls.Settings)}
        return {key: value for key, value in cls._preset(env_id).items() if key not in names}

    @classmethod
    def _preset(cls, env_id: str) -> dict[str, Any]:
        path = PRESETS / f"{cls.name}.toml"
        known = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        own = dict(known.get(env_id, {}))
        found = {**known.get(own.pop("like", ""), {}), **own}  # what another environment's preset says, and what differs here
        return {key: None if value == "null" else value for key, value in found.items()}  # TOML has no word for None

    def set_env(self, env: Any) -> None:
        """Learn in this environment from now on; its spaces must be those the agent was made for."""
        batch = self._make_batch(env)
        self.check_spaces(batch.env.single_observation_space, batch.env.single_action_space)
        self.batch = batch
        self.observation = None
        self.statistics = EpisodeStatistics(batch.num_worlds, self.device)

    def join(self, ranks: Ranks, num_worlds: int) -> Self:
        """Learn together with the same agent in other processes, each in worlds of its own. To be called before `learn`.

        From then on `learn` and `save` are to be called by all of them; only rank 0 writes.

        Args:
            ranks: the processes.
            num_worlds: of all of them together.

        Raises:
            SettingError: this kind of agent learns in one process only.
        """
        if ranks.size > 1 and not self.distributes:
            raise SettingError(f"{self.name} learns in one process only; ppo and a2c learn in several")
        self.ranks, self._worlds_of_all = ranks, num_worlds
        if ranks.rank:
            self.generator.manual_seed(self._seed_now())
        return self

    @property
    def num_worlds(self) -> int:
        """Of all ranks."""
        return self.batch.num_worlds if self.ranks.size == 1 else self._worlds_of_all

    def _seed_now(self) -> int:
        """What is random from here on, other than on other ranks and at other moments."""
        place = (self.num_timesteps, self.ranks.rank) if self.ranks.rank else (self.num_timesteps,)
        return int(np.random.SeedSequence((self.seed, *place)).generate_state(1)[0])

    def begin_new_episodes(self) -> None:
        """Reset the environment before the next step is learned from. The seed of the reset follows from `seed` and `num_timesteps`."""
        self.observation = None
        if self.batch is not None:
            self.statistics.cut()

    def _first_observation(self) -> Tensor:
        return self.batch.reset(seed=self._seed_now() if self.num_timesteps or self.ranks.rank else self.seed)

    def crossed(self, every: int) -> bool:
        """Whether the last iteration came to or over a multiple of `every` steps; never if that is 0."""
        return every > 0 and self.num_timesteps // every > (self.num_timesteps - self._samples_per_iteration()) // every

    def check_spaces(self, observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> None:
        """Raise a `CheckpointError` unless these are the spaces that the agent was made for."""
        for what, mine, found in (
            ("observations", self.observation_space, observation_space),
            ("actions", self.action_space, action_space),
        ):
            if mine != found:
                raise CheckpointError(
                    f"this agent was made for {self.env_id} with {what} {in_words(mine)}, the environment has {in_words(found)}"
                )

    def learn(
        self,
        total_timesteps: float | None = None,
        *,
        max_seconds: float | None = None,
        callback: Callback | None = None,
        progress_bar: bool = False,
    ) -> Self:
        """Learn for `total_timesteps` environment steps, counted over all worlds, or until `max_seconds` have passed.

        Args:
            total_timesteps: steps to add to those already learned from.
            max_seconds: wall-clock time after which no new iteration begins.
            callback: called with the agent and the metrics after every iteration; learning stops when it returns False.
            progress_bar: show a live display.

        Raises:
            DivergenceError: what is learned is no longer a number.
        """
        if self.batch is None:
            raise SettingError("this agent has no environment to learn in; load it with load(folder, env) or call set_env(env)")
        if total_timesteps is None and max_seconds is None:
            raise SettingError("learn() needs total_timesteps or max_seconds")
        if callback is not None and not callable(callback):
            raise SettingError(f"callback must be a function of the agent and the metrics, found {callback!r}")
        goal = math.inf if total_timesteps is None else self.num_timesteps + number("total_timesteps", total_timesteps, least=0)
        limit = math.inf if max_seconds is None else number("max_seconds", max_seconds, least=0)
        display = None
        if progress_bar:
            from mprl.agents.progress import ProgressDisplay

            display = ProgressDisplay(None if total_timesteps is None else goal, max_seconds, self.num_timesteps, self.seconds)
        before, began, start = self.seconds, time.perf_counter(), self.num_timesteps
        with contextlib.ExitStack() as stack:
            stack.enter_context(threads.limited(self.threads))
            stack.enter_context(memory.enough("learning", "take fewer worlds, or smaller settings"))
            if display is not None:
                stack.callback(display.close)
            stopped = False
            while not self.ranks.any(stopped or self.num_timesteps >= goal or time.perf_counter() - began >= limit):
                if self.observation is None:
                    self.observation = self._first_observation()
                log = self._iteration()
                self.num_timesteps += self._samples_per_iteration()
                with self.ranks.agreed():
                    self._require_numbers()
                elapsed = time.perf_counter() - began
                self.seconds = before + elapsed
                metrics = {"timesteps": float(self.num_timesteps), **log}
                metrics |= {"time_elapsed": self.seconds, "time_samples_per_second": (self.num_timesteps - start) / elapsed}
                if display is not None:
                    display(self, metrics)
                stopped = callback is not None and stops(callback(self, metrics))
        return self

    def _require_numbers(self) -> None:
        tensors = (value for network in self._networks().values() for value in network.state_dict().values())
        broken = [value.isnan().any() for value in tensors if value.is_floating_point() and value.device == self.device]
        if broken and torch.stack(broken).any():
            raise DivergenceError(
                f"learning broke down within {self.num_timesteps:,} steps: what was learned is no longer a number; "
                "take a smaller learning_rate, or look for rewards and observations that are not finite"
            )

    def predict(self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False) -> tuple[Any, Any]:
        """Actions for one observation or a batch of them, and the state after them, which is for the next call.

        Args:
            observation: one, or a batch with one more dimension; NumPy in, NumPy out, torch in, torch out.
            state: what an agent with a memory remembers; None: nothing, as when an episode begins. Others give it back as it is.
            episode_start: where the observation is the first of an episode, (W,) bool, and all before it is to be forgotten.
            deterministic: the likeliest action rather than a random one.
        """
        is_tensor = isinstance(observation, Tensor)
        rows, single = spaces.batched(self.observation_space, observation)
        flat = spaces.flatten(self.observation_space, rows, self.device)
        if self._frozen_eyes is not None:
            flat = self._frozen_eyes(flat)
        action, state = self.act_on(flat, state, episode_start, deterministic)
        action = action[0] if single else action
        if is_tensor:
            return action, state
        if isinstance(state, tuple):
            state = tuple(part.numpy(force=True) if isinstance(part, Tensor) else part for part in state)
        return action.cpu().numpy().astype(self.action_space.dtype), state

    @property
    def config(self) -> dict[str, Any]:
        return {
            "format": "mprl-agent",
            "version": files.VERSION,
            "agent": self.name,
            "env_id": self.env_id,
            "env_kwargs": self.env_kwargs,
            "num_envs": self.num_worlds if self.batch is not None else None,
            "seed": self.seed,
            "num_timesteps": self.num_timesteps,
            "settings": dataclasses.asdict(self.settings),
            "observation_space": describe(self.observation_space),
            "action_space": describe(self.action_space),
            **({} if self.eyes is None else {"perception": self.eyes.perception.config()}),
            **({} if self.begun_from is None else {"begun_from": self.begun_from}),
        }

    def _saved_networks(self) -> dict[str, nn.Module]:
        """What `save` writes, by name: with the eyes, where they are no part of the networks."""
        return self._networks() | ({} if self._frozen_eyes is None else {"eyes": self._frozen_eyes})

    def _weights(self) -> dict[str, Tensor]:
        """Those of the networks, by the names that they are saved under; what is written into them counts."""
        return {f"{name}.{key}": value for name, net in self._saved_networks().items() for key, value in net.state_dict().items()}

    def save(self, folder: str | Path, training: bool = False) -> Path:
        """Write `config.json` and `weights.safetensors` into a folder. A kill at any moment leaves the old or the new files.

        Args:
            folder: made if missing.
            training: also write `training.safetensors` and `training.json`, from which `load(folder, env)` learns on as if it had
                never stopped: bit for bit on a CPU with as many threads of torch. The environment's state is in them where it offers
                `get_state()` and `set_state(state)`, dicts of tensors or arrays. Any other environment is reset after every such save,
                here and after `load` alike.
        """
        folder = files.as_folder(folder)
        weights, state, others = self._weights(), None, []
        if training:
            if self.batch is None:
                raise SettingError("this agent has no environment to learn in: save it without training=True")
            if not self.batch.has_state:
                if not self._told:
                    log.info("%s has no get_state() and set_state(): it is reset at every checkpoint, to go on exactly", self.env_id)
                    self._told = True
                self.begin_new_episodes()
            state = training_state.collect(self)
            if self.ranks.size > 1:
                others = self.ranks.collect(b"".join(files.tensor_chunks(training_state.of_rank(state[0]))))
        return folder if self.ranks.rank else checkpoints.write(folder, self.config, weights, state, others)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        env: Any = None,
        device: torch.device | str = "cpu",
        training: bool = True,
        network: nn.Module | None = None,
        ranks: Ranks = ALONE,
    ) -> Self:
        """Read what `save` wrote. Without `env` the agent can predict; with one it can also learn on.

        Args:
            folder: a saved agent, or the name of a shipped one (`mprl list trained`), which learns on with a new value network.
            env: to learn on in. Where the folder was saved with `training=True` this goes on exactly, in an environment made like
                the one before; otherwise with new episodes and a new optimiser.
            device: where the networks live.
            training: False leaves the state of learning aside: to go on in another environment, or with other worlds.
            network: of an agent that sees through a network of your own, one of the same architecture; its weights are replaced.
            ranks: the processes that learn on together. As many as saved it go on exactly; others begin new episodes.

        Raises:
            CheckpointError: missing, broken, of another agent, or of another environment than `env`.
        """
        device = available(device)
        folder = files.as_folder(folder)
        config, weights = checkpoints.read(folder, device)
        if config["agent"] != cls.name:
            raise CheckpointError(f"{folder}: holds an agent '{config['agent']}', expected '{cls.name}'")
        agent = cls.__new__(cls)
        agent.batch, agent.observation = None, None
        agent.env_id, agent.env_kwargs = config["env_id"], config["env_kwargs"]
        try:
            observation_space, action_space = to_space(config["observation_space"]), to_space(config["action_space"])
            settings = cls._make_settings(config["settings"])
            seen = config.get("perception")
            perception = None if seen is None else Perception.from_config(seen, network)
            agent._prepare(settings, config["seed"], device, observation_space, action_space, perception)
            agent.num_timesteps, agent.begun_from = config["num_timesteps"], config.get("begun_from")
            for name, net in agent._saved_networks().items():
                own = {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}
                left_out = tuple(f"{part}." for part in config.get("left_out", ()))  # it learns these anew, if it learns at all
                net.load_state_dict(own | {key: value for key, value in net.state_dict().items() if f"{name}.{key}".startswith(left_out)})
        except (KeyError, TypeError, ValueError, RuntimeError, AssertionError, OverflowError) as error:  # Gymnasium's spaces assert
            what = " ".join(str(error).split())[:160]
            raise CheckpointError(f"{folder}: config.json and weights.safetensors do not fit together: {what}") from None
        if env is not None:
            state = checkpoints.read_training(folder, ranks.rank) if training else None
            try:
                agent.set_env(env)
                agent.join(ranks, config["num_envs"])
                if state is not None:
                    training_state.restore(agent, *state)
            except CheckpointError as error:
                raise CheckpointError(f"{folder}: {error}") from None
        return agent

    def begin_from(self, folder: str | Path) -> Self:
        """Take over what a saved agent has learned, in place of random weights: to learn on in another environment, with other settings.

        Noise of the actions that is learned comes along; where settings say what it is, they go on doing so, from the beginning of their
        schedule.

        Args:
            folder: of an agent of the same kind, with the same networks, or the name of a shipped one.

        Raises:
            CheckpointError: missing, broken, or of another agent, other spaces or other networks.
        """
        folder = files.as_folder(folder)
        other = self.load(folder, device=self.device)
        ours, theirs = self._weights(), other._weights()
        try:
            other.check_spaces(self.observation_space, self.action_space)
            kinds = [(name, *(getattr(agent.settings, name, None) for agent in (other, self))) for name in ("activation", "recurrent")]
            kinds += [
                (key, *(tuple(each[key].shape) if key in each else None for each in (theirs, ours))) for key in sorted({*ours, *theirs})
            ]
            for what, there, here in kinds:
                if there != here:
                    raise CheckpointError(f"its networks are others ({what} {there}, here {here}): take its settings (config.json)")
        except CheckpointError as error:
            raise CheckpointError(f"{folder}: {error}") from None
        for key, value in ours.items():
            if key not in self._set_by_settings():
                value.copy_(theirs[key])
        self.begun_from = str(folder)
        return self

    def _set_by_settings(self) -> Collection[str]:
        """What is saved with the weights, by name, but not learned."""
        return ()

    @classmethod
    def _make_settings(cls, settings: dict[str, Any]) -> Any:
        kinds = get_type_hints(cls.Settings)
        for name in settings:
            if name not in kinds:
                raise SettingError(f"{cls.name} has no setting '{name}'{nearest(name, kinds)}")
        return cls.Settings(**{name: _setting(name, value, kinds[name]) for name, value in settings.items()})


def stops(answer: Any) -> bool:
    """Whether a callback's answer ends learning: False, Python's or NumPy's; None, where nothing is returned, does not."""
    return answer is not None and not answer


def _setting(name: str, value: Any, kind: Any) -> Any:
    """A setting's value as its declared type (a number or a schedule for `Scheduled`); NumPy's numbers and JSON's lists are welcome."""
    if get_origin(kind) in (Union, UnionType):
        if value is None and NoneType in get_args(kind):
            return None
        if isinstance(value, str) and str in get_args(kind):
            try:
                numbers = schedules.bounds(value)
            except SettingError as error:
                raise SettingError(f"{name}: {error}") from None
            for number in numbers:
                _setting(name, number, float)
            return value
        kind = next(k for k in get_args(kind) if k is not NoneType)
    if get_origin(kind) is tuple and isinstance(value, list | tuple):
        return tuple(_setting(name, v, get_args(kind)[0]) for v in value)
    is_flag = isinstance(value, bool | np.bool_)
    if kind in _BOUNDS and isinstance(value, Real) and not is_flag:
        number = int(value) if isinstance(value, Integral) else float(value)
        if _BOUNDS[kind] < abs(number) < math.inf:
            raise SettingError(f"{name} must be at most {_BOUNDS[kind]:.10g} in size, found {str(number)[:20]}")
        if kind is int and isinstance(number, int):
            return number
        if kind is float and math.isfinite(number):
            return float(number)
    elif kind not in _BOUNDS and get_origin(kind) is None and isinstance(value, kind) and (kind is bool or not is_flag):
        return value
    expected = {int: "a whole number", float: "a finite number", bool: "True or False", str: "a name"}.get(kind, "a list of whole numbers")
    raise SettingError(f"{name} must be {expected}, found {value!r}")
