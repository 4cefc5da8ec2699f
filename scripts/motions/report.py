"""`mprl motion report`: how good motions are for a body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mprl.errors import MprlError, SettingError
from mprl.scripts.options import check_folder
from mprl.scripts.reading import Reading, of_its_kind


@dataclass(frozen=True)
class Options(Reading):
    """Say how deep a motion sinks, how far its feet slide, how much it shakes, and whether limits are kept."""

    files: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILE ...")]
    """motion files, or names of shipped motions"""
    character: Annotated[str, tyro.conf.arg(metavar="NAME|FILE")] = "humanoid"
    """humanoid, smpl, or an MJCF file; motions of other skeletons are retargeted to it first"""
    map: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """a .toml that says which joint is which, where the names do not"""
    plot: Annotated[Path | None, tyro.conf.arg(metavar="FILE.png", help_behavior_hint="")] = None
    """draw depth and sliding of a single motion over time"""


def run(options: Options, words: Sequence[str] = ()) -> int:
    """Print a table: a motion of the character's own joints is a line, of another skeleton two, retargeted plainly and cleaned up."""
    from mprl.motion import load
    from mprl.motion.retarget import report, retargeted, target_named
    from mprl.scripts.tables import table

    if not options.files:
        raise SettingError("expected at least one motion (mprl motion report --help)")
    if options.plot is not None and len(options.files) > 1:
        raise SettingError(f"{options.plot}: a plot is of one motion, found {len(options.files)}")
    if options.plot is not None:
        check_folder(options.plot)
    target = target_named(options.character, options.map)
    rows, failed = [], []
    for file in options.files:
        try:
            said = options.said()
            clip = load(file, **(said if len(options.files) == 1 else of_its_kind(file, said)))
            if set(target.skeleton.names) <= set(clip.skeleton.names):
                before = after = report.measure(clip, target)
                rows.append((clip.name, "as it is", *report.row(after)))
            else:
                before, after = report.compare(retargeted(clip, target, options.map), target)
                rows += [(clip.name, "before", *report.row(before)), ("", "after", *report.row(after))]
            if options.plot is not None:
                report.plot(options.plot, f"{clip.name} on {target.name}", before, after, clip.frame_rate)
        except MprlError as error:
            if len(options.files) == 1:
                raise
            failed.append(str(error))
    if rows:
        table(("motion", "", *report.COLUMNS.values()), rows)
    for line in failed:
        print(f"not measured: {line}")
    return 1 if failed else 0
