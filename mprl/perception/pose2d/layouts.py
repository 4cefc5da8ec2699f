"""Which point of a person each keypoint is, in what order: the layouts that detectors use.

Names are SMPL's where SMPL has that joint ("neck" is the middle between the shoulders there and here), plain ones elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from mprl.errors import PerceptionError, unknown_name

_SIDES = ("left", "right")
_BODY_25 = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist", "pelvis",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "right_eye", "left_eye", "right_ear", "left_ear",
    "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
)  # fmt: skip
_COCO_17 = ("nose", *(f"{side}_{part}" for part in ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle") for side in _SIDES))
_COCO_18 = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist", "right_hip", "right_knee",
    "right_ankle", "left_hip", "left_knee", "left_ankle", "right_eye", "left_eye", "right_ear", "left_ear",
)  # fmt: skip
_SMPL_24 = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle", "spine3",
    "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hand", "right_hand",
)  # fmt: skip
# OpenPose's 25, COCO's 17 (most detectors), OpenPose's older 18, and SMPL's own joints
LAYOUTS: dict[str, tuple[str, ...]] = {"body_25": _BODY_25, "coco_17": _COCO_17, "coco_18": _COCO_18, "smpl_24": _SMPL_24}


def points(layout: str) -> tuple[str, ...]:
    """The names of a layout's keypoints, in order.

    Raises:
        UnknownNameError: no such layout.
    """
    if layout not in LAYOUTS:
        raise unknown_name("layout of keypoints", str(layout)[:80], LAYOUTS, f"known: {', '.join(LAYOUTS)}")
    return LAYOUTS[layout]


def of_count(count: int, where: str) -> str:
    """The layout with so many keypoints.

    Raises:
        PerceptionError: none has.
    """
    for name, names in LAYOUTS.items():
        if len(names) == count:
            return name
    known = ", ".join(f"{len(names)} ({name})" for name, names in LAYOUTS.items())
    raise PerceptionError(f"{where}: expected {known} keypoints, found {count}; as CSV with names any of them can be given")


def of_names(names: Sequence[str], where: str) -> str:
    """The layout of these keypoints, in whatever order, or else the first one that has all of them.

    Raises:
        PerceptionError: none has; says which is known nowhere.
    """
    for fits in (set.__eq__, set.__le__):
        for name, known in LAYOUTS.items():
            if fits(set(names), set(known)):
                return name
    strange = [name for name in names if not any(name in known for known in LAYOUTS.values())]
    if strange:
        raise PerceptionError(f"{where}: no keypoint is called '{strange[0][:80]}'; known are those of {', '.join(LAYOUTS)}")
    raise PerceptionError(f"{where}: its keypoints are of several layouts; give those of one of {', '.join(LAYOUTS)}")


def mirror(layout: str) -> list[int]:
    """For each keypoint the one on the person's other side, itself in the middle."""
    return other_side(points(layout))


def other_side(names: Sequence[str]) -> list[int]:
    """For each name the number of that with left and right changed, its own where it has neither."""
    swap = {"left": "right", "right": "left"}
    return [names.index("_".join((swap.get(name.split("_")[0], name.split("_")[0]), *name.split("_")[1:]))) for name in names]
