"""Keypoints from detectors' files: OpenPose, COCO, CSV."""

import json

import numpy as np
import pytest

from mprl.errors import MotionFormatError, MprlError, PerceptionError, SettingError
from mprl.perception.pose2d import layouts
from mprl.perception.pose2d.formats import csv
from mprl.perception.pose2d.keypoints import Keypoints, together
from mprl.perception.pose2d.load import load

ASKED = {"frame_rate": 30.0, "image_size": (640, 480)}


def person(x: float, confidence: float = 0.9, count: int = 25, **more):
    """Somebody around x, whose keypoint k is at (x + k, 100 + 2 k)."""
    rows = [value for k in range(count) for value in (x + k, 100.0 + 2 * k, confidence)]
    return {"person_id": [-1], "pose_keypoints_2d": rows, **more}


def openpose(path, *frames):
    path.write_text(json.dumps([{"version": 1.3, "people": list(people)} for people in frames]))
    return path


SEEN = [value for k in range(17) for value in (100 + k, 100 + 9 * k, 2)]  # an annotation of COCO's


def coco(path, rows, **more):
    content = {"images": [{"id": 0, "width": 640, "height": 480}], "annotations": [{"image_id": 0, "keypoints": rows}], **more}
    path.write_text(json.dumps(content))
    return path


def test_a_list_of_openpose_frames(tmp_path):
    found = load(openpose(tmp_path / "k.json", [person(10)], [person(12)]), **ASKED)
    assert (found.layout, found.positions.shape, found.image_size, found.frame_rate) == ("body_25", (1, 2, 25, 2), ((640, 480),), 30.0)
    assert found.positions[0, 1, 3].tolist() == [15, 106] and found.confidence[0, 1, 3] == pytest.approx(0.9)


def test_a_folder_of_openpose_files_keeps_its_gaps(tmp_path, caplog, heard):
    for number in (4, 5, 7):
        content = {"people": [person(number)]}
        (tmp_path / f"video_{number:012d}_keypoints.json").write_text(json.dumps(content))
    found = load(tmp_path, **ASKED)
    assert found.num_frames == 4
    assert found.positions[0, :, 0, 0].tolist() == [4, 5, 0, 7]
    assert (found.confidence[0, 2] == 0).all() and "frame 6" in caplog.text


def test_pictures_of_another_size_are_doubted(tmp_path, caplog, heard):
    file = openpose(tmp_path / "k.json", [person(300)], [person(301)])
    load(file, frame_rate=30, image_size=(1280, 720))
    assert "outside" not in caplog.text
    load(file, frame_rate=30, image_size=(320, 180))
    assert "of the keypoints are outside pictures of 320 x 180" in caplog.text and "is the image size right?" in caplog.text


def test_openpose_of_18_keypoints_and_of_a_count_that_no_layout_has(tmp_path):
    assert load(openpose(tmp_path / "k.json", [person(10, count=18)]), **ASKED).layout == "coco_18"
    with pytest.raises(MotionFormatError, match="found 19"):
        load(openpose(tmp_path / "k.json", [person(10, count=19)]), **ASKED)


def test_people_who_change_places_in_the_list_are_followed(tmp_path):
    frames = [[person(10), person(300)], [person(302), person(12)], [person(14), person(304)]]
    best = load(openpose(tmp_path / "k.json", *frames), **ASKED)
    other = load(tmp_path / "k.json", person=1, **ASKED)
    assert sorted((tuple(best.positions[0, :, 0, 0]), tuple(other.positions[0, :, 0, 0]))) == [(10, 12, 14), (300, 302, 304)]


def test_the_best_seen_person_comes_first(tmp_path):
    frames = [[person(10, 0.3), person(300, 0.8)], [person(12, 0.3), person(302, 0.8)]]
    assert load(openpose(tmp_path / "k.json", *frames), **ASKED).positions[0, 0, 0, 0] == 300


def test_a_files_own_identities_are_believed(tmp_path):
    frames = [[person(10, person_id=[1]), person(300, person_id=[2])], [person(10, person_id=[2]), person(300, person_id=[1])]]
    found = load(openpose(tmp_path / "k.json", *frames), **ASKED)
    assert found.positions[0, :, 0, 0].tolist() in ([10, 300], [300, 10])


