"""A clip at a glance: `python -m mprl.motion.clips.sheet CLIP OUT.png`, pictures from its first frame to its last, row by row."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from matplotlib.image import imsave
from numpy.typing import NDArray

from mprl.motion import HUMANOID, MotionClip, load
from mprl.simulation.rendering import SceneRenderer

COLUMNS = 8


def sheet(clip: MotionClip, pictures: int = 24, size: int = 240) -> NDArray[np.uint8]:
    """Evenly spaced moments of a clip of the humanoid, side by side.

    Args:
        pictures: how many, a multiple of 8. size: of each, pixels.

    Returns:
        (pictures / 8 * size, 8 * size, 3) uint8.
    """
    qpos = HUMANOID.to_qpos(clip).numpy()
    last = clip.num_frames - (2 if clip.loop == "wrap" else 1)  # a cycle's last frame is its first one again
    with SceneRenderer(HUMANOID.model, width=size, height=size) as renderer:
        frames = [renderer.render(qpos[t]) for t in np.linspace(0, last, pictures).round().astype(int)]
    return np.concatenate([np.concatenate(frames[k : k + COLUMNS], axis=1) for k in range(0, pictures, COLUMNS)])


def main(argv: Sequence[str]) -> None:
    """Write the sheet of a clip, by name or file."""
    motion, out = argv
    imsave(out, sheet(load(motion)))


if __name__ == "__main__":
    main(sys.argv[1:])
