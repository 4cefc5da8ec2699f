"""Any file is read, or refused in one line: no other exception, no hang, no memory out of proportion.

Good files of every kind are changed in ways that know the format (values, frames, keys, headers, members) and in ways that do not
(bytes). `MPRL_FUZZ=100000 pytest -m slow tests/motion/test_fuzz.py` tries that many files in all.
"""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import re
import sys
import time
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mprl.errors import MotionFormatError
from mprl.motion.load import READERS, load

SECONDS = 5.0  # of the processor, for one file; the slowest takes a tenth
MEBIBYTES = 64  # by which one file may raise the peak of the process, beyond three times its size: a pickle of protocol 0 has 48
CHUNK = 5000  # files after which hypothesis may forget what it has tried, which fills the memory too
INPUTS = int(os.environ.get("MPRL_FUZZ", 2000))

# ------------------------------------------------------------------------------------------------------------------- good files

FRAME = [0.05, 0.0, 0.9, 0.0] + [0.0] * 40
for _column in (4, 8, 12, 16, 21, 25, 30, 35, 39):
    FRAME[_column] = 1.0
DEEPMIMIC = {"Loop": "wrap", "Frames": [[d, *FRAME[1:]] for d in (0.05, 0.05, 0.02, 0.05)]}
NPZ = {
    "format": np.array("mprl-motion"), "version": np.array(1), "name": np.array("waving"), "frame_rate": np.array(30.0),
    "loop": np.array("wrap"), "root_position": np.zeros((5, 3)), "rotations": np.tile([1.0, 0, 0, 0], (5, 2, 1)),
    "joint_names": np.array(["root", "arm"]), "parents": np.array([-1, 0]), "offsets": np.zeros((2, 3)), "rest_pose": np.array("T-pose"),
    "contacts": np.ones((5, 2), dtype=bool), "betas": np.zeros(10), "gender": np.array("neutral"),
}  # fmt: skip

AMASS = {
    "poses": np.zeros((5, 156)), "trans": np.zeros((5, 3)), "betas": np.zeros(16), "gender": np.array(b"female"),
    "mocap_framerate": np.array(120.0), "root_orient": np.zeros((5, 3)), "pose_body": np.zeros((5, 63)), "mocap_frame_rate": np.array(120),
}  # fmt: skip
BVH = """HIERARCHY
ROOT Hips
{
    OFFSET 0 0 0
    CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
    JOINT LeftFoot
    {
        OFFSET 5 -90.5 0
        CHANNELS 3 Zrotation Xrotation Yrotation
        End Site
        {
            OFFSET 0 0 15
        }
    }
    JOINT Head
    {
        OFFSET 0 60 0
        CHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation
        End Site
        {
            OFFSET 0 20 0
        }
    }
}
MOTION
Frames: 3
Frame Time: 0.0333333
0 90 0 0 0 0 0 0 0 0 60 0 0 0 0
1 90 0 0 5 0 0 10 0 0 60 0 0 1 0
2 90 1e-3 0 10 0 0 20 0 0 60 0 0 2 0
"""
CSV = """# frame_rate: 30
time,root_x,root_y,root_z,root_qw,root_qx,root_qy,root_qz,chest_x,chest_y,chest_z,right_knee
0.0000,0,0,.9,1,0,0,0,.1,0,0,-.5
0.0333,0,0,.9,1,0,0,0,.1,0,0,-.4
0.0667,0,0,.9,1,0,0,0,.1,0,0,-.3
"""
_PHC = {"pose_aa": np.zeros((4, 72)), "root_trans_offset": np.zeros((4, 3)), "beta": np.zeros(16), "gender": "neutral", "fps": 30}
PICKLES: list[dict[str, Any]] = [
    {"loop_mode": 1, "fps": 30, "frames": [[0.0] * 34] * 4},
    {"loop_mode": 0, "fps": 30.0, "frames": np.zeros((4, 75))},
    {
        "fps": 30,
        "root_pos": np.zeros((4, 3)),
        "root_rot": np.tile([0.0, 0, 0, 1], (4, 1)),
        "dof_pos": np.zeros((4, 29)),
        "local_body_pos": None,
    },
    {"walk": _PHC},
    {"walk": _PHC, "run": {**_PHC, "trans_orig": np.zeros((4, 3))}},
]

