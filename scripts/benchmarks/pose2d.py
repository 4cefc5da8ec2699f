"""2-D pose: models that learn from rendered people in the same time of one core, judged on motions, bodies and clothes they never saw."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import torch
from torch import Tensor

from mprl.envs.people.camera import looking_at
from mprl.envs.people.clothes import PATTERNS
from mprl.envs.people.light import lit
from mprl.envs.people.poses import Poses
from mprl.envs.people.rasteriser import rasterise
from mprl.envs.people.recording import record_people
from mprl.envs.people.scenes import BACKGROUNDS, SEVERAL, SINGLE, Scenery, Studio
from mprl.motion import motions
from mprl.motion.body.joints import from_smpl
from mprl.motion.body.smpl import SmplBody
from mprl.perception import models
from mprl.perception.datasets import Dataset
from mprl.perception.plug import CONFIG, Perception
from mprl.perception.pose2d import heatmaps, layouts, metrics, pictorial
from mprl.perception.pose2d.network import STRIDE
from mprl.perception.pose2d.pictorial import Springs
from mprl.perception.pose2d.samples import PoseSamples, around, back, cut, spec
from mprl.perception.trainer import Trainer, TrainerSettings
from mprl.scripts.benchmarks.environment import Measured
from mprl.scripts.benchmarks.pose2d_pictures import detections, sheet
from mprl.scripts.benchmarks.report import Figure, Overview, alternate, medians
from mprl.simulation.rendering import Offscreen

HELD_OUT = ("kick", "squat", "crawl")  # motions; the others are learned from
NEW_PATTERNS, NEW_BACKGROUNDS = ("hoops", "spots"), ("clutter",)
COLUMNS = ("job", "model", "PCK@.2", "hidden", "known motions", "AP", "AP50", "AR", "pictures/s", "updates")
POINTS = layouts.points("coco_17")
BATCH = 16
WEIGHTS = (0.02, 0.05, 0.1, 0.2, 0.4)  # of springs; chosen on pictures of known motions


@dataclass(frozen=True)
class Contestant:
    """A model, how it is made, and on which pictures it learns."""

    kind: str
    settings: dict[str, Any]
    several: bool = False
    learning_rate: float = 2e-3


CONTESTANTS = {
    "regression": Contestant("pose_regression", {"refinements": 0}, learning_rate=1e-3),
    "regression, refined twice (DeepPose)": Contestant("pose_regression", {"refinements": 2}, learning_rate=1e-3),
    "heatmaps": Contestant("cpm", {"num_stages": 1}),
    "heatmaps in three stages (CPM)": Contestant("cpm", {"num_stages": 3}),
    "vision transformer (ViTPose)": Contestant("vitpose", {}, learning_rate=1e-3),
    "part-affinity fields": Contestant("paf", {}, several=True),
}
STRUCTURED = {"heatmaps": "heatmaps, pictorial structures", "heatmaps in three stages (CPM)": "CPM, pictorial structures"}


@dataclass(frozen=True)
class Data:
    """Pictures by what they are for."""

    learned: Dataset
    known: Dataset
    held_out: Dataset
    several_learned: Dataset
    several_held_out: Dataset


def measure(training: float, pictures: int, seconds: float, seed: int, out: Path, draw: Path | None) -> Measured:
    """All figures of `mprl benchmark pose2d`.

    Args:
        training: of each model, s of the processor.
        pictures: that are learned from, of one person; half as many of several.
        seconds: for the comparison of speed in drawing.
        seed: of models and pictures.
        out: where pictures and models are kept; those that are finished there are read back.
        draw: where pictures for a person to judge by are drawn.
    """
    data = recorded(out, pictures, seed)
    held_out, known, several = (everything(dataset) for dataset in (data.held_out, data.known, data.several_held_out))
    rows = [mean_pose(data.learned, held_out, known)]
    found, rates = {}, {}
    trained = {}
    for name, contestant in CONTESTANTS.items():
        network, updates = learned(contestant, data, training, seed, out / _folder(contestant))
        trained[name] = network
        if contestant.several:
            continue
        found[name], rates[name] = estimates(network.estimate, held_out)
        rows.append(row("one person", name, found[name], held_out, estimates(network.estimate, known)[0], known, rates[name], updates))
    springs = Springs.fitted(*_true_poses(data.learned), STRIDE)
    figures = []
    for name, structured in STRUCTURED.items():
        network = trained[name]
        weight = best_weight(network, springs, known)

        def structure(images: Tensor, network: Any = network, weight: float = weight) -> Tensor:
            return pictorial.estimate(network.heatmaps(images), STRIDE, springs, weight)

        found[structured], rates[structured] = estimates(structure, held_out)
        rows.append(row("one person", structured, found[structured], held_out, estimates(structure, known)[0], known, rates[structured], 0))
    best = trained["heatmaps in three stages (CPM)"]
    figures += decoders(best, held_out)
    told = {}
    for name in ("regression", "heatmaps in three stages (CPM)", "vision transformer (ViTPose)"):
        told[f"{name}, true boxes"] = top_down(trained[name], several)
    told["part-affinity fields, no boxes"] = bottom_up(trained["part-affinity fields"], several)
    for name, (people, rate) in told.items():
        rows.append(several_row(name, people, several, rate))
    figures += drawing(seconds)
    if draw is not None:
        sheet(next(data.learned.batches(24, seed=seed)), next(data.several_learned.batches(8, seed=seed)), draw / "pose-people.png")
        shown = {name: found[name] for name in ("regression", "heatmaps", "heatmaps in three stages (CPM)", "CPM, pictorial structures")}
        shown["vision transformer (ViTPose)"] = found["vision transformer (ViTPose)"]
        detections(held_out, shown, several, {name: people for name, (people, _) in told.items()}, draw / "pose-detections.png")
    settings = {"training_s": training, "pictures": pictures, "seed": seed, "held_out": HELD_OUT}
    return Measured(figures, settings, Overview(COLUMNS, rows))


def _folder(contestant: Contestant) -> str:
    return contestant.kind + "".join(f"_{value}" for value in contestant.settings.values())


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


def _true_poses(dataset: Dataset) -> tuple[Tensor, Tensor]:
    parts = list(dataset.batches(1024, columns=("keypoints", "visible"), seed=None))
    return torch.cat([part["keypoints"][:, 0] for part in parts]), torch.cat([part["visible"][:, 0] > 0 for part in parts])


# --- learning ---------------------------------------------------------------------------------------------------------------


def learned(contestant: Contestant, data: Data, training: float, seed: int, folder: Path) -> tuple[Any, int]:
    """A model that has learned for so long, or was found; and how many updates that were."""
    if (folder / CONFIG).exists():
        model = Perception.load(folder)
        return model.network.eval(), int((model.source or {}).get("updates", 0))
    samples = PoseSamples(data.several_learned if contestant.several else data.learned, BATCH, contestant.several)
    torch.manual_seed(seed)
    network = models.build(contestant.kind, samples.spec.input_shape, 3 * len(POINTS), **contestant.settings)
    plan = TrainerSettings(epochs=1, learning_rate=contestant.learning_rate, averaging="ema 0.98", batch_norm_batches=20, seed=seed)
    updates = Trainer(network, _Lasting(samples, training), plan).fit().updates
    Perception(network, samples.spec, {"updates": updates}).save(folder)
    return network.eval(), updates


@dataclass
class _Lasting:
    """All batches again and again until so much of the processor's time is spent, and at least two."""

    samples: PoseSamples
    seconds: float

    def __call__(self, generator: torch.Generator) -> Iterator[dict[str, Tensor]]:
        began, count = time.process_time(), 0
        while True:
            for batch in self.samples.batches(generator):
                if count >= 2 and time.process_time() - began >= self.seconds:
                    return
                yield batch
                count += 1


# --- one person -------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def estimates(estimate: Callable[[Tensor], Tensor], pictures: dict[str, Tensor]) -> tuple[Tensor, float]:
    """Keypoints (N, K, 3) of the first person of each picture, and pictures a second of the processor."""
    parts = inputs(pictures).split(BATCH)
    estimate(parts[0])
    began = time.process_time()
    found = torch.cat([estimate(part) for part in parts])
    return found, len(found) / (time.process_time() - began)


def share(found: Tensor, pictures: dict[str, Tensor], visible: int) -> float:
    """PCK@.2 of keypoints that are seen (2) or hidden (1)."""
    right, counted = metrics.pck(found[..., :2], pictures["keypoints"][:, 0], pictures["visible"][:, 0] == visible)
    return float(right.sum() / counted.sum().clamp(min=1))


def row(
    job: str,
    name: str,
    found: Tensor,
    held_out: dict[str, Tensor],
    found_known: Tensor,
    known: dict[str, Tensor],
    rate: float,
    updates: int,
) -> tuple[str, ...]:
    people = [one[None, :, :] for one in found.double().numpy()]
    ap = precision(people, {name: value[:, :1] if name in ("keypoints", "visible", "box") else value for name, value in held_out.items()})
    shares = (share(found, held_out, 2), share(found, held_out, 1), share(found_known, known, 2))
    aps = (ap["ap"], ap["ap50"], ap["ar"])
    return (
        job, name, *(f"{value:.3f}" for value in shares + aps), f"{rate:,.0f}" if rate else "–", f"{updates:,}" if updates else "–"
    )  # fmt: skip


def mean_pose(learned: Dataset, held_out: dict[str, Tensor], known: dict[str, Tensor]) -> tuple[str, ...]:
    """Every picture's keypoints are where they are on average."""
    keypoints, shown = _true_poses(learned)
    mean = (keypoints * shown[..., None]).sum(0) / shown.sum(0)[:, None]
    told = torch.cat([mean, torch.ones(len(mean), 1)], 1)
    return row(
        "one person",
        "mean pose",
        told.expand(len(held_out["image"]), -1, -1),
        held_out,
        told.expand(len(known["image"]), -1, -1),
        known,
        0,
        0,
    )


@torch.no_grad()
def best_weight(network: Any, springs: Springs, known: dict[str, Tensor]) -> float:
    """The weight of the springs that is best on pictures of known motions."""
    maps = torch.cat([network.heatmaps(part) for part in inputs(known).split(BATCH)])
    return max(WEIGHTS, key=lambda weight: share(pictorial.estimate(maps, STRIDE, springs, weight), known, 2))


@torch.no_grad()
def decoders(network: Any, held_out: dict[str, Tensor]) -> list[Figure]:
    """How far seen keypoints that were found are off, by each way to tell a heatmap's peak."""
    maps = torch.cat([network.heatmaps(part) for part in inputs(held_out).split(BATCH)])
    truth, seen = held_out["keypoints"][:, 0], held_out["visible"][:, 0] == 2
    off = {how: (heatmaps.decode(maps, STRIDE, how)[..., :2] - truth).norm(dim=-1) for how in heatmaps.DECODERS}
    right = metrics.pck(heatmaps.decode(maps, STRIDE, "cell")[..., :2], truth, seen)[0]
    error = {how: float(far[right].mean()) for how, far in off.items()}
    return [
        Figure(f"decoder_{how}", f"error of a keypoint that was found, peak by “{how}”", "px", error[how], error["cell"],
               against="peer the middle of the brightest cell, 4 px wide", less_is_better=True)
        for how in ("quarter", "dark")
    ]  # fmt: skip


# --- several people ---------------------------------------------------------------------------------------------------------

People = list[np.ndarray[Any, Any]]  # of each picture (P, K, 3)


@torch.no_grad()
def top_down(network: Any, pictures: dict[str, Tensor]) -> tuple[People, float]:
    """A model of one person on pieces of the picture around everybody, whose boxes are true."""
    height, width = network.height, network.width
    who = [(picture, person) for picture, count in enumerate(pictures["count"].tolist()) for person in range(count)]
    rows, people = (torch.tensor(numbers) for numbers in zip(*who, strict=True))
    pieces = around(pictures["box"][rows, people], height, width)
    images = inputs(pictures)
    began = time.process_time()
    found = torch.cat([
        back(network.estimate(cut(images[some], piece, height, width)), piece, height, width)
        for some, piece in zip(rows.split(BATCH), pieces.split(BATCH), strict=True)
    ])  # fmt: skip
    rate = len(images) / (time.process_time() - began)
    return [found[rows == picture].double().numpy() for picture in range(len(images))], rate


@torch.no_grad()
def bottom_up(network: Any, pictures: dict[str, Tensor]) -> tuple[People, float]:
    """A model of everybody at once."""
    parts = inputs(pictures).split(BATCH)
    began = time.process_time()
    found = [people.double().numpy() for part in parts for people in network.people(part)]
    return found, len(found) / (time.process_time() - began)


def precision(people: People, pictures: dict[str, Tensor]) -> dict[str, float]:
    """COCO's AP; of a person that was found the score is the mean of its keypoints', of which those not found have 0."""
    found = [(one[..., :2], one[..., 2].mean(axis=-1)) for one in people]
    truth = []
    for keypoints, visible, box in zip(pictures["keypoints"], pictures["visible"], pictures["box"], strict=True):
        area = metrics.AREA * (box[:, 2] * box[:, 3]).double().numpy()
        truth.append((keypoints.double().numpy(), (visible > 0).numpy() & (area > 0)[:, None], area))
    return metrics.average_precision(found, truth)


def several_row(name: str, people: People, pictures: dict[str, Tensor], rate: float) -> tuple[str, ...]:
    ap = precision(people, pictures)
    return ("one to three people", name, "–", "–", "–", *(f"{ap[key]:.3f}" for key in ("ap", "ap50", "ar")), f"{rate:,.0f}", "–")


# --- drawing ----------------------------------------------------------------------------------------------------------------


class _Uploaded(Offscreen):
    """MuJoCo's renderer with one body's mesh, which it is given anew for each picture, as colours and as labels."""

    def __init__(self, size: int) -> None:
        body = SmplBody.default()
        scene = mujoco.MjSpec()
        scene.visual.global_.offwidth = scene.visual.global_.offheight = size
        scene.visual.quality.offsamples = 0
        scene.add_mesh(name="body", uservert=body.v_template.numpy().flatten(), userface=body.faces.numpy().flatten())
        scene.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname="body")
        self.model = scene.compile()
        data, camera = mujoco.MjData(self.model), mujoco.MjvCamera()
        camera.distance = 2.5
        mujoco.mj_forward(self.model, data)
        self.scene = mujoco.MjvScene(self.model, 10)
        self.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        mujoco.mjv_updateScene(self.model, data, mujoco.MjvOption(), None, camera, mujoco.mjtCatBit.mjCAT_ALL.value, self.scene)
        self.context = self._open(self.model, size, size, None)
        self.place, self.size = mujoco.MjrRect(0, 0, size, size), size

    def __call__(self) -> None:
        mujoco.mjr_uploadMesh(self.model, self.context, 0)
        for labels in (False, True):
            self.scene.flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = labels
            mujoco.mjr_render(self.place, self.scene, self.context)
            colours, depth = np.zeros((self.size, self.size, 3), np.uint8), np.zeros((self.size, self.size), np.float32)
            mujoco.mjr_readPixels(colours, depth, self.place, self.context)


def drawing(seconds: float) -> list[Figure]:
    """The rasteriser beside MuJoCo's renderer, and pictures of one person with all that is known of them, a second of the processor."""
    studio = Studio(Poses.of(["walk"]), dataclasses.replace(SINGLE, people=1))
    body, number = SmplBody.default(), iter(range(10**9))
    points, faces, colours = from_smpl(body.v_template).numpy(), body.faces.numpy(), np.full((len(body.faces), 3), 0.5, np.float32)
    camera = looking_at(points.mean(axis=0), 0.5, 0.1, 2.5).framed(points, 96, 96, 0.9).scaled(2.0)

    def mesh() -> None:
        shown = rasterise(*camera.project(points), faces, 192, 192)
        seen, which = np.unique(shown.face[shown.face >= 0], return_inverse=True)
        lit(colours[seen], points, faces[seen], np.random.default_rng(0))[which]

    def rate(draw: Callable[[], Any]) -> float:
        began = time.process_time()
        for _ in range(8):
            draw()
        return 8 / (time.process_time() - began)

    with _Uploaded(96) as peer:
        ways: dict[str, Callable[[], Any]] = {"mesh": mesh, "peer": peer, "all": lambda: studio.draw(1, first=next(number))}
        m = medians(alternate({name: functools.partial(rate, way) for name, way in ways.items()}, seconds))
    against = (
        "peer MuJoCo's renderer: the same mesh uploaded anew, drawn as colours and as labels, one sample for a pixel where ours has four"
    )
    return [
        Figure("drawing", "one body's mesh as colours, labels and depth, 96 x 96", "pictures/s", m["mesh"], m["peer"], against=against),
        Figure("pictures", "pictures of one person: posed, dressed, drawn, labelled", "pictures/s", m["all"]),
    ]
