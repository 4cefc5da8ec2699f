"""Pickles are read without running them: data comes out as it went in, everything else is refused by its name."""

from __future__ import annotations

import base64
import bz2
import collections
import datetime
import gzip
import lzma
import os
import pathlib
import pickle
import struct
import sys
import types
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mprl.errors import MotionFormatError
from mprl.motion.formats import pickles

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def same(a: Any, b: Any) -> bool:
    """Equal in kind and value, arrays and all."""
    if isinstance(a, np.ndarray) and a.dtype != object:
        return type(b) is np.ndarray and a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b) and b.flags.writeable
    if isinstance(a, np.ndarray):
        return type(b) is np.ndarray and a.shape == b.shape and all(same(x, y) for x, y in zip(a.flat, b.flat, strict=True))
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    return type(a) is type(b) and a == b


DATA = {
    "plain": [
        None,
        True,
        False,
        0,
        -1,
        255,
        65535,
        2**31,
        -(2**40),
        10**30,
        1.5,
        -0.0,
        "",
        "text",
        "ü",
        b"",
        b"ab",
        (),
        (1,),
        (1, 2, 3, 4),
    ],
    "containers": {"list": [[1, 2], []], "set": {1, 2}, "frozen": frozenset({"a"}), 3: {"x": 1}, (1, "a"): 2},
    "C": np.arange(6.0).reshape(2, 3),
    "F": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "kinds": [np.arange(4, dtype=kind) for kind in ("i1", "u1", "i2", "u4", "i8", "f2", "f4", "f8", "c8")],
    "no dimension": np.array(3.5),
    "empty": np.zeros((0, 3)),
    "booleans": np.array([True, False]),
    "texts": np.array(["male", "f"]),
    "bytes": np.array(b"female"),
    "objects": np.array([{"a": np.ones(2)}, None, "x"], dtype=object),
    "lists": [np.array([[1, 2], [3]], dtype=object), np.array(None), np.array([[None, 1], ["x", np.ones(2)]], dtype=object, order="F")],
    "scalar": np.float32(3.25),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_is_written_is_read(protocol):
    assert same(pickles.load(pickle.dumps(DATA, protocol=protocol)), DATA)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_other_containers_and_byte_orders_come_as_the_usual_ones(protocol):
    content = (
        collections.OrderedDict(b=1, a=np.zeros(2)), collections.defaultdict(list, {1: [2]}), np.arange(3, dtype=">f4"),
        pathlib.PurePosixPath("/data/x"), bytearray(b"xy"),
    )  # fmt: skip
    ordered, default, swapped, path, data = pickles.load(pickle.dumps(content, protocol=protocol))
    assert type(ordered) is dict and list(ordered) == ["b", "a"]
    assert type(default) is dict and default == {1: [2]}
    assert swapped.dtype == np.float32 and swapped.tolist() == [0, 1, 2]
    assert path == "/data/x" and data == b"xy"


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", ["csc_matrix", "csr_matrix", "csc_array"])
def test_sparse_matrices(protocol, kind):
    dense = np.array([[0, 2.0, 0], [1, 0, 3], [0, 0, 0], [4, 0, 0]])
    read = pickles.load(pickle.dumps(getattr(scipy.sparse, kind)(dense), protocol=protocol))
    assert read.format == kind[:3] and np.array_equal(read.toarray(), dense)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_torch_tensors_come_as_arrays(protocol):
    base = torch.arange(12.0, dtype=torch.float64)
    tensors = [
        base.reshape(3, 4).T,
        base[5:7],
        torch.nn.Parameter(torch.ones(2)),
        torch.tensor([True, False]),
        torch.tensor(3),
        torch.zeros(0, 3),
    ]
    read = pickles.load(pickle.dumps(tensors, protocol=protocol))
    for tensor, array in zip(tensors, read, strict=True):
        assert same(tensor.detach().numpy().copy(), array)


@settings(max_examples=60)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5) | st.binary(max_size=5),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4) | st.tuples(inner, inner),
        max_leaves=12,
    ),
    st.sampled_from(PROTOCOLS),
)
def test_any_plain_value_is_read_as_it_was(value, protocol):
    assert same(pickles.load(pickle.dumps(value, protocol=protocol)), value)


