"""Figures of a benchmark, beside those of the peer and of the limit: on the terminal, as JSON, in docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import mprl
from mprl.errors import SettingError
from mprl.scripts.evaluate import write_json
from mprl.scripts.tables import table

_PACKAGES = ("torch", "mujoco", "gymnasium", "stable_baselines3")
_COLUMNS = ("figure", "unit", "ours", "peer", "limit", "ours/limit", "ours/peer", "target")


Target = tuple[Literal["ours", "ratio_to_limit", "ratio_to_peer"], float]


@dataclass(frozen=True)
class Figure:
    """One measured number, with what it is compared with.

    Attributes:
        key: its name in JSON.
        what: its name in tables.
        unit: of all three numbers.
        ours, peer, limit: medians over the rounds.
        against: what the peer and the limit are.
        less_is_better: errors, times and sizes; the ratios are then turned over, so that more than 1 is always better.
        target: which of `ours`, `ratio_to_limit`, `ratio_to_peer` should reach what.
        rounds: every single measurement, by name.
        spread: tell the least and the greatest of `rounds["ours"]` too.
    """

    key: str
    what: str
    unit: str
    ours: float
    peer: float | None = None
    limit: float | None = None
    against: str = ""
    less_is_better: bool = False
    target: Target | None = None
    rounds: Mapping[str, Sequence[float]] = field(default_factory=dict)
    spread: bool = False

    @property
    def ratio_to_limit(self) -> float | None:
        return self._ratio(self.limit)

    @property
    def ratio_to_peer(self) -> float | None:
        return self._ratio(self.peer)

    def _ratio(self, other: float | None) -> float | None:
        if other is None:
            return None
        above, below = (other, self.ours) if self.less_is_better else (self.ours, other)
        return above / below if below else None

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if self.target is None:
            return None
        which, least = self.target
        value = getattr(self, which)
        if value is None:
            return None
        return bool(value <= least if which == "ours" and self.less_is_better else value >= least)

    def as_json(self) -> dict[str, Any]:
        numbers = {name: getattr(self, name) for name in ("ours", "peer", "limit", "ratio_to_limit", "ratio_to_peer")}
        told = {"what": self.what, "against": self.against, "unit": self.unit, "less_is_better": self.less_is_better}
        target = {} if self.target is None else {"target": {"figure": self.target[0], "value": self.target[1], "met": self.met}}
        return {**numbers, **told, **target, "rounds": self.rounds}

    def row(self) -> tuple[str, ...]:
        """Cells in the order of the table's columns."""
        numbers = [_number(value) for value in (self.ours, self.peer, self.limit)]
        ratios = ["" if ratio is None else f"{ratio:.2f}" for ratio in (self.ratio_to_limit, self.ratio_to_peer)]
        if self.spread and len(self.rounds["ours"]) > 1:
            numbers[0] += f" ({_number(min(self.rounds['ours']))} to {_number(max(self.rounds['ours']))})"
        return (self.what, self.unit, *numbers, *ratios, self._target_text())

    def _target_text(self) -> str:
        if self.target is None:
            return ""
        which, least = self.target
        sign = "≤" if which == "ours" and self.less_is_better else "≥"
        of = {"ours": "", "ratio_to_limit": " × limit", "ratio_to_peer": " × peer"}[which]
        return f"{sign} {_number(least)}{of}: {'met' if self.met else 'missed'}"


