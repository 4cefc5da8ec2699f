"""Our own motion file keeps a clip bit for bit, and a broken or hostile file is refused in one line."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mprl.errors import MotionFormatError
from mprl.motion import MotionClip, Provenance, Skeleton, load
from mprl.motion.formats import members, npz

SKELETON = Skeleton(("root", "arm"), (-1, 0), [[0, 0, 0], [0, 0.3, 0]], "T-pose")


def clip() -> MotionClip:
    generator = np.random.default_rng(0)
    rotations = generator.normal(size=(5, 2, 4))
    rotations /= np.linalg.norm(rotations, axis=-1, keepdims=True)
    return MotionClip(
        "waving", SKELETON, 29.97, generator.normal(size=(5, 3)), rotations, "wrap",
        contacts=np.array([[1, 0], [1, 1], [0, 1], [0, 0], [1, 0]], dtype=bool), betas=generator.normal(size=10), gender="female",
        provenance=Provenance("a camera", "CC0-1.0", "somebody"),
    )  # fmt: skip


def arrays() -> dict[str, np.ndarray]:
    """What a good file holds."""
    c = clip()
    return {
        "format": np.array("mprl-motion"), "version": np.array(1), "name": np.array(c.name), "frame_rate": np.array(c.frame_rate),
        "loop": np.array("wrap"), "root_position": c.root_position, "rotations": c.rotations, "joint_names": np.array(["root", "arm"]),
        "parents": np.array([-1, 0]), "offsets": SKELETON.offsets, "rest_pose": np.array("T-pose"),
    }  # fmt: skip


def refused(path: Path) -> str:
    """The one line with which a file is refused; it names the file."""
    with pytest.raises(MotionFormatError) as caught:
        load(path)
    line = str(caught.value)
    assert path.name in line and "\n" not in line and len(line) < 400
    return line


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "waving.npz"


# ------------------------------------------------------------------------------------------------------------------ what is kept


def test_a_clip_is_read_back_bit_for_bit(path):
    written = clip()
    npz.write(written, path)
    back = load(path)
    for key in ("root_position", "rotations", "contacts", "betas"):
        ours, theirs = getattr(written, key), getattr(back, key)
        assert ours.dtype == theirs.dtype and ours.tobytes() == theirs.tobytes(), key
    assert back.skeleton.offsets.tobytes() == SKELETON.offsets.tobytes()
    for key in ("name", "frame_rate", "loop", "gender", "provenance"):
        assert getattr(back, key) == getattr(written, key), key
    assert (back.skeleton.names, back.skeleton.parents, back.skeleton.rest_pose) == (("root", "arm"), (-1, 0), "T-pose")


def test_what_is_not_known_stays_unknown(path):
    npz.write(replace(clip(), contacts=None, betas=None, provenance=Provenance()), path)
    back = load(path)
    assert back.contacts is None and back.betas is None and back.provenance == Provenance()


def test_a_file_needs_no_pickle_and_states_its_version(path):
    npz.write(clip(), path)
    with np.load(path, allow_pickle=False) as content:
        assert str(content["format"]) == "mprl-motion" and int(content["version"]) == npz.VERSION
        assert all(content[key].dtype != object for key in content.files)


def test_the_hand_made_file_of_these_tests_is_a_good_one(path):
    np.savez(path, **arrays())
    assert load(path).num_frames == 5


# --------------------------------------------------------------------------------------------------------------- what is refused


class Marker:
    """Unpickling this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("key", ["rotations", "name", "format", "contacts", "something_else"])
def test_an_object_array_is_refused_and_not_unpickled(path, tmp_path, key):
    marker = tmp_path / "executed"
    hostile = np.empty(1, dtype=object)
    hostile[0] = Marker(marker)
    np.savez(path, **{**arrays(), key: hostile})
    refused(path)
    assert not marker.exists()


@pytest.mark.parametrize("suffix", [".npz", ".txt", ".pkl", ".npy"])
def test_a_pickle_is_refused_and_not_unpickled(tmp_path, suffix):
    marker, path = tmp_path / "executed", tmp_path / f"motion{suffix}"
    path.write_bytes(pickle.dumps(Marker(marker)))
    refused(path)
    assert not marker.exists()


def test_the_marker_of_these_tests_works(tmp_path):
    pickle.loads(pickle.dumps(Marker(tmp_path / "executed")))
    assert (tmp_path / "executed").exists()


def test_a_file_cut_off_anywhere_is_refused(path, tmp_path):
    npz.write(clip(), path)
    whole = path.read_bytes()
    cut = tmp_path / "cut.npz"
    for length in range(0, len(whole), 13):
        cut.write_bytes(whole[:length])
        refused(cut)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changed_bytes_are_read_or_refused_never_worse(tmp_path, data):
    path = tmp_path / "changed.npz"
    np.savez(path, **arrays())
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        load(path)
    except MotionFormatError as error:
        assert "\n" not in str(error)


def test_a_file_that_unpacks_to_far_more_is_refused_before_it_is_unpacked(path, monkeypatch):
    monkeypatch.setattr(members, "MAX_BYTES", 2**20)  # 512 MiB, but so large a test file takes seconds to write
    np.savez_compressed(path, **arrays(), zeros=np.zeros(10**6))
    assert path.stat().st_size < 20_000
    assert "unpacks to 7 MiB, expected at most 1" in refused(path)