def test_shared_containers_stay_shared_and_what_contains_itself_is_refused():
    inner: list[Any] = [np.zeros(2)]
    read = pickles.load(pickle.dumps({"a": inner, "b": inner}))
    assert read["a"] is read["b"]
    inner.append({"again": inner})
    with pytest.raises(MotionFormatError, match="holds a list that contains itself; refused"):
        pickles.load(pickle.dumps(inner))


def test_python_2_pickles_are_latin_1():
    # Python 2.7: pickle.dumps({'gender': 'm\xe4nnlich', 'n': 3L, 'f': np.array([1., 2.])}, 0) and 2
    text = (b"(dp0\nS'gender'\np1\nS'm\\xe4nnlich'\np2\nsS'n'\np3\nL3L\nsS'f'\np4\ncnumpy.core.multiarray\n_reconstruct\np5\n"
            b"(cnumpy\nndarray\np6\n(I0\ntp7\nS'b'\np8\ntp9\nRp10\n(I1\n(I2\ntp11\ncnumpy\ndtype\np12\n(S'f8'\np13\nI0\nI1\ntp14\nRp15\n"
            b"(I3\nS'<'\np16\nNNNI-1\nI-1\nI0\ntp17\nbI00\nS'\\x00\\x00\\x00\\x00\\x00\\x00\\xf0?\\x00\\x00\\x00\\x00\\x00\\x00\\x00@'\np18\n"
            b"tp19\nbs.")  # fmt: skip
    read = pickles.load(text)
    assert read["gender"] == "männlich" and read["n"] == 3 and read["f"].tolist() == [1, 2]
    assert pickles.load(b"\x80\x02}U\x01aU\x02\xe4bs.") == {"a": "äb"}


# ---------------------------------------------------------------------------------------------------------------------- chumpy


@pytest.fixture
def chumpy(monkeypatch):
    """Classes with chumpy's names and the attributes that it pickles (its source: ch.py, reordering.py)."""

    class Ch:
        def __init__(self, **state):
            self.__dict__.update(_dirty_vars=set(), _itr=None, _make_dense=False, _make_sparse=False, _depends_on_deps={}, **state)

    kinds = {"Ch": Ch}
    for name in ("Select", "Reshape", "transpose", "Concatenate", "Tile"):
        kinds[name] = type(name, (Ch,), {})
    for module, names in (("chumpy", ()), ("chumpy.ch", ("Ch",)), ("chumpy.reordering", [n for n in kinds if n != "Ch"])):
        made = types.ModuleType(module)
        for name in names:
            kinds[name].__module__, kinds[name].__qualname__ = module, name
            setattr(made, name, kinds[name])
        monkeypatch.setitem(sys.modules, module, made)
    return types.SimpleNamespace(**kinds)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_chumpy_arrays_come_as_arrays(chumpy, protocol):
    whole = np.arange(24.0).reshape(2, 3, 4)
    chosen = np.arange(24).reshape(2, 3, 4)[:, :, :2]
    leaf = chumpy.Ch(x=whole)
    model = {
        "v_template": leaf,
        "shapedirs": chumpy.Select(a=leaf, idxs=chosen.ravel(), preferred_shape=chosen.shape),
        "reshaped": chumpy.Reshape(a=leaf, newshape=(6, 4)),
        "transposed": chumpy.transpose(a=leaf, axes=(0, 2, 1)),
        "joined": chumpy.Concatenate(dterms=["m0", "m1"], m0=leaf, m1=leaf, axis=1),
    }
    read = pickles.load(pickle.dumps(model, protocol=protocol))
    expected = (whole, whole[:, :, :2], whole.reshape(6, 4), whole.transpose(0, 2, 1), np.concatenate((whole, whole), 1))
    for name, values in zip(model, expected, strict=True):
        assert np.array_equal(read[name], values)


