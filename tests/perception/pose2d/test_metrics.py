"""PCK, OKS and AP: cases worked out by hand, and pycocotools where it is installed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mprl.perception.pose2d import metrics

K = 17


def person(x: float = 50.0, size: float = 40.0, seed: int = 0) -> np.ndarray:
    return x + size * np.random.default_rng(seed).random((K, 2))


def test_a_keypoint_is_right_within_a_fifth_of_the_torso():
    truth = torch.zeros(1, K, 2)
    truth[0, 5], truth[0, 12] = torch.tensor([0.0, 0.0]), torch.tensor([30.0, 40.0])  # left shoulder to right hip: 50 px
    found = truth.clone()
    found[0, 9, 0], found[0, 10, 0], found[0, 3, 0] = 9.9, 10.1, 500.0
    counted = torch.ones(1, K, dtype=torch.bool)
    counted[0, 3] = False
    right, judged = metrics.pck(found, truth, counted)
    assert (right.sum(), judged.sum()) == (15, 16)
    assert not right[0, 10]


def test_oks_is_a_gaussian_of_the_distance_with_cocos_widths():
    truth = person()
    found = truth.copy()
    found[0] += [3.0, 4.0]  # the nose: σ = .026
    labelled = np.zeros(K, bool)
    labelled[[0, 1]] = True
    area = 900.0
    expected = (np.exp(-25 / (2 * (2 * 0.026) ** 2 * area)) + 1) / 2
    assert metrics.oks(found, truth, labelled, area) == pytest.approx(expected)


def case(found: list[tuple[float, float]], truth: list[float]):
    """People of one picture at these x, found ones with a score."""
    everyone = [person(x) for x in truth]
    keypoints = np.array([person(x) for x, _ in found]).reshape(-1, K, 2)
    return (keypoints, np.array([score for _, score in found])), (
        np.array(everyone).reshape(-1, K, 2), np.ones((len(truth), K), bool), np.full(len(truth), 400.0)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("found", "truth", "ap"),
    [
        ([(0, 0.9), (500, 0.8)], [0, 500], 1.0),
        ([(0, 0.9)], [0, 500], 51 / 101),  # recalls 0, .01, ... .5
        ([(0, 0.9), (900, 0.8), (500, 0.7)], [0, 500], (51 + 50 * 2 / 3) / 101),
        ([(900, 0.9), (0, 0.8)], [0], 0.5),
        ([(0, 0.9), (0, 0.8)], [0], 1.0),  # a second one of the same person comes too late to harm
        ([(0, 0.8), (0, 0.9), (500, 0.7)], [0, 500], (51 + 50 * 2 / 3) / 101),  # and here it comes before
        ([], [0], 0.0),
        ([(900, 0.9)], [0], 0.0),
    ],
)
def test_average_precision_of_cases_by_hand(found, truth, ap):
    one, other = case(found, truth)
    assert metrics.average_precision([one], [other])["ap"] == pytest.approx(ap)


def test_scores_are_ranked_over_all_pictures_and_people_without_labels_do_not_count():
    a, b = case([(0, 0.5)], [0]), case([(900, 0.9)], [0])
    unlabelled = case([], [0])
    unlabelled[1][1][:] = False
    told = metrics.average_precision([a[0], b[0], unlabelled[0]], [a[1], b[1], unlabelled[1]])
    assert told["ap"] == pytest.approx(0.5 * 51 / 101)  # the wrong one comes first, one of two is found
    assert told["ar"] == pytest.approx(0.5)


@pytest.mark.peers
def test_ap_is_that_of_pycocotools(tmp_path: Path):
    """On random people with noise of several sizes, some missed and some made up."""
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    random = np.random.default_rng(0)
    found, truth, annotations, results = [], [], [], []
    for image in range(30):
        people = np.stack([person(150 * n, 60, seed=10 * image + n) for n in range(random.integers(1, 4))])
        labelled = random.random(people.shape[:2]) < 0.8
        area = np.full(len(people), 1500.0)
        kept = people[random.random(len(people)) < 0.8]
        guessed = np.concatenate([kept + random.normal(0, random.choice([1, 3, 6]), kept.shape), people[:1] + 40 * (random.random() < 0.5)])
        scores = random.random(len(guessed))
        found.append((guessed, scores))
        truth.append((people, labelled, area))
        for keypoints, known in zip(people, labelled, strict=True):
            rows = np.concatenate([keypoints, 2.0 * known[:, None]], axis=1)
            annotations.append({
                "id": len(annotations) + 1, "image_id": image, "category_id": 1, "iscrowd": 0, "area": 1500.0, "bbox": [0, 0, 38, 39],
                "keypoints": rows.flatten().tolist(), "num_keypoints": int(known.sum()),
            })  # fmt: skip
        for keypoints, score in zip(guessed, scores, strict=True):
            rows = np.concatenate([keypoints, np.ones((K, 1))], axis=1)
            results.append({"image_id": image, "category_id": 1, "keypoints": rows.flatten().tolist(), "score": float(score)})
    content = {"images": [{"id": n} for n in range(30)], "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
    (tmp_path / "truth.json").write_text(json.dumps(content))
    (tmp_path / "found.json").write_text(json.dumps(results))
    known = coco.COCO(str(tmp_path / "truth.json"))
    judge = evaluation.COCOeval(known, known.loadRes(str(tmp_path / "found.json")), "keypoints")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    ours = metrics.average_precision(found, truth)
    assert [ours[name] for name in ("ap", "ap50", "ap75", "ar")] == pytest.approx(judge.stats[[0, 1, 2, 5]].tolist(), abs=1e-6)
