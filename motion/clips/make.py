"""Makes the clips that ship with the package: `python -m mprl.motion.clips.make`.

They are synthesised from mechanics and published facts of human movement, and contain no recorded motion.
"""

from __future__ import annotations

from pathlib import Path

from mprl.motion.clip import MotionClip
from mprl.motion.clips.jump import jump
from mprl.motion.clips.punch import punch
from mprl.motion.clips.walk import walk
from mprl.motion.formats import npz

CLIPS = {"walk": walk, "jump": jump, "punch": punch}


def main() -> None:
    """Write each clip beside this file."""
    for name, make in CLIPS.items():
        clip: MotionClip = make()
        path = npz.write(clip, Path(__file__).with_name(f"{name}.npz"))
        print(f"{path.name}: {clip.duration:.2f} s, {clip.num_frames} frames, {path.stat().st_size / 1024:.0f} kB")


if __name__ == "__main__":
    main()