# chumpy 0.70 itself: a = chumpy.array(numpy.arange(24.).reshape(2, 3, 4)); select = a[:, :, :2]; select.r
# zlib.compress(pickle.dumps({"v_template": chumpy.array([[1., 2, 3]]), "shapedirs": select}, protocol=2))
OF_CHUMPY = (
    "c-n1}T~pIg5Qftaq=X_xKtT}^5d&i78&rfUeiH3PyvdCd)8ydENYlK@3DS$s=tZghH~t03AEqbi;yB95OrDdI-95YS?w4!}ie{>cq8wX-)q^8jFk~Eu$Mv9D"
    "cDTCFRb&^wBG*D*GY6%i<$9rLTE})6q0h0bTI?MO&$lc!VnW4*_vkk>((VKWyNv+@s+mvRJP~5B+6z&)KQYT?e#B7hn#DgyQ6Qr-40X*?dJ_wn??zU`Pqq;*"
    "wlK^Kj-MuHIgOB&>#@At4nw=CS|M{9ek8)!k$IGQW~%S@{$fN|+PLIMH<vk)%KT)bVl+**hB5Pkq^#fbS1^8x%LcA=FkxU)(=+nPo#HBmbVW0ep4ZH*^f=tc"
    "RQFp4*9}Z-dM=H&gB#Uq_28FW=}T7xW@=qNYECL=>*x19+EsceRB)5ai)Rho5}2#SHFH27N8ApWlsv-iv$lk+5xOk&{EzB8cEplu=VgoTw4iCckIN1$w6SR5"
    "E<Z=_rE~PY*X2^$a+<r1`#fp*atkXIZMBUx1M4yxFLwD*YP`V<yu?#YH@OsQ%fNObR94UF`3@fN>7?8r%D?NJvU@BM$A}ZeDdG%qmN-Y8Cu+n+;u5h;Tqdp%"
    "SBY!Hb>aqbleksE!=x>b4D1Lzu9^LbdXcb29AVeY$uFOM#-40fGUlFp5}|S?&67l$rv~;DX^L$;<GrErw(&d}nimFM%Aw)^kISocTt57zT!xq@_7Mxj0b-Fj"
    "L@W_Uh-1WYB3>uu9T?CB-qg%tc@%`~kcA<0t#tbEHf?LRgDT(UveLNx8%65=hy"
)


def test_a_pickle_of_chumpy_itself():
    read = pickles.load(zlib.decompress(base64.b85decode(OF_CHUMPY)))
    assert read["v_template"].tolist() == [[1, 2, 3]]
    assert np.array_equal(read["shapedirs"], np.arange(24.0).reshape(2, 3, 4)[:, :, :2])


def test_a_chumpy_computation_that_is_not_known_is_refused_by_name(chumpy):
    with pytest.raises(MotionFormatError, match=r"^pickle: holds chumpy.reordering.Tile, which is not data; refused$"):
        pickles.load(pickle.dumps(chumpy.Tile(a=chumpy.Ch(x=np.ones(2)), reps=(2,))))


# ---------------------------------------------------------------------------------------------------------------------- joblib

ARRAYS = DATA["C"], DATA["F"], DATA["texts"], DATA["objects"], np.array(2.0), np.zeros((0, 3))