# ---------------------------------------------------------------------------------------------------------------- broken values

TOKENS = [
    "null", "true", "-1", "0", "-0.0", "1e309", "-1e309", "1e-400", "NaN", "-Infinity", "9" * 400, "9" * 5000, "1e5", "999999.9", "0.0001",
    "3599", "7200", '""', '"wrap"', '"\\u0000"', '"\\ud800"', '"\\n"', '"' + "a" * 5000 + '"', "[]", "{}", "[[]]", '{"Frames": []}',
    "[" * 300 + "]" * 300, "[" * 30_000 + "]" * 30_000, '{"a":' * 2000 + "1" + "}" * 2000, "[" * 3_000, "[" + "[]," * 10_000 + "0]",
    json.dumps(FRAME), json.dumps([FRAME] * 300), "\ufeff", "//", "\x00",
]  # fmt: skip
DTYPES = ["<f8", ">f4", "<f2", "|b1", "|i1", "<u8", "<c16", "<U0", "<U3", "<U70000", "|S1", "|S0", "|V0", "|V8", "<M8[s]", "|O"]
SHAPES = [
    (), (0,), (1,), (2,), (5,), (5, 0), (0, 3), (5, 3), (5, 2, 4), (1, 2, 4), (2**20,), (2**40,), (2**62, 4), (2**63,), (-1,), (1,) * 64,
    (0, 2**50), (2**31, 2**31, 2**31), (5, 10**6, 4), (10**9, 0),
]  # fmt: skip


def arrays() -> list[np.ndarray]:
    turns, path = np.tile([1.0, 0, 0, 0], (7200, 2, 1)), np.zeros((7200, 3))
    values: list[Any] = [
        *(0, -1, 2, 1e-6, 1e300, np.nan, np.inf, -np.inf, 2**62, True, 1j, "", "a", "wrap", "a\nb", "x" * 5000, b"\xff", [], [[]]),
        *([-1, 0], [-1, 5], [-1, -1], [0, 0], [-1, 0, 1], ["root", "root"], ["", "\n"], np.zeros((5, 3)), np.zeros((1, 3)), path, turns),
        *(np.full((5, 3), 1e308), *(np.full((5, 2, 4), value) for value in (np.nan, 0.5, 1e200))),
        *(np.zeros(10**6), np.zeros((5, 2), bool), np.ones((5, 0), bool), np.zeros(10**5, "U1"), np.zeros(3, [("a", "f8")])),
    ]
    return [np.asarray(value) for value in values]


ARRAYS = arrays()


def forged(dtype: str, shape: tuple[int, ...], content: int, fortran: bool) -> bytes:
    """A member whose header claims anything, and some zeros behind it."""
    header = f"{{'descr': '{dtype}', 'fortran_order': {fortran}, 'shape': {shape}, }}".encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(content)


# ------------------------------------------------------------------------------------------------------------------- broken files

NUMBER = st.integers(0, 2**16)


@st.composite
def changed_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes changed, cut out, put in and repeated."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at, size = draw(NUMBER) % max(1, len(data)), draw(st.integers(0, 9))
        what = draw(st.sampled_from(("change", "cut", "insert", "truncate", "repeat")))
        if what == "truncate":
            del data[at:]
        elif what == "repeat":
            data[at:at] = data[at : at + 100 * size]
        else:
            data[at : at + (0 if what == "insert" else size)] = b"" if what == "cut" else draw(st.binary(min_size=1, max_size=9))
    return bytes(data)


