"""Where SMPL's landmarks are on a body: `smplx.SMPL` picks these vertices by their index, so our mesh has them at the same indices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# Index of each landmark among SMPL's 6890 vertices (public: OpenPose's and COCO's extra joints of every SMPL regressor).
SMPL_INDEX = {
    "nose": 332, "right_eye": 6260, "left_eye": 2800, "right_ear": 4071, "left_ear": 583,
    "right_thumb": 6191, "right_index": 5782, "right_middle": 5905, "right_ring": 6016, "right_pinky": 6133,
    "left_thumb": 2746, "left_index": 2319, "left_middle": 2445, "left_ring": 2556, "left_pinky": 2673,
    "left_big_toe": 3216, "left_small_toe": 3226, "left_heel": 3387,
    "right_big_toe": 6617, "right_small_toe": 6624, "right_heel": 6787,
}  # fmt: skip


def find(skin: Floats, weights: Floats, bones: Sequence[str], heads: Floats, mirror: Ints, eye: int) -> dict[str, int]:
    """The vertex of each landmark.

    Args:
        skin: one body, (V, 3) m, y up, facing +z.
        weights: of the vertices to the bones, (V, B), and the bones' names and heads (B, 3).
        mirror: of each vertex.
        eye: vertex at the middle of an eye.
    """

    def of(*names: str) -> Ints:
        """Vertices that mostly follow these bones."""
        return np.flatnonzero(weights[:, [bones.index(name) for name in names]].sum(axis=1) > 0.5)

    def furthest(vertices: Ints, direction: Sequence[float]) -> int:
        return int(vertices[np.argmax(skin[vertices] @ np.asarray(direction))])

    def tip(bone: str, start: str) -> int:
        vertices = of(bone)
        return int(vertices[np.linalg.norm(skin[vertices] - heads[bones.index(start)], axis=1).argmax()])

    head, foot = of("head"), of("foot.L")
    sole = foot[skin[foot, 1] < skin[:, 1].min() + 0.03]
    left = {
        "eye": eye if skin[eye, 0] > 0 else int(mirror[eye]),
        "ear": furthest(head, (1, 0, 0)),
        **{name: tip(f"finger{k}-3.L", f"finger{k}-1.L") for k, name in enumerate(("thumb", "index", "middle", "ring", "pinky"), start=1)},
        "big_toe": furthest(of("toe1-2.L"), (0, 0, 1)),
        "small_toe": furthest(of("toe5-2.L", "toe5-3.L"), (0.5, 0, 1)),
        "heel": furthest(sole, (0, 0, -1)),
    }
    sides = {f"left_{name}": v for name, v in left.items()} | {f"right_{name}": int(mirror[v]) for name, v in left.items()}
    return {"nose": furthest(head, (0, 0, 1)), **sides}


def order(count: int, landmarks: dict[str, int]) -> Ints:
    """An order of `count` vertices that puts each landmark at SMPL's index and leaves the others in sequence, (count,)."""
    rest = iter(sorted(set(range(count)) - set(landmarks.values())))
    at = {SMPL_INDEX[name]: vertex for name, vertex in landmarks.items()}
    return np.array([at[i] if i in at else next(rest) for i in range(count)])