def as_joblib_writes(arrays, aligned: bool = True) -> bytes:
    """A list of arrays as joblib's pickler leaves it: a wrapper's state, then the array's bytes, in the middle of the pickle."""
    out = bytearray(b"\x80\x03]")
    for array in arrays:
        state = {
            "shape": array.shape,
            "order": "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C",
            "allow_mmap": True,
        }
        out += b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81"
        out += pickle.dumps(state | ({"numpy_array_alignment_bytes": 16} if aligned else {}), protocol=3)[2:-1]
        out += b"X\x05\x00\x00\x00dtype" + pickle.dumps(array.dtype, protocol=3)[2:-1] + b"sb"
        if array.dtype == object:
            out += pickle.dumps(array, protocol=2)
        else:
            padding = 15 - len(out) % 16
            out += (bytes([padding]) + b"\xff" * padding if aligned else b"") + array.tobytes(order=state["order"])
        out += b"a"
    return bytes(out + b".")


@pytest.mark.parametrize("aligned", [True, False])
def test_arrays_in_the_middle_of_a_joblib_file(aligned):
    assert same(pickles.load(as_joblib_writes(ARRAYS, aligned)), list(ARRAYS))


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress, bz2.compress, lzma.compress])
def test_compressed_files_are_unpacked(compress):
    assert same(pickles.load(compress(as_joblib_writes(ARRAYS))), list(ARRAYS))


def test_a_text_that_begins_as_compressed_files_do_is_not_taken_for_one():
    with pytest.raises(MotionFormatError, match="is not a pickle"):
        pickles.load(b"xylophone")


@pytest.mark.parametrize("compress", [0, 3, ("bz2", 3), ("lzma", 3), ("xz", 3), ("gzip", 3)])
def test_files_of_joblib_itself(tmp_path, compress):
    joblib = pytest.importorskip("joblib")
    for protocol in PROTOCOLS:
        joblib.dump(DATA, tmp_path / "x.pkl", compress=compress, protocol=protocol)
        assert same(pickles.load(tmp_path / "x.pkl"), DATA)


# ------------------------------------------------------------------------------------------------------------------------- evil


class Call:
    def __init__(self, function, *arguments):
        self.made = function, arguments

    def __reduce__(self):
        return self.made


