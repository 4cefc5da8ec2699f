"""Makes the clips that ship with the package: `python -m mprl.motion.clips.make [CLIP ...]`, all where none is named.

They are synthesised from mechanics and published facts of human movement, and contain no recorded motion.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from mprl.errors import unknown_name
from mprl.motion.clip import MotionClip
from mprl.motion.clips import flips, floor, gaits, standing
from mprl.motion.clips.construct import construct
from mprl.motion.clips.jump import jump
from mprl.motion.clips.punch import punch
from mprl.motion.clips.sketch import Sketch
from mprl.motion.clips.walk import walk
from mprl.motion.formats import npz

# Made consistent by trajectory optimisation.
SKETCHES: dict[str, Callable[[float], Sketch]] = {
    draw.__name__: draw
    for draw in (
        gaits.walk_slow, gaits.walk_brisk, gaits.walk_backward, gaits.jog, gaits.run, gaits.sidestep, gaits.hop,
        standing.squat, standing.balance, standing.turn, standing.kick, standing.spinkick, standing.jump_in_place, standing.dance,
        flips.cartwheel, flips.backflip, flips.frontflip,
        floor.getup_back, floor.getup_front, floor.roll, floor.crawl,
    )
}  # fmt: skip
_DRAWN: dict[str, Callable[[], MotionClip]] = {"walk": walk, "jump": jump, "punch": punch}  # frame by frame, with no optimisation
CLIPS: dict[str, Callable[[], MotionClip]] = _DRAWN | {name: partial(construct, name, draw) for name, draw in SKETCHES.items()}


def about(name: str) -> str:
    """A line about a clip: what its script says of it."""
    told = (_DRAWN | SKETCHES)[name].__doc__ if name in CLIPS else None
    return (told or "").split("\n")[0]


def main(argv: Sequence[str] = ()) -> None:
    """Write each clip beside this file."""
    for name in argv or CLIPS:
        if name not in CLIPS:
            raise unknown_name("clip", name, CLIPS, f"known: {', '.join(CLIPS)}")
        clip = CLIPS[name]()
        path = npz.write(clip, Path(__file__).with_name(f"{name}.npz"))
        print(f"{path.name}: {clip.duration:.2f} s, {clip.num_frames} frames, {path.stat().st_size / 1024:.0f} kB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
