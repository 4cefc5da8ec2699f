"""A finite Markov decision process that is known, sparse (Sutton & Barto, chapter 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from mprl.agents.tabular import reachability
from mprl.agents.tabular.checks import array, check_policy, check_probabilities, check_rewards, listed, state_mask
from mprl.agents.tabular.outcomes import Outcome, collect, outcomes_of
from mprl.agents.tabular.sparse import add_product
from mprl.errors import SettingError, number


@dataclass(frozen=True, eq=False)
class TabularMDP:
    """States 0…S−1, actions 0…A−1, and what follows from them. Made by `from_arrays`, `from_sparse`, `from_function`, `from_gymnasium`.

    An end is no state that is stepped to but probability that leaves: `transitions` holds p(s′ | s, a) of the steps after which
    the episode goes on, `termination` the rest. So V(s) = r + γ Σ p(s′) V(s′) needs no exceptions, and terminal states are worth 0.

    Attributes:
        transitions: (S·A, S), row s·A + a: probability of going on to s′. Empty rows for terminal states.
        rewards: (S, A), expected; −inf for actions that are not available, 0 in terminal states.
        termination: (S, A), probability that the episode ends with this step.
        terminal: (S,), whether nothing follows this state. States that only lead to themselves, without reward, are terminal too.
        discount: γ in [0, 1]. 1 needs an end that can be reached from everywhere.
    """

    transitions: sp.csr_array
    rewards: NDArray[np.float64]
    termination: NDArray[np.float64]
    terminal: NDArray[np.bool_]
    discount: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "discount", number("discount", self.discount))
        if not 0 <= self.discount <= 1:
            raise SettingError(f"discount must be in [0, 1], found {self.discount}")
        if self.discount < 1:
            return
        if self.never_ends and not self.terminal.any():
            raise SettingError("discount 1 needs a terminal state, found none; use a discount below 1 or name the terminal states")
        endless = np.flatnonzero(~np.isfinite(reachability.steps_to_end(self)))
        if len(endless):
            raise SettingError(
                f"discount 1, but no policy ever ends from {listed(endless)}; use a discount below 1 or make one of them terminal"
            )

    # --- what it is -----------------------------------------------------------------------------------------------------

    @property
    def num_states(self) -> int:
        return self.rewards.shape[0]

    @property
    def num_actions(self) -> int:
        return self.rewards.shape[1]

    @cached_property
    def available(self) -> NDArray[np.bool_]:
        """(S, A), which actions there are in which state."""
        return self.rewards > -np.inf

    @cached_property
    def never_ends(self) -> bool:
        """Whether no step of any state that is not terminal can be the last."""
        return not self.termination[~self.terminal].any()

    @cached_property
    def scale(self) -> tuple[int, float]:
        """The most successors of an action, and the greatest absolute reward: what rounding depends on."""
        finite = np.where(self.available, self.rewards, 0.0)
        return int(np.diff(self.transitions.indptr).max(initial=0)), float(np.abs(finite).max(initial=0.0))

    def random_policy(self) -> NDArray[np.float64]:
        """(S, A), every available action equally likely."""
        return self.available / self.available.sum(1, keepdims=True)

    def with_discount(self, discount: float) -> TabularMDP:
        """The same with another γ."""
        return replace(self, discount=discount)

    def backup(self, values: NDArray[np.float64], states: slice | None = None) -> NDArray[np.float64]:
        """Action values one step before state values: r(s, a) + γ Σ p(s′ | s, a) V(s′) (Sutton & Barto, 4.6).

        Args:
            values: (S,).
            states: of which only, n in a row.

        Returns:
            (S, A), or (n, A).
        """
        first, end, _ = (states or slice(None)).indices(self.num_states)
        action_values = self.rewards[first:end].copy()
        if values.any():
            add_product(action_values.reshape(-1), self.transitions, self.discount * values, first * self.num_actions)
        return action_values

    def under(self, policy: ArrayLike) -> TabularMDP:
        """The chain that is left when a policy chooses: the same states, one action.

        Args:
            policy: (S,) actions, or (S, A) probabilities.
        """
        chosen = check_policy(self, policy)
        states, actions = np.nonzero(chosen)
        rows = states * self.num_actions + actions
        mixed = sp.csr_array((chosen[states, actions], (states, np.arange(len(states)))), shape=(self.num_states, len(states)))
        transitions = self.transitions[rows]
        if len(states) > self.num_states:
            transitions = mixed @ transitions
        rewards, termination = ((mixed @ array.ravel()[rows])[:, None] for array in (self.rewards, self.termination))
        return _Chain(transitions, rewards, termination, self.terminal, self.discount)

    def reordered(self, order: NDArray[np.int64]) -> TabularMDP:
        """The same with states renumbered: what was order[s] (S,) is s."""
        rows = self.transitions[(order[:, None] * self.num_actions + np.arange(self.num_actions)).ravel()]
        number = np.empty(self.num_states, dtype=rows.indices.dtype)
        number[order] = np.arange(self.num_states)
        transitions = sp.csr_array((rows.data, number[rows.indices], rows.indptr), shape=rows.shape)
        return replace(
            self, transitions=transitions, rewards=self.rewards[order], termination=self.termination[order], terminal=self.terminal[order]
        )

    # --- where it comes from --------------------------------------------------------------------------------------------

    @classmethod
    def from_arrays(
        cls,
        probabilities: ArrayLike,
        rewards: ArrayLike,
        discount: float,
        terminal: ArrayLike = (),
        available: ArrayLike | None = None,
    ) -> Self:
        """From dense arrays.

        Args:
            probabilities: p(s′ | s, a), (S, A, S).
            rewards: (S, A), (S, A, S) of each transition, or (S,) for leaving a state. −inf says that an action is not available.
            discount: γ in [0, 1].
            terminal: (S,) mask, or a list of states, from which nothing follows; what is said of their actions is ignored.
            available: (S, A) mask of the actions that there are; by default all.

        Raises:
            SettingError: shapes that do not fit, probabilities that do not sum to one, are negative or not finite; a state without action.
        """
        p = array("probabilities", probabilities)
        if p.ndim != 3 or p.shape[0] != p.shape[2]:
            raise SettingError(f"expected probabilities of shape (states, actions, states), found {p.shape}")
        r = array("rewards", rewards)
        if r.shape == p.shape and r.ndim == 3:
            r = np.where(p != 0, p * r, 0.0).sum(2)
        return cls._build(sp.csr_array(p.reshape(-1, p.shape[2])), r, discount, terminal, available)

    @classmethod
    def from_sparse(
        cls,
        probabilities: Any,
        rewards: ArrayLike,
        discount: float,
        terminal: ArrayLike = (),
        available: ArrayLike | None = None,
    ) -> Self:
        """From SciPy's sparse matrices.

        Args:
            probabilities: one matrix (S, S) for each action, or all of them as one (S·A, S) with row s·A + a.
            rewards, discount, terminal, available: as in `from_arrays`; rewards (S, A) or (S,).
        """
        if sp.issparse(probabilities):
            matrix = sp.csr_array(probabilities)
        else:
            try:
                matrices = [sp.csr_array(matrix) for matrix in probabilities]
            except (TypeError, ValueError):
                raise SettingError(f"expected SciPy's sparse matrices, found {probabilities!r:.60}") from None
            shapes = {matrix.shape for matrix in matrices}
            if len(shapes) != 1 or len(set(*shapes)) != 1 or matrices[0].ndim != 2:
                raise SettingError(f"expected one matrix (states, states) for each action, found shapes {sorted(shapes)}")
            states = matrices[0].shape[0]
            order = np.arange(len(matrices) * states).reshape(len(matrices), states).T.ravel()
            matrix = sp.vstack(matrices, format="csr")[order]
        if not matrix.shape[0] or matrix.shape[0] % matrix.shape[1]:
            raise SettingError(f"expected probabilities of shape (states · actions, states), found {matrix.shape}")
        return cls._build(matrix, array("rewards", rewards), discount, terminal, available)

    @classmethod
    def from_function(
        cls,
        function: Callable[[int, int], Iterable[Outcome]],
        num_states: int,
        num_actions: int,
        discount: float,
        terminal: ArrayLike = (),
    ) -> Self:
        """From a function that says what follows.

        Args:
            function: (state, action) → (probability, next state, reward, terminated) of all that can happen; nothing at all where the
                action is not available.
            num_states, num_actions: what it is called with.
            discount: γ in [0, 1].
            terminal: (S,) mask, or a list of states, that the function is not asked for.
        """
        for name, value in (("num_states", num_states), ("num_actions", num_actions)):
            number(name, value, least=1, whole=True)
        if not callable(function):
            raise SettingError(f"expected a function of state and action, found {function!r}")
        ended = state_mask(terminal, num_states)
        probabilities, rewards, termination, _ = collect(
            lambda state, action: () if ended[state] else function(state, action), num_states, num_actions
        )
        return cls._build(probabilities, rewards, discount, ended, None, termination)

    @classmethod
    def from_gymnasium(cls, env: Any, discount: float) -> Self:
        """From an environment that has its model in `P`, as FrozenLake, CliffWalking, Taxi and ours of the book do.

        `P[s][a]` lists (probability, next state, reward, terminated). Transitions that terminate have no future; a state that is
        entered by such transitions only, and that no episode begins in, is terminal.

        Raises:
            SettingError: the environment has no `P`.
        """
        model, num_states, num_actions, initial = outcomes_of(env)
        probabilities, rewards, termination, entered = collect(model, num_states, num_actions)
        return cls._build(probabilities, rewards, discount, entered & ~initial, None, termination)

    @classmethod
    def _build(
        cls,
        probabilities: sp.csr_array,
        rewards: NDArray[np.float64],
        discount: float,
        terminal: ArrayLike,
        available: ArrayLike | None,
        termination: NDArray[np.float64] | None = None,
    ) -> Self:
        """Check everything; take the terminal states out of the transitions."""
        num_states = probabilities.shape[1]
        num_actions = probabilities.shape[0] // num_states
        shape = (num_states, num_actions)
        if rewards.shape == shape[:1]:
            rewards = np.repeat(rewards[:, None], num_actions, 1)
        if rewards.shape != shape:
            raise SettingError(f"expected rewards of shape {shape} to go with the probabilities, found {rewards.shape}")
        there = rewards != -np.inf
        if available is not None:
            mask = np.asarray(available, dtype=bool)
            if mask.shape != shape:
                raise SettingError(f"expected available of shape {shape}, found {mask.shape}")
            there &= mask
        ended = state_mask(terminal, num_states)
        ending = np.zeros(shape) if termination is None else termination

        p = probabilities if probabilities.dtype == np.float64 else probabilities.astype(np.float64)
        alive = there & ~ended[:, None]
        sums = check_probabilities(p, ending, alive)
        check_rewards(rewards, alive, ended)
        if np.abs(sums - 1)[alive].max(initial=0.0) > 1e-14:
            sums[~alive] = 1.0
            p = sp.diags_array(1 / sums.ravel()) @ p
            ending = ending / sums
        ended = ended | _absorbing(p, rewards, there)
        alive &= ~ended[:, None]
        unwanted = p.data == 0
        if not alive.all():
            unwanted |= ended[p.indices] | np.repeat(~alive.ravel(), np.diff(p.indptr))
            ending = np.where(alive, ending + (p @ ended.astype(np.float64)).reshape(shape), ended[:, None])
        if unwanted.any():
            p = p.copy()
            p.data[unwanted] = 0.0
            p.eliminate_zeros()
        rewards = np.where(alive, rewards, np.where(ended, 0.0, -np.inf)[:, None])
        return cls(p, rewards, ending, ended, discount)


class _Chain(TabularMDP):
    """An MDP of one action. Whether it ends with discount 1 is for its planner to say, which knows the policy."""

    def __post_init__(self) -> None:
        pass


def _absorbing(p: sp.csr_array, rewards: NDArray[np.float64], there: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(S,), states that only lead to themselves, without reward: the terminal state of Sutton & Barto, 3.4."""
    stays = np.zeros(rewards.size, dtype=bool)
    alone = np.flatnonzero((np.diff(p.indptr) == 1) & (rewards.ravel() == 0))
    first = p.indptr[alone]
    stays[alone] = (p.indices[first] == alone // rewards.shape[1]) & (p.data[first] > 1 - 1e-12)
    return np.logical_and.reduce(stays.reshape(rewards.shape) | ~there, axis=1)