@st.composite
def deepmimic_files(draw: st.DrawFn) -> bytes:
    """A motion file of DeepMimic with broken numbers, frames and keys; the broken values are put in as text."""
    content: dict[str, Any] = {**DEEPMIMIC, "Frames": [list(row) for row in DEEPMIMIC["Frames"]]}
    tokens = draw(st.lists(st.sampled_from(TOKENS), min_size=1, max_size=3))
    for number in range(len(tokens)):
        mark, rows = f"@{number}@", content["Frames"]
        where = draw(st.sampled_from(("number", "number", "duration", "frame", "more", "fewer", "Frames", "Loop", "key")))
        if where in ("Loop", "key") or not isinstance(rows, list) or not rows:
            content["Loop" if where == "Loop" else "Other"] = mark
        elif where == "Frames":
            content["Frames"] = mark
        elif where == "fewer":
            del rows[draw(NUMBER) % len(rows) :]
        elif where in ("frame", "more"):
            at = draw(NUMBER) % len(rows)
            rows[at : at + (where == "frame")] = [mark]
        else:
            row = rows[draw(NUMBER) % len(rows)]
            if isinstance(row, list):
                row[0 if where == "duration" else draw(NUMBER) % len(row)] = mark
    text = json.dumps(content)
    for number, token in enumerate(tokens):
        text = text.replace(f'"@{number}@"', token)
    return text.encode("utf-8", "surrogatepass")


@st.composite
def npz_files(draw: st.DrawFn) -> bytes:
    """Our own motion file, or one of AMASS, with broken arrays, headers and members."""
    good = draw(st.sampled_from((NPZ, AMASS)))
    members = {key: member(array) for key, array in good.items()}
    for _ in range(draw(st.integers(1, 3))):
        key = draw(st.sampled_from((*good, "unknown", "a\nb", "../up")))
        what = draw(st.sampled_from(("array", "array", "header", "bytes", "drop", "nothing")))
        if what == "array":
            members[key] = member(ARRAYS[draw(NUMBER) % len(ARRAYS)])
        elif what == "header":
            dtype, shape = draw(st.sampled_from(DTYPES)), draw(st.sampled_from(SHAPES))
            members[key] = forged(dtype, shape, draw(st.sampled_from((0, 8, 320, 10**6))), draw(st.booleans()))
        elif what == "bytes":
            members[key] = draw(changed_bytes(members.get(key, b"\x93NUMPY\x03\x00")))
        elif what == "drop":
            members.pop(key, None)
        else:
            members[key] = b""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", draw(st.sampled_from((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))), compresslevel=1) as archive:
        for key, data in members.items():
            archive.writestr(f"{key}.npy", data)
    return packed.getvalue()


WORDS = [
    "{", "}", "ROOT", "JOINT", "End Site", "MOTION", "HIERARCHY", "OFFSET", "CHANNELS", "OFFSET 1 2 3", "CHANNELS 0",
    "CHANNELS 1 Xposition", "CHANNELS 3 Zrotation Xrotation Yrotation", "JOINT Hips {",
    "Frames: 1000000000", "Frames: -1", "Frame Time: 0", "Frame Time: nan",
    "Zrotation", "0", "-1", "1e300", "nan", "inf", "9" * 5000, "1_0", "0x1", "\x00", "\ufeff", "é", "", ",", ";", "\n", "#", '"',
    "# frame_rate: nan", "time", "root_w", "chest_w", "root_rx", "a" * 5000, "{" * 5000, "JOINT a {" * 3000, "JOINT a\n{\n" * 300,
    "0 " * 50_000, "1\n" * 50_000, "," * 50_000,
]  # fmt: skip


@st.composite
def texts(draw: st.DrawFn, content: str) -> bytes:
    """A table or a tree of text whose words and lines are changed, dropped, repeated and exchanged."""
    lines = [re.split(r"([ ,])", line) for line in content.split("\n")]
    for _ in range(draw(st.integers(1, 3))):
        at, other = draw(NUMBER) % len(lines), draw(NUMBER) % len(lines)
        where = draw(NUMBER) % len(lines[at])
        what = draw(st.sampled_from(("number", "number", "number", "word", "word", "drop", "insert", "exchange", "repeat", "cut")))
        if what == "number":
            lines[at][where] = f"{draw(st.floats(-400, 400)):.6g}" if re.fullmatch(r"[-.\de]+", lines[at][where]) else lines[at][where]
        elif what == "word":
            lines[at][where] = draw(st.sampled_from(WORDS))
        elif what == "drop":
            lines[at] = lines[at][:where] + lines[at][where + 1 :] or [""]
        elif what == "insert":
            lines.insert(at, [draw(st.sampled_from(WORDS))])
        elif what == "exchange":
            lines[at], lines[other] = lines[other], lines[at]
        elif what == "repeat":
            lines[at:at] = [list(line) for line in lines[min(at, other) : max(at, other) + 1]]
        else:
            del lines[at + 1 :]
    return "\n".join("".join(words) for words in lines).encode("utf-8", "surrogatepass")


