"""Pictures of people as a dataset on disk, which is read as a stream.

    dataset = record_people("people", Studio(Poses.of(), SINGLE), samples=6000)     # columns image, keypoints, visible, box, ...

Called again after a kill, it goes on where it stopped, and comes to the same pictures.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np

from mprl.envs.people.scenes import LAYOUT, Scenery, Studio
from mprl.envs.recording import progress_bar
from mprl.errors import number
from mprl.perception.datasets import Columns, Dataset, DatasetWriter
from mprl.perception.pose2d import layouts

_AT_ONCE = 16  # pictures between two looks at the bar


def columns(scenery: Scenery) -> Columns:
    """What is known of each picture, as of `scenes.Picture`; `episode` is its number."""
    size, people, points = (scenery.height, scenery.width), scenery.people, len(layouts.points(LAYOUT))
    return {
        "image": ("uint8", (*size, 3)),
        "keypoints": ("float32", (people, points, 2)),
        "visible": ("uint8", (people, points)),
        "box": ("float32", (people, 4)),
        "count": ("int64", ()),
        "part": ("uint8", size),
        "person": ("uint8", size),
        "clip": ("int64", ()),
        "episode": ("int64", ()),
    }


def record_people(folder: str | Path, studio: Studio, samples: int, seed: int = 0, progress: bool = True) -> Dataset:
    """Draw pictures into a folder until there are so many.

    Args:
        folder: made if missing; a dataset that is there is continued.
        studio: that draws them.
        samples: how many there are to be.
        seed: of all of them; picture n of a seed is always the same.
        progress: show a bar.

    Raises:
        DatasetError: the folder holds something else, or pictures of another scenery, other clips or another seed.
    """
    samples = number("samples", samples, 1, whole=True)
    about = {"kind": "people", "layout": LAYOUT, "seed": seed, "clips": [] if studio.poses is None else list(studio.poses.names)}
    about |= {"scenery": json.loads(json.dumps(dataclasses.asdict(studio.scenery)))}
    known = columns(studio.scenery)
    writer = DatasetWriter(folder, known, about, 512, tuple(about))
    with writer, progress_bar(progress, "drawing people", writer.samples, samples) as advance:
        while writer.samples < samples:
            first = writer.samples
            drawn = studio.draw(min(_AT_ONCE, samples - first), seed, first)
            rows = [{**vars(one), "episode": first + place} for place, one in enumerate(drawn)]
            writer.add({name: np.stack([row[name] for row in rows]).astype(dtype, copy=False) for name, (dtype, _) in known.items()})
            advance(writer.samples)
    return Dataset(folder)
