"""What the benchmark of 2-D pose learns from, and how: rendered people, of whom some motions, patterns and backgrounds are kept back."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mprl.envs.people.clothes import PATTERNS
from mprl.envs.people.poses import Poses
from mprl.envs.people.recording import record_people
from mprl.envs.people.scenes import BACKGROUNDS, SEVERAL, SINGLE, Scenery, Studio
from mprl.motion import motions
from mprl.nn import schedules
from mprl.perception import models
from mprl.perception.datasets import Dataset
from mprl.perception.plug import CONFIG, Perception
from mprl.perception.pose2d import layouts
from mprl.perception.pose2d.samples import PoseSamples, spec
from mprl.perception.trainer import Trainer, TrainerSettings

HELD_OUT = ("kick", "squat", "crawl")  # motions; the others are learned from
NEW_PATTERNS, NEW_BACKGROUNDS = ("hoops", "spots"), ("clutter",)
POINTS = layouts.points("coco_17")
BATCH = 16  # while judging
LEARNED_AT_ONCE = 8  # more updates in the same time than 16, and more is found


@dataclass(frozen=True)
class Contestant:
    """A model, how it is made, and on which pictures it learns."""

    kind: str
    settings: dict[str, Any]
    several: bool = False
    learning_rate: float = 3e-3  # the highest


CONTESTANTS = {
    "regression": Contestant("pose_regression", {"refinements": 0}, learning_rate=2e-3),
    "regression, refined twice (DeepPose)": Contestant("pose_regression", {"refinements": 2}, learning_rate=2e-3),
    "heatmaps": Contestant("cpm", {"num_stages": 1}),
    "heatmaps in three stages (CPM)": Contestant("cpm", {"num_stages": 3}),
    "vision transformer (ViTPose)": Contestant("vitpose", {}, learning_rate=1e-3),
    "part-affinity fields": Contestant("paf", {"num_stages": 1}, several=True),
}


@dataclass(frozen=True)
class Data:
    """Pictures by what they are for."""

    learned: Dataset
    known: Dataset
    held_out: Dataset
    several_learned: Dataset
    several_held_out: Dataset


def folder_of(contestant: Contestant, training: float) -> str:
    """The name of a model's folder."""
    return contestant.kind + "".join(f"_{value}" for value in contestant.settings.values()) + f"_{training:g}s"


# --- pictures ---------------------------------------------------------------------------------------------------------------


def recorded(out: Path, pictures: int, seed: int) -> Data:
    """Pictures of each kind, drawn where they are not there yet."""
    known = Poses.of([name for name in motions() if name not in HELD_OUT])
    strange = Poses.of(HELD_OUT)
    plain: dict[str, Any] = {
        "patterns": tuple(name for name in PATTERNS if name not in NEW_PATTERNS),
        "backgrounds": tuple(name for name in BACKGROUNDS if name not in NEW_BACKGROUNDS),
    }
    new: dict[str, Any] = {"patterns": NEW_PATTERNS, "backgrounds": NEW_BACKGROUNDS}

    def some(name: str, poses: Poses, scenery: Scenery, count: int, number: int) -> Dataset:
        return record_people(out / "pictures" / name, Studio(poses, scenery), count, 10 * seed + number)

    judged = max(8, min(600, pictures // 10))
    return Data(
        some("learned", known, dataclasses.replace(SINGLE, **plain), pictures, 1),
        some("known", known, dataclasses.replace(SINGLE, **plain), judged // 2, 5),
        some("held_out", strange, dataclasses.replace(SINGLE, **new), judged, 2),
        some("several_learned", known, dataclasses.replace(SEVERAL, **plain), pictures // 2, 3),
        some("several_held_out", strange, dataclasses.replace(SEVERAL, **new), judged // 2, 4),
    )


def everything(dataset: Dataset) -> dict[str, Tensor]:
    """All of a small dataset."""
    return next(dataset.batches(len(dataset), seed=None))


def inputs(pictures: dict[str, Tensor]) -> Tensor:
    """Pictures as models read them."""
    return spec(*pictures["image"].shape[1:3]).prepare(pictures["image"])


def true_poses(dataset: Dataset) -> tuple[Tensor, Tensor]:
    """Keypoints of the first person of each picture, (N, K, 2) px, and which are in it, (N, K)."""
    parts = list(dataset.batches(1024, columns=("keypoints", "visible"), seed=None))
    return torch.cat([part["keypoints"][:, 0] for part in parts]), torch.cat([part["visible"][:, 0] > 0 for part in parts])


# --- learning ---------------------------------------------------------------------------------------------------------------


def learned(contestant: Contestant, data: Data, training: float, seed: int, folder: Path) -> tuple[Any, int]:
    """A model that has learned for so long, or was found; and how many updates that were."""
    if (folder / CONFIG).exists():
        model = Perception.load(folder)
        return model.network.eval(), int((model.source or {}).get("updates", 0))
    samples = PoseSamples(data.several_learned if contestant.several else data.learned, LEARNED_AT_ONCE, contestant.several)
    torch.manual_seed(seed)
    network = models.build(contestant.kind, samples.spec.input_shape, 3 * len(POINTS), **contestant.settings)
    lasting, rate = _Lasting(samples, training), schedules.rise_and_fall(contestant.learning_rate)
    plan = TrainerSettings(epochs=1, learning_rate=rate, averaging="ema 0.98", batch_norm_batches=20, seed=seed)
    updates = Trainer(network, lasting, plan, steps=lambda _: lasting.share).fit().updates
    Perception(network, samples.spec, {"updates": updates}).save(folder)
    return network.eval(), updates


@dataclass
class _Lasting:
    """All batches again and again until so much of the processor's time is spent, and at least two."""

    samples: PoseSamples
    seconds: float
    spent: float = 0.0

    @property
    def share(self) -> float:
        """Of the time that is spent."""
        return min(self.spent / self.seconds, 1.0) if self.seconds else 1.0

    def batches(self, generator: torch.Generator) -> Iterator[dict[str, Tensor]]:
        began, count = time.process_time(), 0
        while True:
            for batch in self.samples.batches(generator):
                self.spent = time.process_time() - began
                if count >= 2 and self.spent >= self.seconds:
                    return
                yield batch
                count += 1