LISTS: list[Any] = [[0.0] * 100] * 100
for _ in range(4):
    LISTS = [LISTS] * 100  # in the file a few bytes for each level, laid out 10^12 numbers
VALUES = [
    *ARRAYS, None, "", "x", b"x", -1, 0, 1e308, float("nan"), 10**400, [], {}, [[]], [[0.0] * 34, [0.0] * 33], [["a"] * 34] * 4, [[None]],
    LISTS, {"frames": 1}, np.zeros((4, 72)), np.zeros((4, 24, 3)), np.zeros((4, 34)), np.full((4, 34), np.nan), np.zeros((10**5, 7)),
    np.array([{}, None], dtype=object), OrderedDict(a=1), (1, 2), {1, 2}, True, 1j,
]  # fmt: skip


@st.composite
def pickle_files(draw: st.DrawFn) -> bytes:
    """A pickle of MimicKit, GMR or PHC with broken values and keys, or a good one with broken bytes."""
    content = copy.deepcopy(draw(st.sampled_from(PICKLES)))
    for _ in range(draw(st.integers(0, 3))):
        inner = content if "fps" in content else content[next(iter(content))]
        place = draw(st.sampled_from((content, inner)))
        if not isinstance(place, dict) or not place:
            break
        key = draw(st.sampled_from((*map(str, place), "fps", "frames", "dof", "root_rot", "new")))
        if draw(st.integers(0, 4)) == 0:
            place.pop(key, None)
        else:
            place[key] = VALUES[draw(NUMBER) % len(VALUES)]
        if not content or ("fps" not in content and not isinstance(content[next(iter(content))], dict)):
            break
    data = pickle.dumps(content, protocol=draw(st.integers(0, 5)))
    if draw(st.integers(0, 3)) == 0:
        data = draw(changed_bytes(data))
    return zlib.compress(data, 1) if len(data) < 10**7 and draw(st.integers(0, 9)) == 0 else data


def member(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array)
    return file.getvalue()


def zipped(content: dict[str, np.ndarray]) -> bytes:
    packed = io.BytesIO()
    np.savez(packed, **content)
    return packed.getvalue()


_PICKLED = [pickle.dumps(content) for content in PICKLES]
GOOD = {
    ".txt": [json.dumps(DEEPMIMIC).encode()], ".npz": [zipped(NPZ), zipped(AMASS)], ".bvh": [BVH.encode()], ".csv": [CSV.encode()],
    ".pkl": [_PICKLED[0], _PICKLED[1], _PICKLED[3]],
}  # fmt: skip
KNOWING = {".txt": deepmimic_files(), ".npz": npz_files(), ".bvh": texts(BVH), ".csv": texts(CSV), ".pkl": pickle_files()}
KINDS = list(KNOWING)


def files(suffix: str) -> st.SearchStrategy[bytes]:
    """Files of a kind: mostly nearly good ones."""
    knowing = KNOWING[suffix]
    return st.one_of(knowing, knowing, *map(changed_bytes, GOOD[suffix]), st.binary(max_size=200))


# -------------------------------------------------------------------------------------------------------------------------- tests


def test_every_reader_is_tried():
    assert {READERS[kind] for kind in KINDS} == set(READERS.values())


@pytest.mark.parametrize("suffix", KINDS)
def test_the_files_that_are_changed_are_good_ones(tmp_path, suffix):
    path = tmp_path / f"good{suffix}"
    for content in GOOD[suffix]:
        path.write_bytes(content)
        assert load(path).num_frames >= 3


def peak() -> float:
    """MiB that this process has taken at most."""
    if sys.platform == "win32":
        return 0.0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**10 if sys.platform == "linux" else 2**20)


