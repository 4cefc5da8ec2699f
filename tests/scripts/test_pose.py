"""`mprl pose` and `mprl benchmark pose2d`: from nothing to keypoints in a file, and each mistake in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mprl.perception.pose2d import load
from mprl.scripts.main import main

SMALL = ["--pictures", "40", "--pixels", "48", "--epochs", "1", "--motions", "walk", "--settings", '{"width": 16, "num_stages": 1}']


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "cmp", "--out", "x"], "no model of 2-D pose named 'cmp'; did you mean 'cpm'?"),
        (["train", "cpm", "--out", "x", "--pixels", "50"], "multiples of 4, found 50 x 50"),
        (["train", "cpm", "--out", "x", "--settings", '{"wdth": 3}'], "no setting 'wdth'; did you mean 'width'?"),
        (["train", "cpm", "--out", "x", "--pictures", "3"], "pictures must be at least 20"),
        (["train", "cpm", "--out", "x", "--motions", "wlak"], "no motion named 'wlak'"),
        (["detect", "x", "y.mp4", "--out", "z.txt"], ".csv or .json, not '.txt'"),
        (["detect", "x", "y.mp4", "--out", "z.csv"], "no perception model"),
        (["detect", "x", "y.mp4", "--out", "no/z.csv"], "the folder no does not exist"),
        (["detect", "x", "y.mp4", "--out", "z.csv", "--video", "z.avi"], "a video is written as .mp4 or .gif, not '.avi'"),
        (["detect", "x", "y.mp4", "--out", "z.csv", "--video", "./y.mp4"], "y.mp4: would be written over the video"),
        (["detect", "x", "y.mp4", "--out", "z.csv", "--frame-rate", "-5"], "--frame-rate must be a positive number of Hz, found -5"),
        (["train", "cpm", "--out", "x", "--batch-size", "0"], "batch_size must be at least 1"),
        (["train", "cpm", "--out", "x", "--settings", '{"width": 0}'], "width must be at least 2, found 0"),
        (["train", "vitpose", "--out", "x", "--settings", '{"heads": 5}'], "heads"),
        (["find"], "no pose command named 'find'"),
    ],
)
def test_a_mistake_is_one_line(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["pose", *words]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_from_nothing_to_keypoints_in_a_file(tmp_path: Path, capsys):
    from mprl.envs.people.poses import Poses
    from mprl.envs.people.scenes import SINGLE, Studio

    assert main(["pose", "train", "cpm", "--out", str(tmp_path / "eyes"), *SMALL]) == 0
    frames = tmp_path / "frames"
    frames.mkdir()
    for number, picture in enumerate(Studio(Poses.of(["walk"]), SINGLE).draw(3, seed=8)):
        Image.fromarray(picture.image).save(frames / f"{number}.png")
    # so little training makes no sure keypoints: all are taken for sure
    weights = tmp_path / "eyes" / "perception.safetensors"
    from safetensors.torch import load_file, save_file

    state = load_file(weights)
    state["first.bias"] = state["first.bias"] + 9.0
    save_file(state, weights)
    words = ["pose", "detect", str(tmp_path / "eyes"), str(frames)]
    assert main([*words, "--out", str(tmp_path / "seen.csv")]) == 2
    assert "give it: --frame-rate 30" in capsys.readouterr().err
    assert main([*words, "--out", str(tmp_path / "seen.csv"), "--frame-rate", "30", "--video", str(tmp_path / "seen.mp4")]) == 0
    assert main([*words, "--out", str(tmp_path / "seen.json")]) == 0
    table = load.load(tmp_path / "seen.csv")
    people = load.load(tmp_path / "seen.json", frame_rate=30, image_size=(96, 96))
    assert (table.num_frames, table.frame_rate, table.image_size, table.layout) == (3, 30.0, ((96, 96),), "coco_17")
    assert table.positions == pytest.approx(people.positions, abs=1e-2)
    assert (tmp_path / "seen.mp4").stat().st_size > 500
    (tmp_path / "black").mkdir()
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "black" / "0.png")
    state["first.bias"] = torch.full_like(state["first.bias"], -99.0)
    save_file(state, weights)
    assert main(["pose", "detect", str(tmp_path / "eyes"), str(tmp_path / "black"), "--out", str(tmp_path / "none.json")]) == 2
    assert "nobody was found in any of 1 frames" in capsys.readouterr().err


def test_top_down_with_a_perfect_model_and_true_boxes_finds_everybody():
    """A "model" that knows where the pieces come from: what is cut out, found and put back is where it was."""
    from mprl.scripts.benchmarks import pose2d

    random = torch.Generator().manual_seed(0)
    keypoints = 20 + 60 * torch.rand(3, 2, 17, 2, generator=random)
    low, high = keypoints.amin(2), keypoints.amax(2)
    pictures = {
        "image": torch.zeros(3, 128, 128, 3, dtype=torch.uint8), "keypoints": keypoints, "visible": torch.full((3, 2, 17), 2),
        "box": torch.cat([low, high - low], -1), "count": torch.tensor([2, 1, 2]),
    }  # fmt: skip
    pictures["visible"][1, 1] = 0
    people = [torch.cat([one, torch.ones(len(one), 17, 1)], -1).double().numpy() for one in (keypoints[0], keypoints[1, :1], keypoints[2])]
    assert pose2d.precision(people, pictures)["ap"] == pytest.approx(1.0)
    assert pose2d.precision([one[:1] for one in people], pictures)["ar"] == pytest.approx(3 / 5)

    class Middle(torch.nn.Module):
        height, width = 96, 96

        def estimate(self, images: torch.Tensor) -> torch.Tensor:
            return torch.tensor([48.0, 48.0, 1.0]).expand(len(images), 17, 3)

    found, _ = pose2d.top_down(Middle(), pictures)
    assert [len(one) for one in found] == [2, 1, 2]
    assert found[2][1, 0, :2] == pytest.approx(((low + high) / 2)[2, 1].numpy(), abs=1e-3)


@pytest.mark.slow
def test_the_benchmark_runs_as_small_as_can_be_and_draws(tmp_path: Path):
    from mprl.scripts.benchmarks import pose2d

    measured = pose2d.measure(0.01, 48, 0.1, 0, tmp_path, tmp_path)
    assert measured.overview is not None
    assert [row[0] for row in measured.overview.rows].count("one person") == 8
    assert all(len(row) == len(pose2d.COLUMNS) for row in measured.overview.rows)
    assert {figure.key for figure in measured.figures} == {"decoder_quarter", "decoder_dark", "drawing", "pictures"}
    assert all((tmp_path / f"pose-{name}.png").stat().st_size > 10_000 for name in ("people", "detections"))