@dataclass(frozen=True)
class Overview:
    """A table of its own, for what figures one to a line would not show well."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def markdown(self) -> list[str]:
        return [f"| {' | '.join(row)} |" for row in (self.columns, ("---",) * len(self.columns), *self.rows)]


@dataclass(frozen=True)
class Report:
    """What one run of a benchmark found.

    Attributes:
        benchmark: its name on the command line.
        figures: the first is the one that the benchmark is named for.
        settings: what it was run with.
        command: the command line.
        overview: a table that stands before the figures.
        date: when it ended.
    """

    benchmark: str
    figures: Sequence[Figure]
    settings: Mapping[str, Any]
    command: str
    overview: Overview | None = None
    date: str = field(default_factory=lambda: f"{datetime.now():%Y-%m-%d %H:%M}")

    def as_json(self) -> dict[str, Any]:
        """Everything. The first figure's numbers stand at the top level too."""
        figures = {figure.key: figure.as_json() for figure in self.figures}
        head: dict[str, Any] = {}
        for figure in self.figures[:1]:
            keys = ("ours", "peer", "limit", "ratio_to_limit", "ratio_to_peer", "unit")
            head = {"figure": figure.key, **{key: figures[figure.key][key] for key in keys}}
        about = {"machine": machine(), "versions": versions(), "settings": dict(self.settings), "command": self.command, "date": self.date}
        return {"benchmark": self.benchmark, **head, "figures": figures, **about}

    def show(self) -> None:
        """Print the table, and what the figures are compared with."""
        if self.overview is not None:
            table(self.overview.columns, self.overview.rows)
        table(_COLUMNS, [figure.row() for figure in self.figures])
        for note in self._notes():
            print(note)

    def write_json(self, path: Path) -> None:
        """Write `as_json()`."""
        write_json(path, self.as_json())

    def write_markdown(self, path: Path) -> None:
        """Replace this benchmark's block in docs/benchmarks.md.

        Raises:
            SettingError: the file, or the markers of the block, are not there.
        """
        begin, end = f"<!-- {self.benchmark}: begin -->", f"<!-- {self.benchmark}: end -->"
        try:
            page = path.read_text(encoding="utf-8")
        except OSError as error:
            raise SettingError(f"{path}: cannot be read: {error.strerror}; --write works in a checkout") from None
        if begin not in page or end not in page:
            raise SettingError(f"{path}: expected the lines '{begin}' and '{end}', between which the table goes")
        before, rest = page.split(begin, 1)
        after = rest.split(end, 1)[1]
        path.write_text(f"{before}{begin}\n{self.markdown()}\n{end}{after}", encoding="utf-8")

    def _notes(self) -> list[str]:
        """What the figures are compared with, a line for those that share it."""
        alike: dict[str, list[str]] = {}
        for figure in self.figures:
            if figure.against:
                alike.setdefault(figure.against, []).append(figure.what)
        return [f"{_listed(names)}: {against}" for against, names in alike.items()]

    def markdown(self) -> str:
        """Command, machine, versions, table, and what the figures are compared with."""
        told = (
            ("command", f"`{self.command}`"),
            ("date", self.date),
            ("machine", ", ".join(str(value) for value in machine().values())),
            ("versions", ", ".join(f"{name} {version}" for name, version in versions().items())),
            ("settings", ", ".join(f"{name} {value}" for name, value in self.settings.items())),
        )
        lines = ["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in told), ""]
        lines += [*self.overview.markdown(), ""] if self.overview is not None else []
        lines += [f"| {' | '.join(_COLUMNS)} |", f"|---|---|{'---:|' * 5}---|"]
        lines += [f"| {' | '.join(figure.row())} |" for figure in self.figures]
        notes = self._notes()
        return "\n".join(lines + ([""] if notes else []) + [f"* {note}" for note in notes])


def machine() -> dict[str, str]:
    """Processor, cores, operating system."""
    processor = platform.processor() or platform.machine()
    try:
        named = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
        processor = named.group(1).strip() if named else processor
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        system = platform.platform(terse=True)
    return {"cpu": processor, "cores": f"{os.cpu_count()} cores", "os": system}


def versions() -> dict[str, str]:
    """Of Python and of the packages that the figures depend on."""
    found = {"python": platform.python_version()}
    return found | {name: metadata.version(name) for name in _PACKAGES} | {"mprl": mprl.__version__}


def command_line(words: Sequence[str]) -> str:
    """`mprl benchmark ...`; of files elsewhere only the name, so that a page says the same wherever it was made, and of many the first."""
    said: list[str] = []
    elsewhere = 0
    for word in words:
        elsewhere = elsewhere + 1 if os.path.isabs(word) else 0
        if elsewhere <= 3:
            said.append(f".../{Path(word).name}" if elsewhere else word)
        elif elsewhere == 4:
            said.append("...")
    return " ".join(("mprl benchmark", *said))


def alternate(ways: Mapping[str, Callable[[], float]], seconds: float, least: int = 3) -> dict[str, list[float]]:
    """Measure several ways to do the same in turn, so that what slows the machine down for a while slows all of them down.

    Args:
        ways: each does a short piece of work and returns its rate.
        seconds: go on for so long, after one round that does not count.
        least: so many rounds in any case.

    Returns:
        The rates, one a round.
    """
    for way in ways.values():
        way()
    rates: dict[str, list[float]] = {name: [] for name in ways}
    began, rounds = time.perf_counter(), 0
    while rounds < least or time.perf_counter() - began < seconds:
        for name, way in ways.items():
            rates[name].append(way())
        rounds += 1
    return rates


def medians(rates: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of each."""
    return {name: statistics.median(values) for name, values in rates.items()}


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = len(names) - most
    return ", ".join(names if more <= 0 else (*names[:most], f"and {more} more"))


def _number(value: float | None) -> str:
    if value is None:
        return ""
    magnitude = abs(value)
    if magnitude >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if magnitude >= 100 else f"{value:.3g}"
