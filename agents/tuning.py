"""Searching for good settings with Optuna: the tree-structured Parzen estimator proposes (Bergstra et al. 2011), and a trial that is
behind the median of the others at the same evaluation is given up.

The study is a file of lines of JSON in a folder, so that it can be interrupted at any moment and goes on from there to the same end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mprl import extras
from mprl.agents.agent import PRESETS, Agent, Metrics
from mprl.errors import MprlError, SettingError, nearest

STUDY = "study.jsonl"
SEARCH = PRESETS / "search.toml"
Space = Mapping[str, Mapping[str, Any]]


def search_space(agent: type[Agent], path: Path = SEARCH) -> dict[str, dict[str, Any]]:
    """Where to look for the settings of an agent, by setting.

    Args:
        agent: a kind of agent.
        path: a file like `agents/presets/search.toml`: a table of settings by the agent's name.

    Raises:
        SettingError: nothing in it is for this agent, or it is not what a search space can be.
    """
    try:
        known = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # a UnicodeDecodeError is one too
        raise SettingError(f"{path}: expected TOML: {error}") from None
    if agent.name not in known:
        hint = f"there is one for {', '.join(known)}; give your own with --space FILE" if path == SEARCH else f"make a table [{agent.name}]"
        raise SettingError(f"{path.name}: no search space for '{agent.name}'{nearest(agent.name, known)} ({hint})")
    space: dict[str, dict[str, Any]] = known[agent.name]
    settings = [field.name for field in dataclasses.fields(agent.Settings)]
    for name, where in space.items():
        if name not in settings:
            raise SettingError(f"{path.name}: {agent.name} has no setting '{name}'{nearest(name, settings)}")
        if not (isinstance(where, dict) and (_is_range(where) or (where.keys() == {"choices"} and isinstance(where["choices"], list)))):
            raise SettingError(f"{path.name}: {name} must be {{from = ..., to = ...}}, with log and whole or not, or {{choices = [...]}}")
    return space


def _is_range(where: dict[str, Any]) -> bool:
    if not {"from", "to"} <= where.keys() <= {"from", "to", "log", "whole"}:
        return False
    low, high = where["from"], where["to"]
    return isinstance(low, int | float) and isinstance(high, int | float) and low < high and (low > 0 or not where.get("log"))


def suggest(trial: Any, space: Space) -> dict[str, Any]:
    """Settings from a search space, of an Optuna trial; real numbers with three digits, so that they can be written down."""
    found: dict[str, Any] = {}
    for name, where in space.items():
        if "choices" in where:  # as JSON, since Optuna keeps only simple values
            found[name] = json.loads(trial.suggest_categorical(name, [json.dumps(choice) for choice in where["choices"]]))
        elif where.get("whole"):
            found[name] = trial.suggest_int(name, where["from"], where["to"], log=where.get("log", False))
        else:
            found[name] = float(f"{trial.suggest_float(name, where['from'], where['to'], log=where.get('log', False)):.3g}")
    return found


@dataclass(frozen=True)
class Outcome:
    """What came of a trial."""

    number: int
    """Counted from 1."""
    settings: dict[str, Any]
    """What was tried."""
    score: float
    """Mean of the later half of its evaluations; not a number if it failed."""
    evaluations: tuple[float, ...] = ()
    """All of them, in turn."""
    state: str = "complete"
    """complete, pruned or failed."""
    error: str = ""
    """Why it failed."""


def learn_and_score(
    agent: Agent, steps: float, evaluations: int, evaluation: Callable[[Agent], float], report: Callable[[list[float]], bool]
) -> list[float]:
    """Train an agent, and score it at equal intervals.

    Args:
        agent: that learns.
        steps: to train for.
        evaluations: how many; the last one at the end.
        evaluation: the score of the agent as it is.
        report: told all scores until now, after each; learning stops when it returns False.

    Raises:
        ArithmeticError: a score is not finite.
    """
    scores: list[float] = []

    def judge(agent: Agent, metrics: Metrics) -> bool:
        if not agent.crossed(max(int(steps // evaluations), 1)):
            return True
        scores.append(evaluation(agent))
        if not math.isfinite(scores[-1]):
            raise ArithmeticError(f"an evaluation gave {scores[-1]}")
        return report(scores)

    agent.learn(steps, callback=judge)
    return scores


class Study:
    """A search that goes on, in a folder.

    Args:
        folder: where the file is, or will be.
        space: where to look; see `search_space`.
        seed: of the proposals.
        joins: another process searches there already: this one helps it, through Optuna's own storage in that file.

    Raises:
        MissingPackageError: Optuna is not installed.
        SettingError: the folder holds something else.
    """

    def __init__(self, folder: Path, space: Space, seed: int = 0, joins: bool = False) -> None:
        self._optuna = extras.load("optuna", "tuning needs", "tune")
        self._optuna.logging.set_verbosity(self._optuna.logging.ERROR)
        self._backend = extras.load("optuna.storages.journal", "tuning needs", "tune")
        self.space, self.seed, self.joins = space, seed, joins
        path = folder / STUDY
        if not joins:
            _forget_half_a_line(path)
        try:
            storage = self._optuna.storages.JournalStorage(self._backend.JournalFileBackend(str(path)))
            pruner = self._optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2)
            self._study = self._optuna.create_study(
                storage=storage, study_name="mprl", load_if_exists=True, direction="maximize", pruner=pruner
            )
            if not joins:
                self._take_up()
        except (KeyError, ValueError, TypeError) as error:
            raise SettingError(f"{path}: is not the file of a study: {' '.join(str(error).split())[:100]}") from None

    def _take_up(self) -> None:
        """A trial that was interrupted is begun anew, with the same settings."""
        running = [trial for trial in self._study.trials if trial.state == self._optuna.trial.TrialState.RUNNING]
        for trial in running:
            self._study.tell(trial.number, state=self._optuna.trial.TrialState.FAIL)
            if len(trial.params) == len(self.space):
                self._study.enqueue_trial(trial.params)

    def _ended(self) -> list[Any]:
        ended = [trial for trial in self._study.trials if trial.state.is_finished()]
        return [trial for trial in ended if trial.state != self._optuna.trial.TrialState.FAIL or "error" in trial.user_attrs]

    def begun(self) -> int:
        """How many trials came to an end or are under way, in whatever process."""
        return len(self._ended()) + sum(trial.state == self._optuna.trial.TrialState.RUNNING for trial in self._study.trials)

    def outcomes(self) -> list[Outcome]:
        """Of all trials that came to an end, in turn."""
        states = self._optuna.trial.TrialState
        found = []
        for number, trial in enumerate(self._ended(), start=1):
            settings = suggest(self._optuna.trial.FixedTrial(trial.params), self.space)
            evaluations = tuple(trial.intermediate_values[step] for step in sorted(trial.intermediate_values))
            state = {states.COMPLETE: "complete", states.PRUNED: "pruned"}.get(trial.state, "failed")
            value = math.nan if state == "failed" else later_half(evaluations)
            found.append(Outcome(number, settings, value, evaluations, state, trial.user_attrs.get("error", "")))
        return found

    def best(self) -> Outcome | None:
        """The trial with the highest score of those that came to the end; None if none did."""
        return max((outcome for outcome in self.outcomes() if outcome.state == "complete"), key=lambda o: o.score, default=None)

    def run(self, attempt: Callable[[dict[str, Any], Callable[[list[float]], bool]], list[float] | None]) -> Outcome | None:
        """One trial more.

        Args:
            attempt: called with settings and a function to report all scores until now to, which returns False where the trial is
                to be given up; returns the scores, or None where it was interrupted.

        Returns:
            What came of it; None if it was interrupted.
        """
        count = len(self.outcomes())
        # a sampler of its own for each trial: the same proposals whether the study was interrupted or not
        seed = int(np.random.SeedSequence((self.seed, count)).generate_state(1)[0])
        self._study.sampler = self._optuna.samplers.TPESampler(seed=seed)
        trial = self._study.ask()
        if self.joins:  # another process may have begun one after as many
            seed = int(np.random.SeedSequence((self.seed, count, 1 + trial.number)).generate_state(1)[0])
            self._study.sampler = self._optuna.samplers.TPESampler(seed=seed)
        states = self._optuna.trial.TrialState
        pruned = False

        def report(scores: list[float]) -> bool:
            nonlocal pruned
            trial.report(scores[-1], len(scores))
            pruned = trial.should_prune()
            return not pruned

        try:
            scores = attempt(suggest(trial, self.space), report)
        except (MprlError, ArithmeticError, ValueError, RuntimeError) as error:  # settings that do not work, or diverge
            trial.set_user_attr("error", " ".join(str(error).split())[:200] or type(error).__name__)
            self._study.tell(trial, state=states.FAIL)
        else:
            if scores is None:
                return None
            if not scores and not pruned:
                raise SettingError("a trial ended before its first evaluation: give more --steps or fewer --evaluations")
            self._study.tell(trial, None if pruned else later_half(scores), states.PRUNED if pruned else states.COMPLETE)
        return self.outcomes()[[each.number for each in self._ended()].index(trial.number)]


def later_half(scores: tuple[float, ...] | list[float]) -> float:
    """Mean of the later half of the evaluations, the middle one included: one lucky evaluation is not enough, nor a quick start."""
    return float(np.mean(scores[len(scores) // 2 :])) if scores else math.nan


def _forget_half_a_line(path: Path) -> None:
    """Of a process killed while it wrote."""
    with contextlib.suppress(OSError):
        content = path.read_bytes()
        if content and not content.endswith(b"\n"):
            path.write_bytes(content[: content.rfind(b"\n") + 1])


def as_toml(settings: Mapping[str, Any]) -> Iterator[str]:
    """Lines of TOML. None cannot be written there, and is left out."""
    for name, value in settings.items():
        if value is not None:
            yield f"{name} = {json.dumps(list(value) if isinstance(value, tuple) else value)}"