def test_coco_results_and_datasets(tmp_path):
    rows = person(10, 0.7, 17)["pose_keypoints_2d"]
    (tmp_path / "results.json").write_text(json.dumps([{"image_id": i, "category_id": 1, "keypoints": rows, "score": 1} for i in (3, 4)]))
    found = load(tmp_path / "results.json", **ASKED)
    assert (found.layout, found.num_frames) == ("coco_17", 2) and found.confidence[0, 0, 0] == pytest.approx(0.7)
    labelled = [value for k in range(17) for value in (10 + k, 20, k % 3)]
    dataset = {
        "images": [
            {"id": 9, "file_name": "b_2.jpg", "width": 320, "height": 240},
            {"id": 8, "file_name": "b_1.jpg", "width": 320, "height": 240},
        ],
        "annotations": [{"image_id": 9, "keypoints": labelled}],
    }
    (tmp_path / "dataset.json").write_text(json.dumps(dataset))
    found = load(tmp_path / "dataset.json", frame_rate=25)
    assert found.image_size == ((320, 240),)
    assert found.confidence[0, 1, :3].tolist() == [0, 0.5, 1] and (found.confidence[0, 0] == 0).all()


def test_coco_keypoints_in_an_order_of_their_own_are_told_by_their_names(tmp_path):
    names = layouts.points("coco_17")[::-1]
    rows = [value for k in range(17) for value in (float(k), 5.0, 1.0)]
    dataset = {
        "images": [{"id": 0, "width": 320, "height": 240}],
        "categories": [{"keypoints": list(names)}],
        "annotations": [{"image_id": 0, "keypoints": rows, "score": 1.0}],
    }
    (tmp_path / "k.json").write_text(json.dumps(dataset))
    assert load(tmp_path / "k.json", frame_rate=30).positions[0, 0, 0, 0] == 16  # the nose came last


def test_csv_is_read_back_as_written(tmp_path):
    random = np.random.default_rng(0)
    confidence = random.random((1, 5, 17)) * (random.random((1, 5, 17)) > 0.3)
    made = Keypoints(random.random((1, 5, 17, 2)) * 400, confidence, "coco_17", ((640, 480),), 24.0)
    found = load(csv.write(made, tmp_path / "k.csv"))
    assert (found.layout, found.image_size, found.frame_rate) == ("coco_17", ((640, 480),), 24.0)
    assert np.abs(found.positions - made.positions).max() < 1e-3 and np.abs(found.confidence - made.confidence).max() < 1e-4


def test_csv_with_few_keypoints_and_a_missing_frame(tmp_path):
    (tmp_path / "k.csv").write_text("# image_size: 64 48\nframe,nose_x,nose_y\n3,5,6\n5,,\n6,7,8\n")
    found = load(tmp_path / "k.csv", frame_rate=10)
    assert found.confidence[0, :, 0].tolist() == [1, 0, 0, 1] and found.confidence.sum() == 2


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda p: p.write_text("{"), "line 1: not JSON"),
        (lambda p: p.write_text("[]"), "found neither"),
        (lambda p: openpose(p, []), "shows nobody"),
        (lambda p: openpose(p, [person(10)], [person(float("nan"))]), "frame 1: keypoint 0 is"),
        (lambda p: openpose(p, [person(10)], [person(10, count=18)]), "frame 1: expected 75 numbers"),
        (lambda p: openpose(p, [person(10, 0.0)]), "all confidences are 0"),
        (lambda p: openpose(p, [person(10, 7.0)]), "frame 0: expected confidences of 0 to 1, found 7"),
        (lambda p: openpose(p, [{"pose_keypoints_2d": [0.1, 0.2, 0.9] * 25}]), "keypoint_scale"),
        (lambda p: p.write_text('[{"people": [{"pose_keypoints_2d": ["a", "b", "c"]}]}]'), "frame 0: expected keypoints as numbers"),
        (lambda p: p.write_text('[{"people": 3}]'), 'list "people"'),
        (lambda p: openpose(p, [person(10**400)]), "frame 0: expected keypoints as numbers"),
        (lambda p: openpose(p, [person(1e300)]), r"frame 0: keypoint 0 is \(1e\+300"),
        (lambda p: p.write_text("1" * 5000), "numbers without end"),
        (lambda p: coco(p, [*SEEN[:-1], "a"]), "frame 0: expected keypoints as numbers"),
        (lambda p: coco(p, [*SEEN[:-1], None]), "frame 0: keypoint 16 is"),
        (lambda p: coco(p, [*SEEN[:-1], [1]]), "frame 0: expected keypoints as numbers"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line_that_names_it(tmp_path, write, message):
    write(tmp_path / "k.json")
    with pytest.raises(MotionFormatError, match=message) as error:
        load(tmp_path / "k.json", **ASKED)
    assert "k.json" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frame,nse_x,nse_y\n0,1,2\n", "no keypoint is called 'nse'"),
        ("nose_x,nose_y\n1,2\nx,2\n", "line 3: expected a number, found 'x'"),
        ("nose_x,nose_y\n1\n", "line 2: expected 2 cells, found 1"),
        ("nose_x,nose_y\nnan,1\n", "frame 0: keypoint 0 is"),
        ("a,b\n1,2\n", "expected columns NAME_x"),
    ],
)
def test_what_is_wrong_with_a_csv_is_one_line(tmp_path, text, message):
    (tmp_path / "k.csv").write_text(text)
    with pytest.raises(MotionFormatError, match=message):
        load(tmp_path / "k.csv", **ASKED)


