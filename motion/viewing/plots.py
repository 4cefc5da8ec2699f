"""Numbers over the last seconds, as curves in the panel of a live view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_COLORS = ("#2f6fb7", "#e08a1e", "#3f9b62", "#b5473c", "#7d5ba6", "#6b7480", "#c2579a", "#2aa3a8")
_UNIT = ", "  # "tracking error, m": a number with a unit has a plot of its own, the others share one from 0 to 1


class Plots:
    """Curves that grow to the right.

    Args:
        gui: of a viser server.
        seconds: how much is shown.
    """

    def __init__(self, gui: Any, seconds: float) -> None:
        self._gui, self._seconds = gui, seconds
        self._handles: list[tuple[tuple[str, ...], Any]] = []

    def show(self, history: Sequence[tuple[float, Mapping[str, float]]]) -> None:
        """Draw what was, as (time in s, number by name); the names are those of the first, and stay."""
        if len(history) < 2:
            return
        names = list(history[0][1])
        if not self._handles and names:
            self._make(names)
        times = np.array([time for time, _ in history])
        for shown, handle in self._handles:
            handle.data = (times, *(np.array([terms.get(name, np.nan) for _, terms in history]) for name in shown))

    def _make(self, names: Sequence[str]) -> None:
        from viser import uplot

        shared = tuple(name for name in names if _UNIT not in name)
        for group in (shared, *((name,) for name in names if _UNIT in name)):
            if not group:
                continue
            title = "reward and its terms" if group is shared else group[0]
            series = [uplot.Series(label="s")]  # the time
            series += [
                uplot.Series(label=name, stroke=_COLORS[i % len(_COLORS)], width=3 if i == 0 else 1.5) for i, name in enumerate(group)
            ]
            scales = {
                "x": uplot.Scale(time=False, auto=True),
                "y": uplot.Scale(range=(0.0, 1.0)) if group is shared else uplot.Scale(auto=True),
            }
            handle = self._gui.add_uplot(
                (np.zeros(2), *(np.zeros(2) for _ in group)), tuple(series), title=title, scales=scales,
                legend=uplot.Legend(show=group is shared, live=False), aspect=1.15 if group is shared else 2.6,
            )  # fmt: skip
            self._handles.append((group, handle))
