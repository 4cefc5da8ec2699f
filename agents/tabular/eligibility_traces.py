"""TD(λ): every state is told at once what was found out about those that came after it (Sutton & Barto, chapter 12)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mprl import memory
from mprl.agents.tabular.learner import Moved, TabularSettings, check_choice
from mprl.agents.tabular.predictor import Predictor
from mprl.agents.tabular.temporal_difference import td_target
from mprl.errors import SettingError

Array = NDArray[Any]


@dataclass(frozen=True)
class TDLambdaSettings(TabularSettings):
    """Settings of TD(λ)."""

    lambda_: float = 0.9
    """Decay λ of the traces: 0 is TD(0), 1 is Monte Carlo."""
    trace: str = "accumulating"
    """accumulating, replacing, or dutch: true online TD(λ), which equals the online λ-return algorithm exactly."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.learning_rate is None:
            raise SettingError("td-lambda needs a learning_rate: with traces there are no visits to count")
        if not 0 <= self.lambda_ <= 1:
            raise SettingError(f"lambda_ must be in [0, 1], found {self.lambda_}")
        check_choice("trace", self.trace, ("accumulating", "replacing", "dutch"))


def traced(trace: Array, cell: Array, decay: float, kind: str, step_size: float) -> None:
    """Let traces decay by γλ, and mark the states that were left (Sutton & Barto, 12.5, 12.11, section 12.3).

    Args:
        trace: of each state in each world, flat, (W S,); changed in place.
        cell: of the state that each world left, (W,).
        decay: γλ.
        kind: accumulating: 1 more; replacing: 1; dutch: 1 more, less α of what there was.
        step_size: α.
    """
    trace *= decay
    if kind == "replacing":
        trace[cell] = 1.0
    elif kind == "dutch":
        trace[cell] = (1 - step_size) * trace[cell] + 1.0
    else:
        trace[cell] += 1.0


class TDLambda(Predictor):
    """TD(λ): what a policy is worth, by eligibility traces (Sutton & Barto, 12.2 and 12.5). See `TDLambdaSettings`.

    Memory is a number for each state in each world. Worlds that share a table add up what their traces say; where n of them have an
    equal trace of a state it moves as n updates one after the other would move it.
    """

    name = "td-lambda"
    Settings = TDLambdaSettings

    def _memory(self) -> dict[str, Array]:
        worlds = self.batch.num_worlds
        memory.require(8 * worlds * self.num_states, f"traces of {self.num_states:,} states in {worlds:,} worlds", "take fewer worlds")
        return {"trace": np.zeros((worlds, self.num_states)), "value": np.zeros(worlds)}

    def _update(self, moved: Moved) -> None:
        s, alpha = self.settings, self._updates.step_size
        assert alpha is not None
        if not len(moved.row):
            return
        everywhere = isinstance(moved.world, slice)
        trace = self.memory["trace"][moved.world]  # a view where it is all
        state = moved.row if self.num_tables == 1 else moved.row % self.num_states
        traced(trace.reshape(-1), np.arange(0, trace.size, self.num_states) + state, s.gamma * s.lambda_, s.trace, alpha)
        value, next_value = self._values.take(moved.row), self._values.take(moved.next_row)
        error = td_target(moved.reward, next_value, moved.terminated, s.gamma) - value
        surplus = value - self.memory["value"][moved.world] if s.trace == "dutch" else None
        if surplus is not None:
            error = error + surplus
        if self._updates.distinct:
            values = self.table["values"]
            values[moved.world] += alpha * error[:, None] * trace
            if surplus is not None:
                self._values[moved.row] -= alpha * surplus
        else:
            change = error @ trace
            if surplus is not None:
                change -= np.bincount(state, surplus, minlength=self.num_states)
            self._values += change * (alpha if len(trace) == 1 else shared_step_size(trace, alpha))
        trace[moved.ended] = 0.0
        if surplus is not None:
            next_value[moved.ended] = 0.0
            self.memory["value"][moved.world] = next_value
        if not everywhere:
            self.memory["trace"][moved.world] = trace


def shared_step_size(trace: Array, step_size: float) -> Array:
    """The step size of each state whose value is moved by the traces of W worlds together, (S,).

    As many worlds as there are of equal traces, n, move a value by (1 - (1 - α)ⁿ) / n times the sum of what each would. Unequal ones
    count by their share of the greatest: n = sum / max.
    """
    n = trace.sum(axis=0) / np.maximum(trace.max(axis=0), 1e-300)
    return np.where(n > 1, (1 - (1 - step_size) ** n) / np.maximum(n, 1.0), step_size)
