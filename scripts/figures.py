"""What all plots have in common: how a figure is made, what its axes look like, how it is saved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mprl.errors import CheckpointError, SettingError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE = "#2f6fb7", "#e08a1e"
COLOURS = (BLUE, ORANGE, "#3f9b62", "#b5473c", "#7d5ba6", "#6b7480", "#c2579a", "#2aa3a8")
SUFFIXES = (".png", ".svg", ".pdf")


def check_suffix(out: Path) -> None:
    """Raise a `SettingError` unless a plot can be written as this kind of file."""
    if out.suffix.lower() not in SUFFIXES:
        raise SettingError(f"{out}: a plot is written as {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}, not '{out.suffix}'")


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # draws without a display, whatever the user's settings
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def new_axes(figure: Any, count: int, rows: int = 1) -> Sequence:
    """Empty axes in a figure, row by row.

    Args:
        figure: or a part of one.
        count: axes in a row.
        rows: of axes.
    """
    axes: list = list(figure.subplots(rows, count, squeeze=False).flatten()) if count else []
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(color="#e3e6ea", linewidth=0.8)
        one.set_axisbelow(True)
        one.tick_params(labelsize=9)
    return axes


def save(figure: Figure, out: Path, title: str) -> Path:
    """Write a figure, in the format that the file's name says; it appears whole or not at all.

    Raises:
        CheckpointError: it cannot be written.
    """
    if title:
        figure.suptitle(title, fontsize=11, fontweight="bold", x=0.01, ha="left")
    temporary = out.with_name(f".{out.name}.partial")
    try:
        figure.savefig(temporary, dpi=150, format=out.suffix[1:].lower())
        temporary.replace(out)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CheckpointError(f"{out}: cannot be written: {error.strerror or error}") from None
    return out