def test_an_array_that_claims_to_be_huge_is_refused(path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**11, 3)})
    np.savez(path, **{key: value for key, value in arrays().items() if key != "root_position"})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("root_position.npy", header.getvalue())
    refused(path)


@pytest.mark.parametrize("key", [key for key in arrays() if key not in ("format", "version")])
def test_a_missing_key_is_named(path, key):
    np.savez(path, **{k: v for k, v in arrays().items() if k != key})
    assert f'"{key}"' in refused(path)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("format", "another", "format"),
        ("version", 2, "version"),
        ("version", "one", "version"),
        ("version", "a\nb", "expected 1, found a b; update"),
        ("version", np.array([1, 1]), "version"),
        ("loop", "sometimes", "loop"),
        ("frame_rate", 0.0, "frame rate"),
        ("frame_rate", -30.0, "frame rate"),
        ("frame_rate", np.nan, "frame rate"),
        ("frame_rate", "thirty", ""),
        ("frame_rate", np.array([30.0, 30.0]), ""),
        ("frame_rate", 1e-6, "hour"),
        ("rotations", np.zeros((5, 2, 4)), "frame 0"),
        ("rotations", np.full((5, 2, 4), "a"), ""),
        ("rotations", np.full((5, 2, 4), np.nan), "frame 0"),
        ("rotations", np.full((5, 2, 4), 1e200), "length inf"),
        ("rotations", np.full((5, 2, 4), 0.5 + 0j), "found complex128"),
        ("rotations", np.ones((5, 2, 3)), "(5, 2, 4)"),
        ("rotations", np.array(1.0), ""),
        ("root_position", np.zeros((4, 3)), "(4, 3)"),
        ("root_position", np.zeros((1, 3)), "at least 2 frames"),
        ("root_position", np.array(0.0), ""),
        ("root_position", np.full((5, 3), np.inf), "frame 0"),
        ("parents", np.array([-1, 1]), "parent"),
        ("parents", np.array([-1, np.nan]), ""),
        ("parents", np.array([-1, np.inf]), ""),
        ("parents", np.array(["a", "b"]), ""),
        ("joint_names", np.array(["root"]), "skeleton"),
        ("joint_names", np.array("root"), ""),
        ("offsets", np.zeros((3, 3)), "skeleton"),
        ("offsets", np.full((2, 3), np.nan), "offsets"),
        ("contacts", np.ones((4, 2), dtype=bool), "contacts"),
        ("contacts", np.array(True), "contacts"),
        ("contacts", np.full((5, 2), "a"), ""),
        ("betas", np.full(10, np.nan), "betas"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named(path, key, value, says):
    np.savez(path, **{**arrays(), key: value})
    assert says in refused(path)


def test_a_zip_whose_members_are_no_arrays_is_refused(path):
    for key in ("format", "version", "rotations"):
        np.savez(path, **{k: v for k, v in arrays().items() if k != key})
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(key, b"1")
        refused(path)


def test_a_newer_version_asks_for_an_update(path):
    np.savez(path, **{**arrays(), "version": np.array(7)})
    assert "7" in refused(path) and "update mprl" in refused(path)


def test_other_arrays_are_told_from_a_motion(path):
    np.savez(path, weights=np.zeros(3), bias=np.zeros(3))
    line = refused(path)
    assert "weights" in line and "bias" in line


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04N.", b"\x93NUMPY\x01\x00v\x00{'descr'", b"x" * 100])
def test_a_file_of_another_kind_is_refused(path, content):
    path.write_bytes(content)
    refused(path)


def test_a_folder_and_a_missing_file_are_told_apart(tmp_path):
    (tmp_path / "folder.npz").mkdir()
    assert "folder" in refused(tmp_path / "folder.npz")
    assert "no such file" in refused(tmp_path / "nothing.npz")


# --------------------------------------------------------------------------------------------------------------------- on the disk


def test_a_missing_folder_is_named_and_nothing_is_left(tmp_path):
    with pytest.raises(MotionFormatError, match="cannot be written"):
        npz.write(clip(), tmp_path / "nowhere" / "waving.npz")
    assert os.listdir(tmp_path) == []


def test_a_folder_in_the_files_place_is_named_and_nothing_is_left(path, tmp_path):
    path.mkdir()
    with pytest.raises(MotionFormatError, match="cannot be written"):
        npz.write(clip(), path)
    assert os.listdir(tmp_path) == [path.name]


def test_a_write_that_fails_half_way_keeps_the_old_file_and_leaves_nothing(path, tmp_path, monkeypatch):
    path.write_bytes(b"older")

    def full(file, **content):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(MotionFormatError, match="No space left on device"):
        npz.write(clip(), path)
    assert path.read_bytes() == b"older" and os.listdir(tmp_path) == [path.name]


def test_a_write_that_is_interrupted_keeps_the_old_file_and_leaves_nothing(path, tmp_path, monkeypatch):
    path.write_bytes(b"older")

    def interrupted(file, **content):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        npz.write(clip(), path)
    assert path.read_bytes() == b"older" and os.listdir(tmp_path) == [path.name]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_file_has_the_permissions_of_any_new_file(path, tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    npz.write(clip(), path)
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
