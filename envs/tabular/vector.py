"""Thousands of copies of a tabular environment, stepped together from its table of transitions.

    envs = TabularVectorEnv.from_env("CliffWalking-v1", num_envs=4096)       # any environment with P and initial_state_distrib
    envs = gymnasium.make_vec("mprl/Cliff-v0", num_envs=4096)                # ours are this by themselves

There is no Python loop over the copies: the transitions lie in arrays, and one random number per copy and step chooses among them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, get_type_hints

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit
from numpy.typing import ArrayLike, NDArray

from mprl.envs.tabular.tabular import Outcome, TabularEnv
from mprl.envs.tabular.transitions import Transitions
from mprl.errors import ActionError, SettingError, unknown_name
from mprl.generators import generator_state, set_generator_state

Dynamics = Mapping[int, Mapping[int, Sequence[Outcome]]]
RENDERED = 9  # copies at most
# what a batch says of its environment as the environment does
_TOLD = ("available", "desc", "moves", "ncol", "nrow", "observations", "reward_std", "shape", "terminal")

_MODES = {name: mode for mode in AutoresetMode for name in (mode.name, mode.value)}
_HARMLESS = (OrderEnforcing, PassiveEnvChecker, TimeLimit)  # wrappers of which nothing is lost


class TabularVectorEnv(gym.vector.VectorEnv[NDArray[np.int64], NDArray[np.int64], Any]):
    """W copies of an environment that is known by its transitions.

    Observations are states, (W,) int64, rewards (W,) float64, terminated and truncated (W,) bool; every step gives new arrays.
    Where an episode ended under SAME_STEP, `info` has `final_obs`, (W,) int64: what every copy's step led to, and the mask
    `_final_obs`. `reset(options={"reset_mask": mask})` resets only some copies.

    Attributes:
        P, initial_state_distrib: the environment's; so are `shape`, `desc`, `available`, ... where it has them.
        max_episode_steps: until truncation, or None.

    Args:
        model: an environment (single, unwrapped) with `P` and `initial_state_distrib`, or a `P`:
            `P[state][action] = [(probability, next state, reward, terminated), ...]`.
        num_envs: W.
        max_episode_steps: steps after which an episode is truncated; None: never.
        autoreset_mode: SAME_STEP, NEXT_STEP or DISABLED.
        initial_state_distrib: with a `P`: probability of each state to be the first, (S,).

    Raises:
        SettingError: no `P`, probabilities that do not sum to one (which), or no states to start in.
    """

    def __init__(
        self,
        model: Any,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        initial_state_distrib: ArrayLike | None = None,
    ) -> None:
        if num_envs < 1 or (max_episode_steps is not None and max_episode_steps < 1):
            raise SettingError(f"num_envs and max_episode_steps must be at least 1, found {num_envs} and {max_episode_steps}")
        self.model = model
        self.metadata = {**getattr(model, "metadata", {})}
        self.set_autoreset_mode(autoreset_mode)
        self.render_mode = getattr(model, "render_mode", None)
        self.num_envs, self.max_episode_steps = num_envs, max_episode_steps
        self._transitions = Transitions(_dynamics(model))
        self.initial_state_distrib = _start(model, initial_state_distrib)
        self._start = _Start(self.initial_state_distrib, self._transitions.num_states)
        self._deviation = None if getattr(model, "reward_std", None) is None else model.reward_std.ravel()
        self._seen_as: NDArray[np.int64] | None = getattr(model, "observations", None)

        if isinstance(model, gym.Env):
            self.single_observation_space, self.single_action_space = model.observation_space, model.action_space
        else:
            self.single_observation_space = gym.spaces.Discrete(self._transitions.num_states)
            self.single_action_space = gym.spaces.Discrete(self._transitions.num_actions)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._state = np.zeros(num_envs, dtype=np.int64)
        self._elapsed = np.zeros(num_envs, dtype=np.int64)
        self._pending = np.zeros(num_envs, dtype=bool)  # ended, and not reset yet: of NEXT_STEP
        self._ready = False

    @classmethod
    def from_env(
        cls,
        env: gym.Env[Any, Any] | str,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        **settings: Any,
    ) -> Self:
        """The batch of any Gymnasium environment with `P` and `initial_state_distrib`: FrozenLake, Taxi, CliffWalking, ...

        Args:
            env: made by `gymnasium.make`, or the id of a registered one.
            num_envs: number of copies.
            max_episode_steps: until truncation; by default what the environment is registered with.
            autoreset_mode: SAME_STEP, NEXT_STEP or DISABLED.
            settings: keyword arguments of the environment, with an id.

        Raises:
            SettingError: the environment has no transitions, more than these, or a wrapper that a batch would not have.
        """
        if isinstance(env, str):
            env = gym.make(env, **settings)
        wrapper = env
        while isinstance(wrapper, gym.Wrapper):
            if not isinstance(wrapper, _HARMLESS):
                raise SettingError(
                    f"{_name(env)}: the wrapper {type(wrapper).__name__} would be lost in a batch; give the environment within"
                )
            wrapper = wrapper.env
        if getattr(env.unwrapped, "fickle_passenger", False):  # Taxi: the destination changes, which P does not tell
            raise SettingError(f"{_name(env)}: with fickle_passenger there is more to it than its P; use gymnasium.make_vec")
        if max_episode_steps is None and env.spec is not None:
            max_episode_steps = env.spec.max_episode_steps
        made = cls(env.unwrapped, num_envs, max_episode_steps, autoreset_mode)
        made.spec = env.spec
        return made

    @property
    def P(self) -> Dynamics:
        return _dynamics(self.model)

    def __getattr__(self, name: str) -> Any:
        if name in _TOLD:
            return getattr(self.model, name)
        raise AttributeError(f"TabularVectorEnv has no attribute '{name}'")

    def set_autoreset_mode(self, mode: AutoresetMode | str) -> None:
        """Reset ended copies in the same step, in the next one, or not."""
        found = mode if isinstance(mode, AutoresetMode) else _MODES.get(str(mode))
        if found is None:
            names = [mode.name for mode in AutoresetMode]
            raise unknown_name("autoreset mode", str(mode), names, f"known: {', '.join(names)}")
        self.autoreset_mode = found
        self.metadata = {**self.metadata, "autoreset_mode": found}

    # --- Gymnasium ----------------------------------------------------------------------------------------------------------

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[NDArray[np.int64], dict[str, Any]]:
        super().reset(seed=seed)
        mask = (options or {}).get("reset_mask")
        if mask is None:
            self._begin(slice(None), self.num_envs)
        else:
            mask = np.asarray(mask)
            if mask.shape != (self.num_envs,) or mask.dtype != bool:
                raise SettingError(f"reset_mask must be bool of shape ({self.num_envs},), found {mask.dtype} of {mask.shape}")
            self._begin(mask, np.count_nonzero(mask))
        self._ready = True
        return self._seen(self._state), {}

    def step(
        self, actions: ArrayLike
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        if not self._ready:
            raise gym.error.ResetNeeded("call reset() before step()")
        table, random = self._transitions, self.np_random
        row = self._state * table.num_actions
        row += self._checked(actions)
        at = table.draw(row, random)
        state, reward, terminated = table.next_state[at], table.reward[at], table.terminated[at]
        if self._deviation is not None:
            reward += self._deviation[row] * random.standard_normal(self.num_envs)
        if self.max_episode_steps is None:
            truncated = np.zeros(self.num_envs, dtype=bool)
            ended = terminated
        else:
            self._elapsed += 1
            truncated = self._elapsed >= self.max_episode_steps
            ended = terminated | truncated
        info: dict[str, Any] = {}
        self._state = state
        if self.autoreset_mode == AutoresetMode.SAME_STEP:
            count = np.count_nonzero(ended)
            if count:
                info = {"final_obs": self._seen(state), "_final_obs": ended.copy()}
                self._begin(ended, count)
        elif self.autoreset_mode == AutoresetMode.NEXT_STEP:
            begun, self._pending = self._pending, ended
            count = np.count_nonzero(begun)
            if count:  # their step was no step
                self._begin(begun, count)
                reward[begun], terminated[begun], truncated[begun] = 0.0, False, False
                self._pending = terminated | truncated
            elif ended is terminated:
                self._pending = ended.copy()
        return self._seen(self._state), reward, terminated, truncated, info

    def _checked(self, actions: ArrayLike) -> NDArray[np.integer[Any]]:
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs,) or actions.dtype.kind not in "iu":
            raise ActionError(f"expected whole numbers of shape ({self.num_envs},) as actions, found {actions.dtype} of {actions.shape}")
        # as an unsigned number, a negative one is greater than all
        if int(np.maximum.reduce(actions.astype(np.uint64))) >= self._transitions.num_actions:
            strange = actions[(actions < 0) | (actions >= self._transitions.num_actions)][0]
            raise ActionError(f"expected actions from 0 to {self._transitions.num_actions - 1}, found {strange}")
        return actions

    def _begin(self, where: Any, count: Any) -> None:
        """New episodes in `count` copies."""
        self._state[where] = self._start.draw(count, self.np_random)
        self._elapsed[where] = 0
        self._pending[where] = False

    def _seen(self, state: NDArray[np.int64]) -> NDArray[np.int64]:
        return state.copy() if self._seen_as is None else self._seen_as[state]

    def render(self) -> tuple[Any, ...] | None:
        """Pictures of the first copies, nine at most."""
        if self.render_mode is None:
            gym.logger.warn("render() needs a render_mode when the environment is made")
            return None
        frames = []
        for state in self._state[:RENDERED]:
            self.model.s, self.model.lastaction = int(state), None
            frames.append(self.model.render())
        return tuple(frames)

    def close_extras(self, **kwargs: Any) -> None:
        if isinstance(self.model, gym.Env):
            self.model.close()

    # --- going on exactly ---------------------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Everything that the future depends on: states and elapsed steps (W,), copies to be reset (W,), the generator's state (6,)."""
        return {
            "state": self._state.copy(),
            "elapsed": self._elapsed.copy(),
            "pending": self._pending.copy(),
            "random": generator_state(self.np_random),
        }

    def set_state(self, state: dict[str, NDArray[Any]]) -> NDArray[np.int64]:
        """Go on from what `get_state` returned; returns the observations."""
        self._state, self._elapsed, self._pending = (np.array(state[key]) for key in ("state", "elapsed", "pending"))
        set_generator_state(self.np_random, state["random"])
        self._ready = True
        return self._seen(self._state)