def try_files(suffix: str, folder: Path, count: int) -> int:
    """Read so many files; how many of them were good."""
    path, accepted = folder / f"any{suffix}", []
    for content in GOOD[suffix]:  # what is loaded once and for all, as the free body, is no file's memory
        path.write_bytes(content)
        load(path)

    @settings(max_examples=count, database=None, suppress_health_check=list(HealthCheck), phases=(Phase.generate, Phase.shrink))
    @given(files(suffix))
    def read(content: bytes) -> None:
        path.write_bytes(content)
        began, before = time.process_time(), peak()
        try:
            load(path)
            accepted.append(True)
        except MotionFormatError as error:
            line = str(error)
            assert path.name in line and len(line.splitlines()) == 1 and len(line) < 600, line
        assert time.process_time() - began < SECONDS
        assert peak() - before < MEBIBYTES + 3 * len(content) / 2**20

    read()
    return len(accepted)


@pytest.mark.parametrize("suffix", KINDS)
def test_any_file_is_read_or_refused_in_one_line(tmp_path, suffix):
    assert (
        try_files(suffix, tmp_path, 150 if suffix in (".txt", ".pkl") else 80) > 0
    )  # some of them are good ones, or only the first check would be tried


@pytest.mark.slow
@pytest.mark.parametrize("suffix", KINDS)
def test_any_of_many_files_is_read_or_refused_in_one_line(tmp_path, suffix):
    began = time.perf_counter()
    count = INPUTS // len(KINDS)
    accepted = sum(try_files(suffix, tmp_path, min(CHUNK, count - done)) for done in range(0, count, CHUNK))
    print(f"{suffix}: {count} files in {time.perf_counter() - began:.0f} s, {accepted} of them read")


def test_an_hour_in_three_frames_does_not_fill_the_memory(tmp_path):
    # the rate of the shortest frame would make 860 000 frames of these
    path = tmp_path / "long.txt"
    path.write_text(json.dumps({"Frames": [[d, *FRAME[1:]] for d in (3590.0, 0.005, 1.0)]}))
    clip = load(path)
    assert clip.num_frames <= 301 and clip.duration == pytest.approx(3590.005)


@pytest.mark.parametrize("key", ["joint_names", "name"])
def test_a_small_file_with_a_huge_member_is_refused_before_it_is_unpacked(tmp_path, key):
    path, before = tmp_path / "bomb.npz", peak()
    header = forged("|S1" if key != "name" else "|S50000000", (5 * 10**7,) if key != "name" else (), 0, False)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in NPZ.items():
            if name != key:
                archive.writestr(f"{name}.npy", member(array))
        with archive.open(f"{key}.npy", "w") as file:
            file.write(header)
            file.write(bytes(5 * 10**7))
    with pytest.raises(MotionFormatError, match=f'key "{key}": expected at most'):
        load(path)
    assert peak() - before < 100  # 50 of them this test's own


def test_what_the_zip_says_of_a_member_is_checked_against_its_header(tmp_path):
    path = tmp_path / "cut.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in NPZ.items():
            data = member(array)
            archive.writestr(f"{name}.npy", data[:-8] if name == "rotations" else data)
    with pytest.raises(MotionFormatError, match=r'key "rotations": is cut off: \(5, 2, 4\) values of 8 bytes in 312 bytes'):
        load(path)


def test_twenty_million_texts_of_no_length_are_refused(tmp_path):
    path = tmp_path / "empty.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in NPZ.items():
            archive.writestr(f"{name}.npy", forged("<U0", (5, 10**6, 4), 0, False) if name == "rotations" else member(array))
    with pytest.raises(MotionFormatError, match='key "rotations": is cut off'):
        load(path)


def test_a_billion_rows_of_nothing_are_not_gone_through(tmp_path):
    path = tmp_path / "nothing.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in NPZ.items():
            archive.writestr(f"{name}.npy", forged("<f8", (10**9, 0), 0, False) if name == "joint_names" else member(array))
    with pytest.raises(MotionFormatError, match='key "joint_names": expected at most 4096 values'):
        load(path)
