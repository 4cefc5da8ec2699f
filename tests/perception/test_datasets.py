"""Datasets on disk: every sample comes back once, in any order, and whatever is broken is told in one line."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from mprl.errors import DatasetError, MprlError, SettingError, UnknownNameError
from mprl.perception import datasets
from mprl.perception.datasets import Dataset, DatasetWriter

COLUMNS = {"image": ("uint8", (4, 4, 3)), "value": ("float32", ()), "episode": ("int64", ()), "step": ("int32", ())}


def samples(episodes: int = 6, length: int = 5) -> dict[str, np.ndarray]:
    """As many worlds record them: step by step, the episodes side by side. A sample's value is its number in its episode's order."""
    step, episode = (grid.ravel() for grid in np.meshgrid(np.arange(length), np.arange(episodes), indexing="ij"))
    value = (episode * length + step).astype(np.float32)
    image = np.broadcast_to(value.astype(np.uint8)[:, None, None, None], (len(value), 4, 4, 3))
    return {"image": image, "value": value, "episode": episode, "step": step.astype(np.int32)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with DatasetWriter(tmp_path / "data", COLUMNS, about={"env": "none"}, shard_samples=8) as writer:
        writer.add(samples())
    return tmp_path / "data"


def values(batches) -> list[float]:
    return [value for batch in batches for value in batch["value"].tolist()]


# ------------------------------------------------------------------------------------------------------------------ all samples once


def test_every_sample_comes_once_an_epoch_with_all_that_belongs_to_it(folder):
    dataset = Dataset(folder)
    assert len(dataset) == 30 and dataset.episodes == list(range(6)) and dataset.about == {"env": "none"}
    batches = list(dataset.batches(7, seed=3))
    assert [len(batch["value"]) for batch in batches] == [7, 7, 7, 7, 2]
    assert sorted(values(batches)) == list(range(30)) != values(batches)
    for batch in batches:
        assert {name: (value.dtype, value.shape[1:]) for name, value in batch.items()} == {
            "image": (torch.uint8, (4, 4, 3)),
            "value": (torch.float32, ()),
            "episode": (torch.int64, ()),
            "step": (torch.int32, ()),
        }
        assert (batch["image"][:, 0, 0, 0] == batch["value"]).all() and (batch["episode"] * 5 + batch["step"] == batch["value"]).all()


def test_an_epoch_of_a_seed_is_the_same_whenever_it_is_asked_for(folder):
    dataset = Dataset(folder)
    two = values(dataset.batches(4, seed=1, epochs=2))
    assert two[:30] == values(dataset.batches(4, seed=1)) and two[30:] == values(dataset.batches(4, seed=1, first_epoch=1))
    assert two[:30] != two[30:] and two[:30] != values(dataset.batches(4, seed=2))


def test_without_a_seed_samples_come_as_they_were_written_and_columns_can_be_chosen(folder):
    batches = list(Dataset(folder).batches(30, columns=["value"], seed=None))
    assert len(batches) == 1 and list(batches[0]) == ["value"]
    first_shard = batches[0]["value"][:8]  # the first eight recorded, sorted by episode and step
    assert first_shard.tolist() == [0, 1, 5, 6, 10, 15, 20, 25]


def test_endless_batches_do_not_end_and_a_small_last_one_can_be_dropped(folder):
    stream = Dataset(folder).batches(8, epochs=None, drop_last=True)
    assert [len(next(stream)["value"]) for _ in range(9)] == [8] * 9


def test_memory_holds_the_mixed_shards_and_no_more(folder, monkeypatch):
    read, original = [], Dataset.read
    monkeypatch.setattr(Dataset, "read", lambda self, place, names=None: read.append(place) or original(self, place, names))
    stream = Dataset(folder).batches(4, mixed=1)
    next(stream)
    assert len(read) == 1


def test_a_split_has_no_episode_in_common(folder):
    train, validation = Dataset(folder).split(validation=0.34, seed=0)
    assert len(train.episodes) == 4 and len(validation.episodes) == 2
    assert sorted(train.episodes + validation.episodes) == list(range(6))
    assert len(train) == 20 and len(validation) == 10
    assert {v // 5 for v in values(validation.batches(3))} == set(validation.episodes)
    assert sorted(values(train.batches(3)) + values(validation.batches(3))) == list(range(30))
    other = Dataset(folder).split(validation=0.34, seed=1)[1]
    assert other.episodes != validation.episodes


def test_windows_are_steps_in_a_row_of_one_episode(tmp_path):
    with DatasetWriter(tmp_path, COLUMNS) as writer:
        writer.add(samples())
    windows = [w for batch in Dataset(tmp_path).batches(4, window=3) for w in batch["value"].tolist()]
    assert sorted(windows) == [[5 * e + s, 5 * e + s + 1, 5 * e + s + 2] for e in range(6) for s in range(3)]
    assert next(Dataset(tmp_path).batches(2, window=3))["image"].shape == (2, 3, 4, 4, 3)
    assert list(Dataset(tmp_path).batches(2, window=6)) == []


# -------------------------------------------------------------------------------------------------------------------------- growing


def test_a_dataset_is_continued_where_it_ended(folder):
    with DatasetWriter(folder, COLUMNS, shard_samples=8) as writer:
        assert writer.samples == 30
        writer.add({**samples(1), "episode": np.full(5, 6)})
    assert len(Dataset(folder)) == 35 and Dataset(folder).episodes == list(range(7)) and Dataset(folder).about == {"env": "none"}


def test_the_order_of_adding_decides_nothing(tmp_path, folder):
    whole = samples()
    with DatasetWriter(tmp_path / "pieces", COLUMNS, shard_samples=8) as writer:
        for start in range(0, 30, 3):
            writer.add({name: value[start : start + 3] for name, value in whole.items()})
    assert values(Dataset(tmp_path / "pieces").batches(5, seed=None)) == values(Dataset(folder).batches(5, seed=None))


class Killed(BaseException):
    """Stands for the end of the process: nobody catches it."""


@pytest.mark.parametrize("call", [3, 4])  # while the second shard is written, and before it is listed
def test_a_kill_loses_the_shard_in_the_making_only(tmp_path, monkeypatch, call):
    columns = {"value": ("float32", (1000,))}
    writer = DatasetWriter(tmp_path, columns, shard_samples=10)
    calls, original = [0], datasets.write_atomically

    def write(path, content):
        calls[0] += 1
        if calls[0] == call:
            path.with_name(f".{path.name}.half").write_bytes(content[: len(content) // 2])
            raise Killed
        original(path, content)

    monkeypatch.setattr(datasets, "write_atomically", write)
    with pytest.raises(Killed):
        writer.add({"value": np.zeros((40, 1000), np.float32)})
    monkeypatch.undo()
    assert len(Dataset(tmp_path)) == 10 == sum(len(batch["value"]) for batch in Dataset(tmp_path).batches(4))
    with DatasetWriter(tmp_path, columns, shard_samples=10) as again:
        again.add({"value": np.zeros((10, 1000), np.float32)})
    assert sum(len(batch["value"]) for batch in Dataset(tmp_path).batches(4)) == 20


def test_shards_are_ordinary_npz_files_and_pictures_in_them_are_small(tmp_path):
    frames = np.full((500, 64, 64, 3), 255, np.uint8)
    frames[:, 20:30, 20:30] = np.arange(500, dtype=np.uint16).astype(np.uint8)[:, None, None, None]
    with DatasetWriter(tmp_path, {"image": ("uint8", (64, 64, 3))}) as writer:
        writer.add({"image": frames})
    with np.load(tmp_path / "00000.npz", allow_pickle=False) as shard:
        assert np.array_equal(shard["image"], frames)
    assert (tmp_path / "00000.npz").stat().st_size < 0.02 * frames.nbytes


# --------------------------------------------------------------------------------------------------------------------------- broken


def line(function) -> str:
    with pytest.raises(MprlError) as error:
        function()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_shard_that_is_cut_off_or_missing_is_one_line(folder):
    shard = folder / "00001.npz"
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) // 2])
    assert line(lambda: list(Dataset(folder).batches(4))).startswith(f"{shard}: cannot be read: ")
    assert line(lambda: list(Dataset(folder).batches(4))).endswith("is the file cut off?")
    shard.unlink()
    assert f"{shard}: missing, though dataset.json lists it" in line(lambda: list(Dataset(folder).batches(4)))


@pytest.mark.parametrize("at", [0.2, 0.5, 0.8])
def test_no_flipped_byte_goes_unnoticed_or_gives_a_traceback(folder, at):
    shard = folder / "00000.npz"
    content = bytearray(shard.read_bytes())
    content[int(at * len(content))] ^= 0xFF
    shard.write_bytes(content)
    try:
        found = Dataset(folder).read(0)
    except DatasetError as error:
        assert "\n" not in str(error)
    else:  # a byte that says nothing about the samples, such as a date
        assert np.array_equal(np.sort(found["value"]), [0, 1, 5, 6, 10, 15, 20, 25])


def test_a_shard_with_other_columns_than_listed_is_one_line(folder):
    np.savez_compressed(folder / "00000.npz", value=np.zeros(8, np.float32))
    assert "cannot be read" in line(lambda: Dataset(folder).read(0)) and "image.npy" in line(lambda: Dataset(folder).read(0))
    np.savez_compressed(folder / "00000.npz", value=np.zeros(7, np.float32))
    assert "column 'value' is float32 (7,), expected float32 (8,)" in line(lambda: Dataset(folder).read(0, ["value"]))


def test_a_shard_never_executes_code(folder):
    with zipfile.ZipFile(folder / "00000.npz", "w") as archive, archive.open("value.npy", "w") as member:
        member.write(b"\x93NUMPY\x01\x00\x76\x00" + b"{'descr': '|O', 'fortran_order': False, 'shape': (8,), }".ljust(117) + b"\n")
        member.write(pickle.dumps([print] * 8))
    assert "cannot be read" in line(lambda: Dataset(folder).read(0, ["value"]))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"format": "mprl-agent"}, 'expected "format": "mprl-dataset"; this is not a dataset'),
        ({"version": 99}, "expected format version 1, found 99; update mprl"),
        ({"columns": {"value": {"dtype": "object", "shape": []}}}, "expected numbers, found object"),
        ({"columns": 3}, "broken: "),
        ({"shards": [{"file": "../00000.npz", "samples": 3}]}, "a shard must have a file"),
        ({"shards": [{"file": "00000.npz", "samples": 8, "episodes": [[0], [3]]}]}, "must have 8 samples"),
    ],
)
def test_a_description_that_cannot_be_is_one_line(folder, change, expected):
    path = folder / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert expected in line(lambda: Dataset(folder))


def test_a_folder_without_a_dataset_and_a_description_cut_off_are_one_line(tmp_path, folder):
    assert line(lambda: Dataset(tmp_path / "nothing")).startswith(f"{tmp_path / 'nothing'}: no dataset there (no dataset.json)")
    path = folder / "dataset.json"
    path.write_text(path.read_text()[:50])
    assert f"{path}: expected JSON" in line(lambda: Dataset(folder))


def test_mistakes_are_one_line(folder):
    writer = DatasetWriter(folder, COLUMNS)
    with pytest.raises(UnknownNameError, match=r"^no column named 'vlue'; did you mean 'value'\? \(of .*: image, value, episode, step\)$"):
        Dataset(folder).batches(2, columns=["vlue"])
    with pytest.raises(UnknownNameError, match="no column named 'extra'"):
        writer.add({**samples(), "extra": np.zeros(30)})
    with pytest.raises(SettingError, match="a batch without the column 'step'"):
        writer.add({name: value for name, value in samples().items() if name != "step"})
    with pytest.raises(SettingError, match=r"column 'value' is float32 \(n, \), found float64"):
        writer.add({**samples(), "value": np.zeros(30)})
    with pytest.raises(DatasetError, match=r"holds a dataset of image uint8 \(4, 4, 3\), value .*; expected value float32 \(\)"):
        DatasetWriter(folder, {"value": ("float32", ())})
    (folder.parent / "notes.txt").touch()
    with pytest.raises(DatasetError, match=r"holds something else than a dataset \(.*\); take another folder$"):
        DatasetWriter(folder.parent, COLUMNS)
    with pytest.raises(SettingError, match="validation must be a share between 0 and 1, found 1"):
        Dataset(folder).split(1)
    with pytest.raises(SettingError, match="batch_size must be at least 1, found 0"):
        Dataset(folder).batches(0)
    with pytest.raises(SettingError, match="column 'name': expected numbers"):
        DatasetWriter(folder / "new", {"name": ("U5", ())})
    assert json.loads((folder / "dataset.json").read_text())["format"] == datasets.FORMAT


def test_samples_that_a_full_disk_refused_are_written_later(tmp_path, monkeypatch):
    def refuse(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    writer = DatasetWriter(tmp_path / "data", COLUMNS, about={}, shard_samples=100)
    writer.add(samples())
    with monkeypatch.context() as patched:
        patched.setattr(datasets, "write_atomically", refuse)
        with pytest.raises(DatasetError, match="cannot be written: No space left"):
            writer.flush()
    writer.close()
    assert sorted(values(Dataset(tmp_path / "data").batches(4, columns=["value"]))) == sorted(samples()["value"].tolist())
