"""The picture of docs/motion.md: one body in our frame, in SMPL's, and as BVH files have it. `python scripts/conventions.py OUT.png`"""

from __future__ import annotations

if __name__ == "__main__" and not __package__:  # the checkout is on the path, this folder is not
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from mprl.scripts import conventions

    sys.exit(conventions.main(sys.argv[1:]))

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mprl.scripts.figures import BLUE, ORANGE, check_suffix, new_figure, save

# what each frame is called, and our x (forward), y (left) and z (up) in it
FRAMES = (
    ("mprl: z up, facing x\nmetres, wxyz", {"x": (1, 0, 0), "y": (0, 1, 0), "z": (0, 0, 1)}),
    ("SMPL: y up, facing z\nmetres, axis-angle", {"z": (1, 0, 0), "x": (0, 1, 0), "y": (0, 0, 1)}),
    ("AMASS: the world is z up\nstanding bodies face -y", {"-y": (1, 0, 0), "x": (0, 1, 0), "z": (0, 0, 1)}),
    ("BVH: mostly y up, facing z\ncm, inches, ...: found", {"z": (1, 0, 0), "x": (0, 1, 0), "y": (0, 0, 1)}),
)


def main(argv: Sequence[str]) -> int:
    """Draw the picture."""
    from mprl.motion import SmplBody

    out = Path(argv[0]) if argv else Path("docs/conventions.png")
    check_suffix(out)
    skeleton = SmplBody.default().skeleton()
    places = np.zeros((len(skeleton.names), 3))
    for joint, parent in enumerate(skeleton.parents):
        places[joint] = skeleton.offsets[joint] + (places[parent] if parent >= 0 else 0)
    figure = new_figure(12, 3.8)
    for number, (title, axes) in enumerate(FRAMES, start=1):
        _draw(figure.add_subplot(1, len(FRAMES), number, projection="3d"), title, axes, places, skeleton)
    save(figure, out, "")
    print(f"wrote {out}")
    return 0


def _draw(plot: Any, title: str, axes: dict[str, tuple[int, int, int]], places: np.ndarray, skeleton: Any) -> None:
    """A body from its front left, with arrows along the axes; left limbs blue, right ones orange."""
    for joint, parent in enumerate(skeleton.parents[1:], start=1):
        name = skeleton.names[joint]
        colour = BLUE if name.startswith("left") else ORANGE if name.startswith("right") else "#6b7480"
        plot.plot(*places[[joint, parent]].T, color=colour, linewidth=3, solid_capstyle="round")
    start = np.array([0.0, 0.0, places[:, 2].min()])
    for name, along in axes.items():
        arrow = 0.7 * np.array(along)
        plot.quiver(*start, *arrow, color="#222222", linewidth=1.6, arrow_length_ratio=0.12)
        plot.text(*(start + 1.12 * arrow), name, fontsize=12, fontweight="bold", ha="center", va="center")
    plot.set_title(title, fontsize=10)
    plot.set_axis_off()
    plot.set_box_aspect((1, 1, 1), zoom=1.45)
    plot.set(xlim=(-0.8, 0.8), ylim=(-0.8, 0.8), zlim=(-1.0, 0.6))
    plot.view_init(elev=14, azim=35)
