"""Agents that see pictures only, beside agents that are told the state: returns, and what they cost."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mprl.errors import SettingError
from mprl.scripts.benchmarks.deep import Judged, judge
from mprl.scripts.benchmarks.environment import Measured
from mprl.scripts.benchmarks.imitation import spent
from mprl.scripts.benchmarks.report import Figure, Overview
from mprl.scripts.figures import COLOURS, new_axes, new_figure, save
from mprl.scripts.plots import read_metrics

STATE = "state"
# of the deterministic policy that counts as solved
SOLVED = {"CartPole-v1": 475.0, "Pendulum-v1": -200.0}


@dataclass(frozen=True)
class Run:
    """One run: what its agent saw, how it was judged, and its curve of evaluations."""

    judged: Judged
    eyes: str
    minutes: float
    steps: NDArray[np.float64]
    returns: NDArray[np.float64]

    @property
    def solved_at(self) -> float | None:
        """Steps until an evaluation reached what counts as solved."""
        enough = np.flatnonzero(self.returns >= SOLVED.get(self.judged.env_id, np.inf))
        return float(self.steps[enough[0]]) if len(enough) else None


def measure(folders: Sequence[Path], picture: Path | None) -> Measured:
    """All figures of `mprl benchmark pixels`.

    Args:
        folders: of runs.
        picture: where the learning curves are drawn; None: nowhere.

    Raises:
        SettingError: there are no runs.
    """
    if not folders:
        raise SettingError("which runs? mprl benchmark pixels --from runs/*")
    groups: dict[tuple[str, str], list[Run]] = {}
    for folder in folders:
        run = take_up(folder)
        groups.setdefault((run.judged.env_id, run.eyes), []).append(run)
    told = {env_id: runs for (env_id, eyes), runs in groups.items() if eyes.startswith(STATE)}
    figures = []
    for (env_id, eyes), runs in groups.items():
        values = [run.judged.value for run in runs]
        sees = not eyes.startswith(STATE)
        limit = statistics.median(run.judged.value for run in told[env_id]) if env_id in told and sees else None
        if limit is not None and limit <= 0:  # of costs a share says nothing
            limit = None
        figures.append(
            Figure(
                f"{env_id}_{eyes}", f"{env_id}, {eyes}", "return", statistics.median(values), limit=limit,
                against="limit the agent that is told the state" if limit is not None else "",
                target=("ours", SOLVED[env_id]) if env_id == "CartPole-v1" and sees else None,
                rounds={"ours": values}, spread=True,
            )
        )  # fmt: skip
    if picture is not None:
        draw(groups, picture)
    return Measured(figures, {"seeds": max(len(runs) for runs in groups.values())}, _overview(groups))


def take_up(folder: Path) -> Run:
    """A run folder of `mprl train`."""
    from mprl.agents.checkpoints import read_config

    config = read_config(folder)
    columns = read_metrics(folder / "metrics.csv")
    seen = np.isfinite(columns["evaluation_return_mean"]) if "evaluation_return_mean" in columns else np.zeros(0, bool)
    steps, returns = (columns[name][seen] if len(seen) else np.zeros(0) for name in ("timesteps", "evaluation_return_mean"))
    return Run(judge(folder), seen_through(config), spent(folder / "metrics.csv")[1], steps, returns)


def seen_through(config: dict[str, Any]) -> str:
    """What an agent sees, in words: "state, ppo", "frozen vae, ppo", "cnn, dqn with shifts"."""
    perception = config.get("perception")
    if perception is None:
        return f"{STATE}, {config['agent']}"
    network = perception["network"] or {}
    name = network.get("name", "a network of one's own")
    if name == "each_picture":
        name = f"{network['network']['name']} of each picture"
    frozen = "frozen " if perception["spec"]["frozen"] else ""
    shifts = " with shifts (DrQ)" if config["settings"].get("shift") else ""
    return f"{frozen}{name}, {config['agent']}{shifts}"


def draw(groups: dict[tuple[str, str], list[Run]], out: Path) -> Path:
    """Returns of the evaluations over steps: a panel for each environment, a colour for what is seen, a line for each run."""
    env_ids = list(dict.fromkeys(env_id for env_id, _ in groups))
    figure = new_figure(6.2 * len(env_ids), 3.9)
    for axes, env_id in zip(new_axes(figure, len(env_ids)), env_ids, strict=True):
        kinds = [(eyes, runs) for (each, eyes), runs in groups.items() if each == env_id]
        for color, (eyes, runs) in zip(COLOURS, kinds, strict=False):
            for at, run in enumerate(runs):
                axes.plot(run.steps / 1e3, run.returns, color=color, alpha=0.8, linewidth=1.4, label=eyes if at == 0 else None)
                axes.plot(run.steps[-1:] / 1e3, run.returns[-1:], "o", color=color, markersize=4)
        axes.set_title(env_id, loc="left", fontsize=10)
        axes.set_xlabel("environment steps, thousands")
        axes.set_ylabel("return of 16 evaluations")
        axes.legend(frameon=False, fontsize=8)
    return save(figure, out, "")


def _overview(groups: dict[tuple[str, str], list[Run]]) -> Overview:
    rows = []
    for (env_id, eyes), runs in groups.items():
        values = sorted(run.judged.value for run in runs)
        solved = [run.solved_at for run in runs if run.solved_at is not None]
        at = f"{statistics.median(solved):,.0f}" if solved else "–"
        minutes = statistics.median(run.minutes for run in runs)
        judged = (f"{statistics.median(values):.1f}", f"{values[0]:.1f} to {values[-1]:.1f}", f"{len(solved)} of {len(runs)}")
        rows.append((env_id, eyes, str(len(runs)), *judged, at, f"{minutes:.1f}"))
    columns = ("environment", "sees", "seeds", "return, median", "least to greatest", "solved", "steps until then, median", "minutes")
    return Overview(columns, rows)
