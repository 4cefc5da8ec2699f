"""Pictures of learning: the learning curve of a run, those of many runs, and the tracking error over a clip's phase."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mprl.errors import CheckpointError
from mprl.scripts.figures import BLUE, COLOURS, ORANGE, new_axes, new_figure, save

# What is drawn where the run has it: column of metrics.csv, title, unit, factor.
PANELS = (
    ("return", "Return of an episode", "", 1.0),
    ("episode_length", "Length of an episode", "steps", 1.0),
    ("env_tracking_error", "Tracking error", "mm", 1000.0),
)


def read_metrics(path: Path) -> dict[str, NDArray[np.float64]]:
    """The columns of a run's `metrics.csv`, (iterations,) each; what is missing is NaN.

    Raises:
        CheckpointError: there is no such file, or a cell is not a number.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return {key: np.array([float(row[key] or "nan") for row in rows]) for key in (rows[0] if rows else {}) if key}
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: expected a table of numbers: {error}") from None


def learning_curve(metrics: Path, out: Path, title: str = "") -> Path:
    """Draw return, episode length and, for imitation, tracking error over the samples learned from.

    Args:
        metrics: `metrics.csv` of a run.
        out: the PNG.
        title: in its first line.
    """
    columns = read_metrics(metrics)
    figure = new_figure(3.6 * max(1, len(panels_of([columns]))), 3.2)
    draw_learning(figure, {"": columns})
    minutes, samples = columns.get("time_elapsed", np.zeros(0)), columns.get("timesteps", np.zeros(0))
    if len(minutes) and len(samples):
        count, _, letter = _unit(samples)
        title += f" · {samples[-1] / count:.1f} {letter} samples in {minutes[-1] / 60:.1f} minutes"
    return save(figure, out, title.removeprefix(" · "))


def panels_of(runs: Iterable[Mapping[str, NDArray[np.float64]]]) -> list[tuple[str, str, str, float]]:
    """Those of `PANELS` of which any run has a number."""
    unknown = np.array([math.nan])
    return [panel for panel in PANELS if any(np.isfinite(columns.get(panel[0], unknown)).any() for columns in runs)]