EVIL = {
    "system": (lambda file: Call(os.system, f"touch {file}"), "posix.system" if os.name == "posix" else "nt.system"),
    "eval": (lambda file: Call(eval, f"open({file!r}, 'w')"), "builtins.eval"),
    "getattr": (lambda file: Call(getattr, file, "join"), "builtins.getattr"),
    "open": (lambda file: Call(open, file, "w"), "io.open"),
    "torch": (lambda file: Call(torch.load, file), "torch.serialization.load"),
    "numpy": (lambda file: Call(np.fromfile, file), "numpy.fromfile"),
    "date": (lambda file: datetime.date(2020, 1, 1), "datetime.date"),
    "class": (lambda file: ValueError, "ValueError"),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", EVIL)
def test_what_is_not_data_is_refused_by_its_name_and_nothing_runs(tmp_path, name, protocol):
    make, called = EVIL[name]
    target, file = tmp_path / "ran", tmp_path / "x.pkl"
    file.write_bytes(pickle.dumps({"frames": [make(str(target))]}, protocol=protocol))
    with pytest.raises(MotionFormatError) as caught:
        pickles.load(file)
    line = str(caught.value)
    assert line.startswith(f"{file}: holds ") and called in line and line.endswith("which is not data; refused") and "\n" not in line
    assert not target.exists()


def nested_key(levels: int) -> bytes:
    """A dictionary whose key is a tuple of itself twice, and so on: comparing it takes 2^levels steps."""
    return b"\x80\x02}N" + b"2\x86" * levels + b"Ns."


HOSTILE = {
    "a name of a name": b"\x80\x04\x8c\x08builtins\x8c\x0f__import__.x\n\n\n\x93.",
    "a dotted name": b"\x80\x04\x8c\x05numpy\x8c\x14ndarray.__subclasses\x93.",
    "a called class": b"\x80\x02cnumpy\nndarray\n(I9\ntR.",
    "a class with a state": b"\x80\x02cnumpy\nndarray\n}b.",
    "a changed class": b"\x80\x02cchumpy.ch\nCh\nN}X\x01\x00\x00\x00xK\x01s\x86b.",
    "a number with a state": b"\x80\x02K\x01}b.",
    "a list with a state": b"\x80\x02]}b.",
    "an extension": b"\x80\x02\x82\x01.",
    "a persistent reference": b"\x80\x02K\x01Q.",
    "a buffer from outside": b"\x80\x05\x97.",
    "a key that takes forever": nested_key(60),
    "a set that takes forever": b"\x80\x04\x8f(N" + b"2\x86" * 60 + b"\x90.",
    "a place of the memory far away": b"\x80\x02Nr\xff\xff\xff\x7f0j\xfe\xff\xff\x7f.",
    "a text of 2^62 bytes": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"a.",
    "bytes of 2^40": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"a.",
    "a byte array of 2^40": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"a.",
    "a negative length": b"\x80\x02T\xff\xff\xff\xffabc.",
    "a long integer": b"\x80\x02\x8b" + struct.pack("<i", 10**6) + b"\x01" * 10**6 + b".",
    "a longer integer": b"I" + b"9" * 10**6 + b"\n.",
    "depth": b"\x80\x02" + b"]" * 10**5 + b"a" * (10**5 - 1) + b".",
    "depth of tuples": b"\x80\x02N" + b"\x85" * 10**5 + b".",
    "many sets": b"\x80\x04" + b"\x8f" * 500_000 + b"N.",
    "millions of nothings": b"\x80\x04" + b"N" * (2**23 + 1) + b".",
    "nothing": b"\x80\x04",
    "only an end": b".",
    "no stack": b"\x80\x040000.",
    "no mark": b"\x80\x04u.",
    "an append to nothing": b"\x80\x04Na.",
    "a tuple that holds itself": b"\x80\x02]q\x000(h\x00tq\x01h\x00h\x01a0h\x01.",
    "an array twice": pickle.dumps(np.zeros(2), protocol=2)[:-1] + b"(K\x01)Nh\x00tb.",
    "an unfinished array": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntU\x01btR.",
}


def array_with(shape: Any, dtype: str, data: bytes) -> bytes:
    """NumPy's own instructions with any claims."""
    text = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
    text += pickle.dumps(shape, protocol=2)[2:-1] + b"cnumpy\ndtype\nU" + bytes([len(dtype)]) + dtype.encode() + b"K\x00K\x01\x87R"
    return text + b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89B" + struct.pack("<I", len(data)) + data + b"tb."


def long_bytes(content: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(content)) + content


def tensor_file(first: bytes, times: int) -> bytes:
    """The memory of a torch tensor, a pickle inside of the pickle, asked for so many times; `first` runs inside of it."""
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
    memory = b"\x80\x02(U\x07storageU\x13torch.DoubleStorageU\x01aU\x03cpuK\x00NtQ."
    inside = b"\x80\x02" + first + magic[2:] + b"\x80\x02N." * 2 + memory + b"\x80\x02]U\x01aa." + bytes(8)
    call = b"ctorch.storage\n_load_from_bytes\nq\x01" + long_bytes(inside) + b"\x85q\x02R"
    return b"\x80\x02" + call + b"h\x01h\x02R" * (times - 1) + b"."


def nested_tensors(levels: int) -> bytes:
    content = b"\x80\x02N."
    for _ in range(levels):
        content = b"\x80\x02ctorch.storage\n_load_from_bytes\n" + long_bytes(content) + b"\x85R."
    return content


def reused(arguments: bytes, use: bytes, times: int) -> bytes:
    """Something of some length, at memo 1, used over and over by a few bytes each time."""
    return b"\x80\x02" + arguments + b"q\x010" + use * times + b"N."


JOBLIB = b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}(U\x05dtypecnumpy\ndtype\nU\x02%b\x85RU\x05shape%bub"
EVENS = b"(" + b"K\x02" * 100_000 + b"t"
NOTHINGS = b"(" + b"N" * 100_000 + b"t"
SAME_HASH = [b"\x8a\x0a" + (k * (2**61 - 1)).to_bytes(10, "little") for k in range(20_000)]  # the hash is the rest modulo 2^61 - 1
PAIRS_OF_NUMBERS = [(k, -k) for k in range(9)]  # those of the same hash can be found, though not in a line
WIDE = array_with((2048, 2048), "i1", bytes(2**22))[2:-1]
TURNED = b"cchumpy.reordering\ntranspose\n)\x81}U\x01a" + WIDE + b"sbq\x01"
# Files of which a small part is met again and again.
HOSTILE |= {
    "a storage again and again": tensor_file(b"N0" * 50_000, 500),
    "storages inside of storages": nested_tensors(2000),
    "joblib's arrays inside of each other": b"\x80\x02" + (JOBLIB % (b"O8", b"K\x01\x85")) * 2000 + b"N.",
    "joblib's array of 100 000 dimensions": b"\x80\x02" + JOBLIB % (b"i1", EVENS) + b".",
    "many arguments again and again": reused(NOTHINGS, b"ctorch._utils\n_rebuild_parameter\nh\x01R0", 20_000),
    "many parts of a path": reused(b"(" + b"U\x00" * 100_000 + b"t", b"cpathlib\nPosixPath\nh\x01R0", 5000),
    "many terms again and again": reused(
        b"(" + b"U\x01a" * 100_000 + b"t",
        b"cchumpy.reordering\nConcatenate\n)\x81}(U\x06dtermsh\x01U\x01a" + array_with((0,), "f8", b"")[2:-1] + b"ub0",
        5000,
    ),
    "a turned array laid out again and again": b"\x80\x02" + TURNED
    + (b"cchumpy.reordering\nReshape\n)\x81}(U\x01ah\x01U\x08newshapeJ\x00\x00\x40\x00ub0") * 5000 + b"N.",
    "names of the same hash": b"\x80\x02}(" + b"N".join(SAME_HASH) + b"Nu.",
    "a set of the same hash": b"\x80\x04\x8f(" + b"".join(SAME_HASH) + b"\x90.",
    "pairs of numbers as names": pickle.dumps(dict.fromkeys(PAIRS_OF_NUMBERS)),
    "complex numbers as names": pickle.dumps({np.complex128(k): k for k in range(9)}),
    "a list of lists of the same list": pickle.dumps([[[0.0] * 100] * 300] * 300),
}  # fmt: skip


# Why each is refused. The reason names the rule that it meets: none is refused by chance, after the work that it was made for.
UNFOLDS, OVER_AND_OVER = "unfolds to far more than the file holds; refused", "8 million values outside of arrays, or the same over and over"
NO_NAME, DEEP = "as a name in a dictionary; expected text or a number of 64 bits", "is nested more than 200 deep; refused"
REASONS = {
    "a name of a name": "which is not data", "a dotted name": "which is not data",
    "a called class": "calls numpy.ndarray, which is not data",
    "a class with a state": "a state, which is not data", "a changed class": "a state, which is not data",
    "a number with a state": "gives a int a state, which is not data", "a list with a state": "gives a list a state, which is not data",
    "a persistent reference": "refers to something outside of the file",
    "a key that takes forever": NO_NAME, "a set that takes forever": NO_NAME,
    "a long integer": "an integer of more than 512 bits", "a longer integer": "an integer of more than 512 bits",
    "depth": DEEP, "depth of tuples": DEEP, "many sets": UNFOLDS, "millions of nothings": OVER_AND_OVER,
    "a tuple that holds itself": "a tuple that contains itself", "an array twice": "gives a numpy.ndarray its state twice",
    "an unfinished array": "uses a numpy.ndarray that it never finished", "a storage again and again": OVER_AND_OVER,
    "storages inside of storages": "pickles more than 40 deep", "joblib's arrays inside of each other": "pickles more than 40 deep",
    "joblib's array of 100 000 dimensions": "an array without a proper shape", "many arguments again and again": "with 100000 arguments",
    "many parts of a path": "with 100000 arguments", "many terms again and again": UNFOLDS,
    "a turned array laid out again and again": UNFOLDS, "names of the same hash": NO_NAME, "a set of the same hash": NO_NAME,
    "pairs of numbers as names": NO_NAME, "complex numbers as names": NO_NAME, "a list of lists of the same list": UNFOLDS,
}  # fmt: skip
SLOW = ("millions of nothings", "many sets", "many terms again and again", "depth", "many parts of a path")


@pytest.fixture
def refusal(calls: Callable[[Callable[[], object]], int]) -> Callable[[bytes], tuple[str, int]]:
    """`refusal(data)` is the line in which a pickle is refused, and how many calls of functions it took."""

    def refuse(data: bytes) -> tuple[str, int]:
        lines: list[str] = []

        def load() -> None:
            try:
                pickles.load(data)
            except MotionFormatError as error:
                lines.append(str(error))

        count = calls(load)
        (line,) = lines
        return line, count

    return refuse


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in HOSTILE])
def test_a_hostile_pickle_is_refused_in_one_line_after_little_work(name, refusal):
    """In proportion to the file, which may be read once: what is met again is not gone through again."""
    line, count = refusal(HOSTILE[name])
    assert "\n" not in line and len(line) < 200
    assert REASONS.get(name, "is not a pickle, or ") in line
    assert count < 12 * len(HOSTILE[name]) + 500


