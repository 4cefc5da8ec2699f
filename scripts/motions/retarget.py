"""`mprl motion retarget`: a motion, or a folder of them, for another body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from mprl.errors import MprlError, SettingError

if TYPE_CHECKING:
    from mprl.motion.retarget.report import Quality


@dataclass(frozen=True)
class Options:
    """Move a motion to another body: feet on the floor, joints within their limits."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE|FOLDER")]
    """a motion file, a folder of them, or the name of a shipped motion"""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """where to write it: a .npz, or a folder for a folder"""
    character: Annotated[str, tyro.conf.arg(metavar="NAME|FILE")] = "humanoid"
    """humanoid, smpl, or an MJCF file"""
    map: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """a .toml that says which joint is which, where the names do not"""
    plot: Annotated[Path | None, tyro.conf.arg(metavar="FILE.png", help_behavior_hint="")] = None
    """draw how deep and how far feet slide, before and after, of a single file"""


def run(options: Options, words: Sequence[str] = ()) -> int:
    """Retarget; files that cannot be are told at the end, with exit code 2."""
    from mprl.motion.retarget import target_named

    source, out = Path(options.source), options.out
    folder = source.is_dir()
    if not folder and out.suffix.lower() != ".npz":
        raise SettingError(f"{out}: motions are written as .npz, not '{out.suffix}'")
    if folder and options.plot is not None:
        raise SettingError(f"{options.plot}: a plot is of one file, {source} is a folder")
    target = target_named(options.character, options.map)
    if not folder:
        qualities = _retarget(options.source, out, target, options)
        _table([("", qualities)])
        print(f"wrote {out}")
        return 0
    return _folder(source, out, target, options)


def _folder(source: Path, out: Path, target: Any, options: Options) -> int:
    from mprl.motion.load import READERS

    files = sorted(file for file in source.rglob("*") if file.suffix.lower() in READERS and file.is_file())
    if not files:
        raise SettingError(f"{source}: holds no motion files; known are {', '.join(READERS)}")
    found, failed = [], []
    for number, file in enumerate(files, start=1):
        place = (out / file.relative_to(source)).with_suffix(".npz")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            found.append((file.stem, _retarget(str(file), place, target, options, f"{number}/{len(files)}")))
        except OSError as error:
            raise SettingError(f"{place.parent}: cannot be made: {error.strerror}") from None
        except MprlError as error:
            failed.append(str(error))
    _table(found)
    print(f"wrote {len(found)} of {len(files)} motions to {out}")
    for line in failed:
        print(f"not retargeted: {line}")
    return 2 if failed else 0


def _retarget(file: str, out: Path, target: Any, options: Options, number: str = "") -> tuple[Quality, Quality]:
    from mprl.motion import load
    from mprl.motion.formats import npz
    from mprl.motion.retarget import report, retargeted

    clip = load(file)
    with _progress() as progress:
        task = progress.add_task(f"{number} {clip.name}".strip(), total=clip.num_frames)
        made = retargeted(clip, target, options.map, lambda frames: progress.advance(task, frames))
    npz.write(made.clip, out)
    before, after = report.compare(made, target)
    if options.plot is not None:
        report.plot(options.plot, f"{clip.name} on {target.name}", before, after, clip.frame_rate)
        print(f"wrote {options.plot}")
    return before, after


def _progress() -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("frames"), TimeRemainingColumn())
    return Progress(*columns, transient=True)


def _table(rows: list[tuple[str, tuple[Quality, Quality]]]) -> None:
    from mprl.motion.retarget import report
    from mprl.scripts.tables import table

    if not rows:
        return
    if len(rows) > 1:
        rows = [*rows, ("mean", (report.means([b for _, (b, _) in rows]), report.means([a for _, (_, a) in rows])))]
    cells = [
        (name if when == "before" else "", when, *report.row(quality))
        for name, pair in rows
        for when, quality in zip(("before", "after"), pair, strict=True)
    ]
    table(("motion", "", *report.COLUMNS.values()), cells)
