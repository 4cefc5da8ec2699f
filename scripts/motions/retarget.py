"""`mprl motion retarget`: a motion, or a folder of them, for another body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from mprl.errors import MprlError, SettingError
from mprl.scripts.options import check_folder, make_folder
from mprl.scripts.reading import Reading, check_not_over, of_its_kind, progress

if TYPE_CHECKING:
    from mprl.motion import MotionClip
    from mprl.motion.retarget.report import Quality


@dataclass(frozen=True)
class Options(Reading):
    """Move a motion to another body: feet on the floor, joints within their limits."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE|FOLDER")]
    """a motion file, a folder of them, or the name of a shipped motion"""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """where to write it: a .npz, or a folder for several motions"""
    character: Annotated[str, tyro.conf.arg(metavar="NAME|FILE")] = "humanoid"
    """humanoid, smpl, or an MJCF file"""
    map: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """a .toml that says which joint is which, where the names do not"""
    plot: Annotated[Path | None, tyro.conf.arg(metavar="FILE.png", help_behavior_hint="")] = None
    """draw how deep and how far feet slide, before and after, of a single file"""


def run(options: Options, words: Sequence[str] = ()) -> int:
    """Retarget.

    Returns:
        0, or 1 where at least one motion of several could not be retargeted.
    """
    from mprl.motion import load
    from mprl.motion.retarget import target_named

    source, out = Path(options.source), options.out
    several = source.is_dir() or not out.suffix
    if not several and out.suffix.lower() != ".npz":
        raise SettingError(f"{out}: motions are written as .npz, not '{out.suffix}'")
    if several and options.plot is not None:
        raise SettingError(f"{options.plot}: a plot is of one motion; write to a .npz")
    target = target_named(options.character, options.map)
    if several:
        return _all(source, out, target, options)
    check_folder(out)
    check_not_over(out, {source.resolve()})
    if options.plot is not None:
        check_folder(options.plot)
    clip = load(options.source, **options.said())
    _table([(clip.name, _retarget(clip, out, target, options))])
    print(f"wrote {out}")
    return 0


def _all(source: Path, out: Path, target: Any, options: Options) -> int:
    """A folder's motions, or those of one file; what cannot be retargeted is told at the end."""
    from mprl.motion import load_all
    from mprl.motion.load import READERS

    files: list[Path | str] = [options.source]
    said = options.said()
    if source.is_dir():
        files = [file for file in sorted(source.rglob("*")) if file.suffix.lower() in READERS and file.is_file()]
        if not files:
            raise SettingError(f"{source}: holds no motion files; known are {', '.join(READERS)}")
    make_folder(out)
    read = {Path(file).resolve() for file in files}
    found: list[tuple[str, tuple[Quality, Quality]]] = []
    failed: list[str] = []
    written: set[Path] = set()
    for number, file in enumerate(files, start=1):
        inside = Path(file).relative_to(source) if source.is_dir() else Path(Path(file).name)
        try:
            for clip in load_all(file, failed=failed, **(of_its_kind(file, said) if source.is_dir() else said)):
                place = (out / inside).with_suffix(".npz")
                if place in written:  # a file of several motions, or walk.bvh beside walk.txt
                    place = place.with_name(f"{place.stem}_{len(written)}.npz")
                check_not_over(place, read)
                make_folder(place.parent)
                found.append((clip.name, _retarget(clip, place, target, options, f"{number}/{len(files)}")))
                written.add(place)
        except MprlError as error:
            if len(files) == 1 and not found and not failed:
                raise
            failed.append(str(error))
    _table(found)
    print(f"wrote {len(found)} motions of {len(files)} files to {out}")
    for line in failed:
        print(f"could not be retargeted: {line}")
    return 1 if failed else 0


def _retarget(clip: MotionClip, out: Path, target: Any, options: Options, number: str = "") -> tuple[Quality, Quality]:
    from mprl.motion.formats import npz
    from mprl.motion.retarget import report, retargeted

    with progress("{task.description}") as bar:
        task = bar.add_task(f"{number} {clip.name}".strip(), total=clip.num_frames)
        made = retargeted(clip, target, options.map, lambda frames: bar.advance(task, frames))
    npz.write(made.clip, out)
    before, after = report.compare(made, target)
    if options.plot is not None:
        report.plot(options.plot, f"{clip.name} on {target.name}", before, after, clip.frame_rate)
        print(f"wrote {options.plot}")
    return before, after


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