# A list of 100 times the same list of 100 times ..., 20 deep, at memo 1: a few bytes in the file, 10^40 numbers laid out or as text.
NESTED = b"\x80\x02]q\x01" + b"".join(b"(" + (b"h\x01" * 100) + b"lq\x01" for _ in range(20)) + b"0"


@pytest.mark.parametrize(
    "user",
    [
        b"cnumpy\ndtype\nh\x01\x85R.", b"cnumpy\ndtype\nU\x02f8\x85Rh\x01b.", b"cchumpy.ch\nCh\n)\x81}U\x01xh\x01sb.",
        b"cchumpy.reordering\nConcatenate\n)\x81}(U\x06dtermsh\x01U\x04axisK\x00ub.",
        b"cscipy.sparse.csc\ncsc_matrix\n)\x81}(U\x04datah\x01U\x07indicesh\x01U\x06indptrh\x01U\x06_shapeK\x02K\x02\x86ub.",
        b"ccollections\nOrderedDict\nh\x01\x85R.",
        b"cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nU\x02f8\x85Rh\x01\x86R.", b"c_codecs\nencode\nh\x01\x85R.", b"}h\x01Ns.",
        b"cpathlib\nPosixPath\nh\x01\x85R.", b"c__builtin__\nset\nh\x01\x85R.", b"h\x01Q.", b"U\x01ah\x01\x93.",
        b"cnumpy.core.numeric\n_frombuffer\n(h\x01cnumpy\ndtype\nU\x02f8\x85Rh\x01tR.", b"h\x01.", b"}K\x00h\x01s.",
    ],
)  # fmt: skip
def test_lists_that_unfold_to_everything_are_never_unfolded(user, refusal):
    line, count = refusal(NESTED + user)
    assert len(line) < 200 and count < 12 * len(NESTED + user) + 500