def draw_learning(figure: Any, runs: Mapping[str, Mapping[str, NDArray[np.float64]]]) -> None:
    """Draw the learning curves of runs into a figure, or a part of one: what was measured pale, its running mean on top.

    Args:
        figure: of matplotlib.
        runs: by name, the columns of its metrics, (iterations,) each.
    """
    panels = panels_of(runs.values())
    if not panels:
        figure.text(0.5, 0.5, "no episode has ended yet", ha="center", va="center")
        return
    count, unit_name, _ = _unit(np.concatenate([columns.get("timesteps", np.zeros(0)) for columns in runs.values()]))
    for axes, (column, name, unit, factor) in zip(new_axes(figure, len(panels)), panels, strict=True):
        lowest = 0.0
        for (label, columns), colour in zip(runs.items(), itertools.cycle(COLOURS), strict=False):
            if not np.isfinite(columns.get(column, np.array([math.nan]))).any():
                continue
            samples, values = columns["timesteps"] / count, columns[column] * factor
            axes.plot(samples, values, color=colour, alpha=0.25 if len(runs) == 1 else 0.12, linewidth=1)
            axes.plot(samples, smoothed(values, reach=len(values) // 40), color=colour, linewidth=1.8, label=label)
            lowest = min(lowest, float(np.nanmin(values)))
        axes.set_title(name, loc="left", fontsize=10)
        axes.set_xlabel(f"samples, {unit_name}")
        axes.set_ylabel(unit)
        axes.set_ylim(bottom=lowest)
        axes.margins(x=0.01)
        if len(runs) > 1 and axes is figure.axes[0]:
            axes.legend(frameon=False, fontsize=8)


def _unit(samples: NDArray[np.float64]) -> tuple[float, str, str]:
    """How samples are counted: divisor, name, letter."""
    return (1e6, "millions", "M") if samples.max(initial=0.0) >= 1e6 else (1e3, "thousands", "k")


class Curve(NamedTuple):
    """How a run learned: samples, (N,) millions; the share of the greatest return while it explored, (N,); and without at the end."""

    samples: NDArray[np.float64]
    share: NDArray[np.float64]
    end: float


def learning_curves(curves: Mapping[str, Sequence[Curve]], out: Path, published: Mapping[str, float] | None = None) -> Path:
    """Draw the runs of several clips side by side, all to the same scale.

    Args:
        curves: by clip, its runs.
        out: the PNG.
        published: by clip, the normalised return that others report.
    """
    columns = min(3, max(1, len(curves)))
    rows = -(-len(curves) // columns)
    most = max((float(curve.samples.max(initial=0.0)) for runs in curves.values() for curve in runs), default=1.0)
    figure = new_figure(max(5.6, 3.4 * columns), 2.5 * rows + 0.5)
    panels = new_axes(figure, columns, rows)
    for axes, (name, runs) in zip(panels, curves.items(), strict=False):
        for curve in runs:
            axes.plot(curve.samples, curve.share, color=BLUE, alpha=0.75, linewidth=1.4, label="while it explores")
            axes.plot(
                curve.samples[-1:], [curve.end], "o", color=BLUE, markersize=6, clip_on=False, label="deterministic policy at the end"
            )
        if name in (published or {}):
            axes.axhline(published[name], color=ORANGE, linewidth=1.4, linestyle="--", label="DeepMimic's paper")  # type: ignore[index]
        axes.set_title(name, loc="left", fontsize=10)
        axes.set_xlim(0.0, 1.02 * most)
        axes.set_ylim(0.0, 1.0)
    for axes in panels[len(curves) :]:
        axes.set_visible(False)
    for at, axes in enumerate(panels[: len(curves)]):
        if at % columns == 0:
            axes.set_ylabel("normalised return")
        if at + columns >= len(curves):
            axes.set_xlabel("samples, millions")
    told = {label: line for axes in panels for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(told.values(), told, loc="outside upper left", ncols=3, frameon=False, fontsize=9)
    return save(figure, out, "")


def phase_error(errors: Mapping[str, ArrayLike], out: Path, title: str = "") -> Path:
    """Draw how far a character is from its reference over the phase of the clip.

    Args:
        errors: `phase`, (B,) in [0, 1), and at each the mean distance of the bodies: `error_mm` in the world, (B,) mm, and
            `local_error_mm` relative to the root, (B,) mm.
        out: the PNG.
        title: in its first line.
    """
    figure = new_figure(5.6, 3.2)
    (axes,) = new_axes(figure, 1)
    for key, name, colour in (("error_mm", "in the world", BLUE), ("local_error_mm", "relative to the root", ORANGE)):
        axes.plot(np.asarray(errors["phase"], dtype=float), np.asarray(errors[key], dtype=float), color=colour, linewidth=1.8, label=name)
    axes.set_xlabel("phase of the clip")
    axes.set_ylabel("tracking error, mm")
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(bottom=0.0)
    axes.legend(frameon=False, fontsize=9, loc="best")
    return save(figure, out, title)


def smoothed(values: ArrayLike, reach: int) -> NDArray[np.float64]:
    """Mean of each value and up to `reach` neighbours on either side; NaNs are left out."""
    values = np.asarray(values, dtype=float)
    known = np.isfinite(values)
    sums, counts = (np.concatenate(([0.0], np.cumsum(column))) for column in (np.where(known, values, 0.0), known))
    at = np.arange(len(values))
    first, behind = np.maximum(at - reach, 0), np.minimum(at + reach + 1, len(values))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (sums[behind] - sums[first]) / (counts[behind] - counts[first])


def failure_map(rates: NDArray[np.float64], names: Sequence[str], out: Path, title: str = "") -> Path:
    """Draw where in each clip a policy fails.

    Args:
        rates: share of the episodes passing through each bin of a clip's phase that fail there, (C, B); NaN where none came.
        names: of the clips, (C,).
        out: the PNG.
        title: in its first line.
    """
    figure = new_figure(6.4, 1.4 + 0.24 * len(names))
    (axes,) = new_axes(figure, 1)
    axes.grid(False)
    axes.set_facecolor("#d5d9de")
    image = axes.imshow(rates, cmap="YlOrRd", vmin=0.0, vmax=1.0, aspect="auto", extent=(0.0, 1.0, len(names), 0.0), interpolation="none")
    axes.set_yticks(np.arange(len(names)) + 0.5, names)
    axes.set_xlabel("phase of the clip (grey: no episode came there)")
    figure.colorbar(image, ax=axes, label="share that fails here", shrink=min(1.0, 6 / (2 + len(names)) + 0.4))
    return save(figure, out, title)