def test_what_a_file_tells_in_another_way_than_expected_is_not_known(tmp_path):
    odd = {"images": [{"id": 0, "width": [640], "height": 480}], "categories": 5}
    assert load(coco(tmp_path / "k.json", SEEN, **odd), **ASKED).confidence.min() == 1
    with pytest.raises(SettingError, match="--image-size"):
        load(coco(tmp_path / "k.json", SEEN, **odd), frame_rate=30)
    assert load(openpose(tmp_path / "k.json", [person(10, person_id=[[1], [2, 3]])]), **ASKED).num_frames == 1


def test_a_frame_rate_of_zero_does_not_count_as_none(tmp_path):
    (tmp_path / "k.csv").write_text("# frame_rate: 30\n# image_size: 64 48\nnose_x,nose_y\n5,6\n")
    with pytest.raises(MotionFormatError, match="frame rate must be positive, found 0"):
        load(tmp_path / "k.csv", frame_rate=0)


def test_a_table_that_cannot_be_written_leaves_the_older_one(tmp_path, monkeypatch):
    made = Keypoints(np.ones((1, 3, 17, 2)), np.ones((1, 3, 17)), "coco_17", ((64, 48),), 30)
    path = csv.write(made, tmp_path / "k.csv")
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(MotionFormatError, match=r"k\.csv: cannot be written: No space left"):
        csv.write(made, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_what_the_file_does_not_say_must_be_given(tmp_path):
    path = openpose(tmp_path / "k.json", [person(10)])
    with pytest.raises(SettingError, match="--image-size"):
        load(path, frame_rate=30)
    with pytest.raises(SettingError, match="--frame-rate"):
        load(path, image_size=(640, 480))
    with pytest.raises(MotionFormatError, match="image size must be positive, found 0 x 480"):
        load(path, frame_rate=30, image_size=(0, 480))
    with pytest.raises(SettingError, match="no person 1; it shows 1"):
        load(path, person=1, **ASKED)
    with pytest.raises(MprlError, match="no layout of keypoints named 'body25'; did you mean 'body_25'"):
        load(path, layout="body25", **ASKED)


def test_views_must_show_the_same_moments():
    one = Keypoints(np.ones((1, 3, 17, 2)), np.ones((1, 3, 17)), "coco_17", ((64, 48),), 30)
    two = Keypoints(np.ones((1, 4, 17, 2)), np.ones((1, 4, 17)), "coco_17", ((64, 48),), 30)
    assert together((one, one)).positions.shape == (2, 3, 17, 2)
    with pytest.raises(PerceptionError, match="same num frames, found 3 and 4"):
        together((one, two))


def test_the_mirror_of_a_layout_undoes_itself():
    for layout in layouts.LAYOUTS:
        other = layouts.mirror(layout)
        assert [other[other[k]] for k in range(len(other))] == list(range(len(other)))
    assert layouts.mirror("coco_17")[:3] == [0, 2, 1]
