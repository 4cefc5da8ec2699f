"""A live display of learning."""

from __future__ import annotations

import math

from mprl.agents.agent import Agent, Metrics


class ProgressDisplay:
    """A live display of learning: a bar, time left, samples per second, return, tracking error, episode length.

    Two lines, so that it fits a terminal of 80 columns. Where the output is no terminal, a line every half minute instead.

    Args:
        total_timesteps: at which learning ends, if steps end it.
        max_seconds: after which learning ends, if time ends it.
        timesteps, seconds: where it began.
    """

    _SHOWN = (
        ("return", "return {:.1f}", 1.0),
        ("episode_length", "length {:.0f}", 1.0),
        ("env_local_tracking_error", "error {:.0f} mm", 1e3),
        ("time_samples_per_second", "{:,.0f} samples/s", 1.0),
    )
    _LINE_EVERY = 30.0  # s

    def __init__(self, total_timesteps: float | None, max_seconds: float | None, timesteps: float = 0.0, seconds: float = 0.0) -> None:
        from rich.console import Console, Group
        from rich.live import Live
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.text import Text

        self._total, self._seconds = total_timesteps, max_seconds
        self._began = timesteps, seconds
        self._next_line = 0.0
        columns = (TextColumn("{task.percentage:>3.0f} %"), BarColumn(bar_width=24), TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
        self._progress = Progress(*columns)
        self._task = self._progress.add_task("", total=1.0, left="")
        self._numbers = Text("first iteration …", no_wrap=True, overflow="ellipsis")
        console = Console()
        self._live = Live(Group(self._progress, self._numbers), console=console, refresh_per_second=2) if console.is_terminal else None
        if self._live is not None:
            self._live.start()

    def __call__(self, agent: Agent, metrics: Metrics) -> None:
        steps, start = metrics["timesteps"], self._began[0]
        elapsed = metrics["time_elapsed"] - self._began[1]
        share = [0.0]
        if self._total is not None and math.isfinite(self._total):
            share.append((steps - start) / max(self._total - start, 1.0))
        if self._seconds is not None:
            share.append(elapsed / self._seconds)
        done = min(max(share), 1.0)
        left = elapsed * (1 - done) / done if done > 0 else math.nan
        left_text = f"{int(left // 60)}:{int(left % 60):02d} left" if 0 < done < 1 else ""
        shown = [form.format(metrics[key] * unit) for key, form, unit in self._SHOWN if key in metrics]
        self._numbers.plain = " · ".join([f"{steps / 1e6:.2f} M steps", *shown])
        self._progress.update(self._task, completed=done, left=left_text)
        if self._live is None and elapsed >= self._next_line:
            self._next_line = elapsed + self._LINE_EVERY
            print(f"{done:4.0%}  {self._numbers.plain}  {left_text}", flush=True)

    def close(self) -> None:
        """Leave the last state on the terminal."""
        if self._live is not None:
            self._live.stop()