class _Start:
    """The states that episodes start in."""

    def __init__(self, probability: NDArray[np.float64], num_states: int) -> None:
        if probability.shape != (num_states,) or (probability < 0).any() or not np.isclose(probability.sum(), 1.0):
            raise SettingError(f"initial_state_distrib must be {num_states} probabilities that sum to 1")
        self._states = np.flatnonzero(probability)
        self._cumulative = np.cumsum(probability[self._states])[:-1]  # what is beyond is the last one

    def draw(self, count: int, random: np.random.Generator) -> NDArray[np.int64] | np.int64:
        if len(self._states) == 1:
            return self._states[0]
        return self._states[np.searchsorted(self._cumulative, random.random(count), side="right")]


def batched(kind: type[TabularEnv]) -> Callable[..., TabularVectorEnv]:
    """The function that `gymnasium.make_vec` calls for an environment of ours; its arguments are the environment's and a batch's."""
    of_batch = {"num_envs": 1, "max_episode_steps": None, "autoreset_mode": AutoresetMode.SAME_STEP}

    def make(**arguments: Any) -> TabularVectorEnv:
        batch = {name: arguments.pop(name, default) for name, default in of_batch.items()}
        return TabularVectorEnv(kind(**arguments), **batch)

    own = [parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in inspect.signature(kind).parameters.values()]
    more = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default) for name, default in of_batch.items()]
    make.__signature__ = inspect.Signature([*more, *own])  # type: ignore[attr-defined]
    make.__annotations__ = {**get_type_hints(kind.__init__), "max_episode_steps": int | None}
    make.metadata = kind.metadata  # type: ignore[attr-defined]
    make.__name__ = make.__qualname__ = kind.__name__.replace("Env", "VectorEnv")
    make.__module__ = kind.__module__
    make.__doc__ = (kind.__doc__ or "").replace("    Args:\n", "    Args:\n        max_episode_steps: steps until truncation.\n")
    return make


def _dynamics(model: Any) -> Dynamics:
    found = model if isinstance(model, Mapping) else getattr(model, "P", None)
    if not isinstance(found, Mapping):
        raise SettingError(f"{_name(model)} has no P, the table of its transitions; a tabular batch needs one")
    return found


def _start(model: Any, given: ArrayLike | None) -> NDArray[np.float64]:
    found = getattr(model, "initial_state_distrib", None) if given is None else given
    if found is None:
        raise SettingError(f"{_name(model)} has no initial_state_distrib: where do its episodes start? give it, (states,) probabilities")
    return np.asarray(found, dtype=float).ravel()


def _name(model: Any) -> str:
    spec = getattr(model, "spec", None)
    return str(spec.id) if spec is not None else type(getattr(model, "unwrapped", model)).__name__
