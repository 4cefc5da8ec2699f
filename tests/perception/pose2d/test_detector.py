"""From pictures of any size to keypoints in them, and to files that `mprl motion fit` reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mprl.errors import PerceptionError
from mprl.perception import models
from mprl.perception.datasets import DatasetWriter
from mprl.perception.plug import Perception
from mprl.perception.pose2d import load, samples
from mprl.perception.pose2d.detector import Detector
from mprl.perception.pose2d.formats import openpose
from mprl.perception.pose2d.formats.detections import Detections, Person
from mprl.perception.pose2d.frames import open_frames
from mprl.perception.pose2d.network import PoseNetwork
from mprl.perception.pose2d.paf import PAF
from mprl.perception.pose2d.samples import PoseSamples, around, back, cut, flipped

SIDE = 48


class Red(PoseNetwork):
    """Knows one thing: keypoints are the corners of what is red, in turn, and it is sure of them where there is any."""

    def __init__(self) -> None:
        super().__init__((3, SIDE, SIDE), 51)
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def estimate(self, images: Tensor) -> Tensor:
        found = torch.zeros(len(images), 17, 3)
        for keypoints, image in zip(found, images, strict=True):
            rows, columns = (image[0] * samples.STD + samples.MEAN > 60).nonzero().unbind(1)
            if len(rows):
                keypoints[:, 0] = torch.tensor([columns.min(), columns.max() + 1]).repeat(9)[:17]
                keypoints[:, 1] = torch.tensor([rows.min(), rows.max() + 1]).repeat_interleave(2).repeat(5)[:17]
                keypoints[:, 2] = 1.0
        return found


def picture(x: int, y: int, height: int = 200, width: int = 300) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    image[y - 6 : y + 6, x - 6 : x + 6, 0] = 200
    return image


def test_a_piece_around_a_box_is_cut_out_and_what_is_found_in_it_is_put_back():
    images = torch.arange(80 * 100.0).view(1, 1, 80, 100)
    box = torch.tensor([[20.0, 10.0, 24.0, 12.0]])
    piece = around(box, 24, 24, margin=1.0)
    assert piece[0].tolist() == [32.0, 16.0, 1.0]
    assert torch.allclose(cut(images, piece, 24, 24)[0, 0], images[0, 0, 4:28, 20:44], atol=2e-3)
    found = torch.tensor([[[0.0, 0.0, 0.3], [24.0, 12.0, 0.7]]])
    assert back(found, piece, 24, 24)[0].numpy() == pytest.approx(np.array([[20.0, 4.0, 0.3], [44.0, 16.0, 0.7]]))


def test_a_person_is_followed_from_the_whole_picture_closer_and_closer():
    detector = Detector(Perception(Red(), samples.spec(SIDE, SIDE)))
    path = [(60, 50), (61, 51), (62, 50), (150, 100)]  # the last one elsewhere: lost, and found again
    found = list(detector.follow(picture(*place) for place in path))
    assert all(len(people) == 1 for people in found)
    for people, place in zip(found, path, strict=True):
        low, high = people[0, :, :2].amin(0), people[0, :, :2].amax(0)
        # to a pixel: in a picture 6 times as wide as the model's a pixel of the whole is 6 px, of a piece around it less than one
        assert ((low + high) / 2).numpy() == pytest.approx(place, abs=1.0)
        assert (high - low).numpy() == pytest.approx([12, 12], abs=2.0)
    assert [len(people) for people in detector.follow([np.zeros((200, 300, 3), np.uint8), picture(60, 50)])] == [0, 1]


def test_confidences_are_at_most_1_however_bright_a_heatmap_is():
    network = PAF((3, SIDE, SIDE), num_stages=1, width=8)
    brightest = torch.full((1, 17, 3), 1.3)
    network.people = lambda images: [brightest]
    (found,) = Detector(Perception(network, samples.spec(SIDE, SIDE))).follow([picture(60, 50)])
    assert found[..., 2].tolist() == [[1.0] * 17]


def test_mirrored_pictures_have_the_keypoints_of_the_other_side():
    batch = {
        "input": torch.arange(8.0).view(1, 1, 2, 4),
        "keypoints": torch.rand(1, 1, 17, 2) * 4,
        "visible": torch.arange(17)[None, None] % 3,
    }
    turned = flipped(batch, torch.tensor([True]))
    assert turned["input"][0, 0].tolist() == [[3, 2, 1, 0], [7, 6, 5, 4]]
    left, right = 9, 10  # wrists
    assert turned["keypoints"][0, 0, left, 0] == pytest.approx(4 - float(batch["keypoints"][0, 0, right, 0]))
    assert turned["keypoints"][0, 0, left, 1] == batch["keypoints"][0, 0, right, 1]
    assert turned["visible"][0, 0, left] == batch["visible"][0, 0, right]
    again = flipped(turned, torch.tensor([True]))
    assert all(torch.allclose(again[name], batch[name]) for name in batch)
    assert all(torch.equal(value, batch[name]) for name, value in flipped(batch, torch.tensor([False])).items())


def test_frames_of_a_folder_come_in_the_order_of_their_numbers(tmp_path: Path):
    for number in (10, 2, 1):
        Image.fromarray(np.full((4, 6, 3), number, np.uint8)).save(tmp_path / f"frame{number}.png")
    frames = open_frames(tmp_path)
    assert (frames.count, frames.frame_rate, frames.size) == (3, None, (6, 4))
    assert [int(frame[0, 0, 0]) for frame in frames.read()] == [1, 2, 10]


def test_frames_of_a_video_come_back(tmp_path: Path):
    from mprl.simulation.video import write_video

    write_video(tmp_path / "short.mp4", (np.full((32, 48, 3), 40 * number, np.uint8) for number in range(5)), fps=20)
    frames = open_frames(tmp_path / "short.mp4")
    assert (frames.count, frames.frame_rate, frames.size) == (5, 20.0, (48, 32))
    assert [float(frame.mean()) for frame in frames.read()] == pytest.approx([0, 40, 80, 120, 160], abs=4)


def test_what_is_no_picture_is_told_in_a_line(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    (tmp_path / "mixed").mkdir()
    for number, size in enumerate([4, 5]):
        Image.fromarray(np.zeros((4, size, 3), np.uint8)).save(tmp_path / "mixed" / f"{number}.png")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "0.png").write_text("no picture")
    for name, said in (("none.mp4", "no such file"), ("empty", "holds no pictures"), ("broken.mp4", "cannot be read as a video"),
                       ("text", "cannot be read as a picture")):  # fmt: skip
        with pytest.raises(PerceptionError, match=said):
            open_frames(tmp_path / name)
    with pytest.raises(PerceptionError, match=r"1\.png: expected a picture of 4 x 4 .* found 5 x 4"):
        list(open_frames(tmp_path / "mixed").read())
    with pytest.raises(PerceptionError, match="tells no keypoints"):
        Detector(Perception(models.build("cnn", (3, 48, 48), 8), samples.spec(48, 48)))


def test_people_that_are_written_as_openpose_does_are_read_again(tmp_path: Path):
    keypoints = np.random.default_rng(0).uniform(2, 100, (3, 17, 3))
    keypoints[..., 2] /= 100
    frames = [[Person(keypoints[0]), Person(keypoints[1])], [Person(keypoints[2])], []]
    path = openpose.write(Detections(tmp_path, "coco_17", frames), tmp_path / "people.json")
    again = load.read(path)
    assert again.layout == "coco_17"
    assert [len(people) for people in again.frames] == [2, 1, 0]
    assert again.frames[0][1].keypoints == pytest.approx(keypoints[1], abs=1e-3)


def test_batches_of_a_dataset_are_what_models_learn_from(tmp_path: Path):
    from mprl.errors import DatasetError

    columns = {"image": ("uint8", (32, 32, 3)), "keypoints": ("float32", (2, 17, 2)), "visible": ("uint8", (2, 17))}
    random = np.random.default_rng(0)
    with DatasetWriter(tmp_path / "people", columns) as writer:
        writer.add({
            "image": random.integers(0, 255, (6, 32, 32, 3)).astype(np.uint8),
            "keypoints": random.uniform(0, 32, (6, 2, 17, 2)).astype(np.float32),
            "visible": random.integers(0, 3, (6, 2, 17)).astype(np.uint8),
        })  # fmt: skip
        dataset = writer.folder
    from mprl.perception.datasets import Dataset

    for several, shape in ((False, (4, 17, 2)), (True, (4, 2, 17, 2))):
        data = PoseSamples(Dataset(dataset), 4, several)
        batch = next(data.batches(torch.Generator().manual_seed(1)))
        assert batch["input"].shape == (4, 3, 32, 32)
        assert batch["keypoints"].shape == shape
        again = next(data.batches(torch.Generator().manual_seed(1)))
        assert all(torch.equal(batch[name], again[name]) for name in batch)
        for name in ("cpm", "vitpose", "pose_regression", "paf"):
            if several and name != "paf":
                continue
            settings = {"width": 16} if name != "vitpose" else {"width": 16, "depth": 1}
            loss, _ = models.build(name, (3, 32, 32), 51, **settings).loss(batch, torch.Generator().manual_seed(0))
            loss.backward()
            assert torch.isfinite(loss)
    with pytest.raises(DatasetError, match="of coco_18"):
        PoseSamples(Dataset(dataset), layout="coco_18")
