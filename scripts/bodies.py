"""The picture of docs/motion.md: shapes and poses of the free body. `python scripts/bodies.py OUT.png`"""

from __future__ import annotations

if __name__ == "__main__" and not __package__:  # the checkout is on the path, this folder is not
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from mprl.scripts import bodies

    sys.exit(bodies.main(sys.argv[1:]))

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mprl.scripts.figures import check_suffix, new_figure, save

# betas, and the rotation vectors of joints, rad; "both" for left and right
SHAPES: dict[str, dict[int, float]] = {"mean": {}} | {
    f"β{'₁₂₃'[k]} = {value:+.0f}".replace("-", "−"): {k: value} for k in range(3) for value in (2.0, -2.0)
}
_DOWN = {"both_shoulder": (0.0, 0.0, -1.25)}
POSES: dict[str, dict[str, tuple[float, float, float]]] = {
    "stand": _DOWN,
    "reach": {"both_collar": (0, 0, 0.3), "both_shoulder": (0, 0, 1.15)},
    "walk": {"left_hip": (-0.5, 0, 0), "right_hip": (0.35, 0, 0), "right_knee": (0.5, 0, 0), "both_elbow": (0, -0.5, 0),
             "left_shoulder": (0.6, 0, -1.25), "right_shoulder": (-0.6, 0, 1.25)},
    "sit": {"both_hip": (-1.5, 0, 0.1), "both_knee": (1.5, 0, 0), "both_shoulder": (0, 0, -1.2), "both_elbow": (0, -1.2, 0)},
    "squat": {"both_hip": (-2.0, 0, 0.3), "both_knee": (2.2, 0, 0), "both_ankle": (-0.5, 0, 0), "spine1": (0.4, 0, 0),
              "both_shoulder": (0, -1.3, 0)},
    "kick": {"left_hip": (-1.9, 0, 0.2), "left_knee": (0.2, 0, 0), "both_shoulder": (0, 0, -0.6)},
    "twist": {"spine1": (0, -0.4, 0), "spine2": (0, -0.4, 0), "spine3": (0, -0.3, 0), "neck": (0, -0.4, 0), "both_elbow": (1.3, 0, 0)},
}  # fmt: skip
_LIGHT = np.array([0.3, 0.5, 0.8]) / np.linalg.norm([0.3, 0.5, 0.8])
_SKIN = np.array([0.82, 0.74, 0.70])
_TURN = 0.6  # rad: poses are seen from their left front


def main(argv: Sequence[str]) -> int:
    """Draw the picture."""
    from mprl.motion import SmplBody
    from mprl.motion.body.joints import JOINTS

    out = Path(argv[0]) if argv else Path("docs/body.png")
    check_suffix(out)
    body = SmplBody.default()
    faces = body.faces.numpy()
    figure = new_figure(9.8, 3.9)
    plots = figure.subplots(2, len(SHAPES), sharey="row")
    for plot, (title, chosen) in zip(plots[0], SHAPES.items(), strict=True):
        betas = torch.zeros(1, body.num_betas)
        betas[0, list(chosen)] = torch.tensor(list(chosen.values()))
        _draw(plot, title, body(betas).vertices[0].numpy(), faces)
    for plot, (title, turned) in zip(plots[1], POSES.items(), strict=True):
        pose = torch.zeros(1, 24, 3)
        pose[0, 0, 1] = _TURN
        for name, vector in turned.items():
            for side in ("left_", "right_") if name.startswith("both_") else ("",):
                sign = torch.tensor([1.0, -1.0, -1.0] if side == "right_" else [1.0, 1.0, 1.0])
                pose[0, JOINTS.index(name.replace("both_", side))] = torch.tensor(vector) * sign
        _draw(plot, title, body(None, pose).vertices[0].numpy(), faces)
    save(figure, out, "")
    print(f"wrote {out}")
    return 0


def _draw(plot: Any, title: str, vertices: np.ndarray, faces: np.ndarray) -> None:
    """The triangles that face us, from the back to the front."""
    from matplotlib.collections import PolyCollection

    vertices = vertices - np.array([0, vertices[:, 1].min(), 0])
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    seen = np.flatnonzero(normals[:, 2] > 0)
    seen = seen[np.argsort(corners[seen, :, 2].mean(axis=1))]
    bright = 0.25 + 0.75 * np.clip(normals[seen] @ _LIGHT / np.linalg.norm(normals[seen], axis=1), 0, 1)
    colours = bright[:, None] * _SKIN
    plot.add_collection(PolyCollection(corners[seen, :, :2], facecolors=colours, edgecolors=colours, linewidths=0.3))
    plot.set_title(title, fontsize=8)
    plot.set_aspect("equal")
    plot.set(xlim=(-0.95, 0.95), ylim=(-0.02, 2.12))
    plot.set_axis_off()