@pytest.mark.parametrize(
    ("shape", "dtype", "data"),
    [
        ((2**40,), "f8", b""), ((2**31, 2**31), "f8", b"0" * 8), ((-1,), "f8", b""), ((3,), "f8", b"0" * 16), ((1.5,), "f8", b"0" * 8),
        ((1,), "O8", b"0" * 8), ((1,), "V8", b"0" * 8), ((1,), "M8", b"0" * 8), ((0, 2**40), "f8", b""), ((2**40,), "S0", b""),
        ((1,), "f8,f8", b"0" * 16), ((1,), "f7", b"0" * 7), ((1,), "U999999999", b""), ("ab", "f8", b"0" * 8), ((True,), "f8", b"0" * 8),
    ],
)  # fmt: skip
def test_an_array_that_claims_what_it_has_not_is_refused(shape, dtype, data):
    assert pickles.load(array_with((1,), "f8", struct.pack("<d", 3.0))).tolist() == [3.0]  # the same words, with true claims
    with pytest.raises(MotionFormatError, match="array"):
        pickles.load(array_with(shape, dtype, data))


@pytest.mark.parametrize(
    "change", [{"indices": np.array([9, 0])}, {"indices": np.array([-1, 0])}, {"indptr": np.array([0, 2, 1])}, {"_shape": (2**40, 2)}]
)
def test_a_sparse_matrix_whose_indices_point_outside_is_refused(change):
    matrix = scipy.sparse.csc_matrix(np.eye(2))
    for name, value in change.items():
        object.__setattr__(matrix, name, value)
    with pytest.raises(MotionFormatError, match="sparse"):
        pickles.load(pickle.dumps(matrix))


def test_one_array_repeated_many_times_takes_its_memory_once():
    data = b"\x80\x02B" + struct.pack("<I", 2**20) + bytes(2**20) + b"q\x01("
    array = b"cnumpy.core.numeric\n_frombuffer\n(h\x01cnumpy\ndtype\nU\x02f8\x85RJ" + struct.pack("<i", 2**17) + b"tR"
    once = pickles.load(data + array + b"2" * 1000 + b"t.")
    assert len(once) == 1001 and all(item is once[0] for item in once) and once[0].nbytes == 2**20
    with pytest.raises(MotionFormatError, match="unfolds to far more than the file holds"):
        pickles.load(data + array * 1000 + b"t.")


def test_what_unpacks_to_too_much_is_refused():
    with pytest.raises(MotionFormatError, match="unpacks to more than 1 MiB"):
        pickles.load(gzip.compress(bytes(2**22)), limit=2**20)


def test_the_file_is_named(tmp_path):
    with pytest.raises(MotionFormatError, match=r"none\.pkl: no such file"):
        pickles.load(tmp_path / "none.pkl")
    (tmp_path / "a.pkl").write_bytes(b"HIERARCHY\nROOT Hips\n")
    with pytest.raises(MotionFormatError, match=r"a\.pkl: is not a pickle"):
        pickles.load(tmp_path / "a.pkl")


def test_what_is_saved_python_reads(tmp_path):
    content = {"v": np.eye(3), "J": scipy.sparse.csc_matrix(np.eye(2)), "name": "x"}
    pickles.save(content, tmp_path / "x.pkl")
    read = pickle.loads((tmp_path / "x.pkl").read_bytes())
    assert np.array_equal(read["v"], np.eye(3)) and read["name"] == "x" and os.listdir(tmp_path) == ["x.pkl"]


def test_a_tuple_that_was_met_again_while_it_was_written_needs_a_mark_dropped():
    # what Python writes in protocol 0 for such a tuple: its items once more, then as many drops, the last of a mark
    assert pickles.load(b"(lp0\n(I1\nI2\ntp1\na(I1\nI2\n000g1\na.") == [(1, 2), (1, 2)]


def test_a_name_of_control_characters_is_told_on_one_line():
    with pytest.raises(MotionFormatError) as caught:
        pickles.load(b"\x80\x04\x8c\x04a\x1cb\n\x8c\x03\x85\xc2c\x93.".replace(b"\x85\xc2", b"\xc2\x85"))
    assert str(caught.value) == "pickle: holds a?b?.?c, which is not data; refused"
