"""How motion files are read: the options that all commands share which read one, and what is shown and checked while many are."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from mprl.errors import SettingError

if TYPE_CHECKING:
    from rich.progress import Progress


def text(metavar: str) -> Any:
    """An option that need not be said."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint="")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What may be said of a motion file."""

    scale: Annotated[str | None, text("UNIT")] = None
    """the file's unit of length: cm, m, inch, ..., or metres in it; for BVH, where it is otherwise found"""
    up: Annotated[str | None, text("AXIS")] = None
    """the file's axis that points up: x, y, z, -x, ...; otherwise found"""
    clip: Annotated[str | None, text("NAME")] = None
    """which motion of a file that holds several"""

    def said(self) -> dict[str, Any]:
        """What was said, as `load` takes it."""
        values = {field.name: getattr(self, field.name) for field in fields(Reading)}
        return {name: value for name, value in values.items() if value is not None}


def of_its_kind(source: Path | str, said: dict[str, Any]) -> dict[str, Any]:
    """What files of this kind can be told: among many files an option is for those that have it."""
    from mprl.motion.load import OPTIONS, READERS

    takes = OPTIONS.get(READERS.get(Path(source).suffix.lower()), ())
    return {name: value for name, value in said.items() if value is not None and name in takes}


def check_not_over(target: Path, read: Collection[Path]) -> None:
    """Raise a `SettingError` if `target` is one of the files that are read, given as resolved paths."""
    if target.resolve() in read:
        raise SettingError(f"{target}: would be written over the motion that is read; write elsewhere")


def progress(what: str, *columns: Any) -> Progress:
    """A bar with further columns beside it, on a terminal only."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console()
    return Progress(
        TextColumn(what), BarColumn(), MofNCompleteColumn(), *columns, TimeRemainingColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip
