"""2-D pose: models that learn from rendered people in the same time of one core, judged on motions, bodies and clothes they never saw."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mprl.perception.datasets import Dataset
from mprl.perception.pose2d import heatmaps, metrics, pictorial
from mprl.perception.pose2d.network import STRIDE
from mprl.perception.pose2d.pictorial import Springs
from mprl.perception.pose2d.samples import around, back, cut
from mprl.scripts.benchmarks.environment import Measured
from mprl.scripts.benchmarks.pose2d_drawing import drawing
from mprl.scripts.benchmarks.pose2d_learning import (
    BATCH,
    CONTESTANTS,
    HELD_OUT,
    everything,
    folder_of,
    inputs,
    learned,
    recorded,
    true_poses,
)
from mprl.scripts.benchmarks.pose2d_pictures import detections, sheet
from mprl.scripts.benchmarks.report import Figure, Overview

COLUMNS = ("job", "model", "PCK@.2", "hidden", "known motions", "AP", "AP50", "AR", "pictures/s", "updates")
WEIGHTS = (0.02, 0.05, 0.1, 0.2, 0.4)  # of springs; chosen on pictures of known motions
STRUCTURED = {"heatmaps": "heatmaps, pictorial structures", "heatmaps in three stages (CPM)": "CPM, pictorial structures"}


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
        network, updates = learned(contestant, data, training, seed, out / folder_of(contestant, training))
        trained[name] = network
        if contestant.several:
            continue
        found[name], rates[name] = estimates(network.estimate, held_out)
        rows.append(row("one person", name, found[name], held_out, estimates(network.estimate, known)[0], known, rates[name], updates))
    springs = Springs.fitted(*true_poses(data.learned), STRIDE)
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
    keypoints, shown = true_poses(learned)
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
