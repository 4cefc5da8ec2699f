"""Which keypoints are joined: limbs for part-affinity fields, and a tree of them for pictorial structures."""

from __future__ import annotations

import itertools
from functools import cache

from mprl.errors import SettingError
from mprl.perception.pose2d import layouts

# towards the trunk's end first: a tree, and two limbs across
_CHAINS = (("nose", "{}_eye", "{}_ear"), ("nose", "{}_shoulder", "{}_elbow", "{}_wrist"), ("{}_shoulder", "{}_hip", "{}_knee", "{}_ankle"))
_ACROSS = (("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"))


@cache
def limbs(layout: str = "coco_17") -> tuple[tuple[int, int], ...]:
    """Pairs of keypoints that are joined. Those of the tree come first.

    Raises:
        SettingError: a layout without a nose, shoulders and so on.
        UnknownNameError: no such layout.
    """
    return (*_tree(layout), *(_numbers(layout, pair) for pair in _ACROSS))


@cache
def parents(layout: str = "coco_17") -> tuple[int, ...]:
    """Of each keypoint the one before it on the way from the nose, -1 of the nose; errors as of `limbs`."""
    above = {end: begin for begin, end in _tree(layout)}
    return tuple(above.get(point, -1) for point in range(len(layouts.points(layout))))


def _tree(layout: str) -> tuple[tuple[int, int], ...]:
    chains = [[name.format(side) for name in chain] for chain in _CHAINS for side in ("left", "right")]
    pairs = [_numbers(layout, pair) for chain in chains for pair in itertools.pairwise(chain)]
    if len(pairs) != len(layouts.points(layout)) - 1:
        raise SettingError(f"the limbs of {layout} are not known; those of coco_17 are")
    return tuple(pairs)


def _numbers(layout: str, pair: tuple[str, str]) -> tuple[int, int]:
    names = layouts.points(layout)
    missing = [name for name in pair if name not in names]
    if missing:
        raise SettingError(f"the limbs of {layout} are not known: it has no {missing[0]}; coco_17 has")
    return names.index(pair[0]), names.index(pair[1])
