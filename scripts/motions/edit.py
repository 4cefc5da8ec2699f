"""`mprl motion edit`: changes to a motion, one after the other in the order in which they are asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from mprl.errors import SettingError
from mprl.scripts.options import check_folder
from mprl.scripts.reading import Reading

if TYPE_CHECKING:
    from mprl.motion import MotionClip

_Switch = Annotated[tyro.conf.UseCounterAction[int], tyro.conf.arg(help_behavior_hint="")]


def _number(metavar: str) -> Any:
    return tyro.conf.arg(metavar=metavar, help_behavior_hint="")


@dataclass(frozen=True)
class Options(Reading):
    """Change a motion: trim, mirror, loop, turn, ... in the order given."""

    file: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """a motion file, or the name of a shipped motion"""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT.npz")]
    """where to write it"""
    trim: Annotated[tuple[float, float] | None, _number("START END")] = None
    """keep these seconds only"""
    mirror: _Switch = 0
    """swap left and right"""
    loop: _Switch = 0
    """find the best cycle and close it"""
    turn: Annotated[float | None, _number("DEGREES")] = None
    """turn it to the left"""
    speed: Annotated[float | None, _number("FACTOR")] = None
    """play it faster; the frame rate changes with it"""
    smooth: Annotated[float | None, _number("HZ")] = None
    """take out what is faster"""
    resample: Annotated[float | None, _number("HZ")] = None
    """change the frame rate"""
    then: Annotated[str | None, _number("FILE")] = None
    """go on with this motion, after a fade of .3 s"""
    blend: Annotated[str | None, _number("FILE")] = None
    """mix it with this motion, half and half"""


def run(options: Options, words: Sequence[str]) -> None:
    """Change a motion.

    Args:
        options: what is asked for.
        words: the same as on the command line, which says in which order.
    """
    from mprl.motion import edit as editing
    from mprl.motion import load
    from mprl.motion.formats import npz

    if options.out.suffix.lower() != ".npz":
        raise SettingError(f"{options.out}: motions are written as .npz, not '{options.out.suffix}'")
    check_folder(options.out)
    changes: dict[str, Callable[[MotionClip, Any], MotionClip]] = {
        "trim": lambda clip, part: editing.trim(clip, *part),
        "mirror": lambda clip, _: editing.mirror(clip),
        "loop": lambda clip, _: editing.loop(clip),
        "turn": lambda clip, degrees: editing.turn(clip, math.radians(degrees)),
        "speed": editing.time_warp,
        "smooth": editing.smooth,
        "resample": editing.resample,
        "then": lambda clip, file: editing.crossfade(clip, load(file)),
        "blend": lambda clip, file: editing.blend(clip, load(file)),
    }
    said = [word.partition("=")[0].lstrip("-") for word in words if word.startswith("--")]
    clip = load(options.file, **options.said())
    for name in dict.fromkeys(word for word in said if word in changes):
        clip = changes[name](clip, getattr(options, name))
    npz.write(clip, options.out)
    kind = "a cycle" if clip.loop == "wrap" else "a motion"
    print(f"wrote {options.out}: {kind} of {clip.num_frames} frames at {clip.frame_rate:g} Hz, {clip.duration:.2f} s")
