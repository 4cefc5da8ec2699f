"""How well keypoints were found: PCK for one person, OKS and average precision for many (COCO's definitions)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mprl.perception.pose2d import layouts

Array = NDArray[np.float64]

# COCO's standard deviations of what people mark as a keypoint, in its order, as a share of the square root of a person's area
SIGMAS = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
THRESHOLDS = np.linspace(0.5, 0.95, 10)
AREA = 0.53  # of a person, of its box, where nobody has outlined it (as in xtcocotools)
_RECALLS = np.linspace(0, 1, 101)
_MOST = 20  # people in a picture


def torso(keypoints: Tensor, layout: str = "coco_17") -> Tensor:
    """The longer of the two diagonals from a shoulder to the other side's hip, (..., K, 2) px -> (...) px."""
    names = layouts.points(layout)
    ends = [[names.index(f"{side}_shoulder"), names.index(f"{other}_hip")] for side, other in (("left", "right"), ("right", "left"))]
    both = [keypoints[..., a, :] - keypoints[..., b, :] for a, b in ends]
    return torch.stack([torch.linalg.vector_norm(each, dim=-1) for each in both]).amax(0)


def pck(found: Tensor, truth: Tensor, counted: Tensor, share: float = 0.2, layout: str = "coco_17") -> tuple[Tensor, Tensor]:
    """Which keypoints are within a share of the torso's length of their true place (PCK@.2: Yang & Ramanan 2013).

    Args:
        found, truth: (B, K, 2) px.
        counted: which are judged, (B, K) bool.

    Returns:
        Which are right and counted, and which are counted, (B, K) bool. The metric is the ratio of their sums.
    """
    far = torch.linalg.vector_norm(found - truth, dim=-1) > share * torso(truth, layout)[:, None]
    return counted & ~far, counted


def oks(found: Array, truth: Array, labelled: NDArray[np.bool_], area: float, sigmas: Array = SIGMAS) -> float:
    """Object keypoint similarity: the mean over labelled keypoints of exp(-d² / 2 s² k²), k = 2σ and s² the area.

    Args:
        found, truth: (K, 2) px.
        labelled: which of the truth are known, (K,); at least one.
        area: of the person, px².
        sigmas: of each keypoint.
    """
    squared = ((found - truth) ** 2).sum(axis=-1)
    similar = np.exp(-squared / (2 * (2 * sigmas) ** 2 * (area + np.spacing(1))))
    return float(similar[labelled].mean())


def average_precision(
    found: Sequence[tuple[Array, Array]], truth: Sequence[tuple[Array, NDArray[np.bool_], Array]], thresholds: Array = THRESHOLDS
) -> dict[str, float]:
    """COCO's keypoint AP: precision at 101 recalls, mean over thresholds of OKS.

    In each picture, found people in the order of their scores take the true one that is most like them and not taken yet. True people
    without labelled keypoints do not count.

    Args:
        found: of each picture, keypoints (N, K, 2) px and scores (N,).
        truth: of each picture, keypoints (M, K, 2) px, which are labelled (M, K), and areas (M,) px².
        thresholds: of the OKS from which on a person is found.

    Returns:
        "ap", "ap50", "ap75" (where those thresholds are asked for), and "ar", the greatest recall, mean over thresholds.
    """
    scores, hits, total = [np.zeros(0)], [np.zeros((len(thresholds), 0), bool)], 0
    for (keypoints, score), (places, labelled, area) in zip(found, truth, strict=True):
        order = np.argsort(-score, kind="stable")[:_MOST]
        known = np.flatnonzero(labelled.any(axis=1))
        total += len(known)
        alike = np.array([[oks(keypoints[i], places[j], labelled[j], float(area[j])) for j in known] for i in order])
        scores.append(score[order])
        hits.append(np.stack([_taken(alike.reshape(len(order), len(known)), threshold) for threshold in thresholds]))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    right = np.concatenate(hits, axis=1)[:, order].cumsum(axis=1)  # (thresholds, N)
    recall = right / max(total, 1)
    precision = right / np.arange(1, len(order) + 1)
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]  # the best at this recall or more
    means = []
    for reached, told in zip(recall, precision, strict=True):
        at = np.searchsorted(reached, _RECALLS)
        means.append(np.append(told, 0.0)[at].mean())
    result = {"ap": float(np.mean(means)), "ar": float(recall[:, -1].mean()) if len(order) else 0.0}
    for threshold, name in ((0.5, "ap50"), (0.75, "ap75")):
        for place in np.flatnonzero(np.isclose(thresholds, threshold)):
            result[name] = float(means[place])
    return result


def _taken(alike: Array, threshold: float) -> NDArray[np.bool_]:
    """Which of found people, the best score first, are like a true one that none before them took, (N, M) -> (N,)."""
    free = alike.copy()
    hit = np.zeros(len(alike), bool)
    for row in range(len(alike)):
        if free.shape[1] and free[row].max() >= threshold:
            free[:, free[row].argmax()] = -1.0
            hit[row] = True
    return hit
