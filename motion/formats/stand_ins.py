"""What the names in a pickle mean: NumPy arrays, SciPy's sparse matrices, torch tensors, chumpy arrays, and nothing else.

Nothing is imported by a pickle's name. A name is looked up in the tables below; what it stands for is built here, from plain
values that have been checked, as NumPy arrays (sparse matrices as SciPy's).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

# bytes that arrays may take in all beyond what stands in the file: a reference repeated a thousand times is one array, not a thousand
SPARE = 64 * 2**20


class Refused(ValueError):
    """What is wrong with a pickle; the reader adds the file's name."""


class Budget:
    """How much memory a pickle's values may still take, bytes."""

    def __init__(self, size: int) -> None:
        self.left = 3 * size + SPARE

    def spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise Refused("unfolds to far more than the file holds; refused")


class StandIn:
    """An object of the pickle before it is a value: `name` says what it claims to be; `build` gives it its state, once."""

    def __init__(self, name: str, budget: Budget) -> None:
        self.name, self.budget = name, budget
        self.value: Any = None

    def build(self, state: Any) -> None:
        if self.value is not None:
            raise Refused(f"gives a {self.name} its state twice; refused")
        self.value = _BUILD[self.name](value_of(state), self.budget)


def value_of(item: Any) -> Any:
    """The finished value of a stand-in; anything else is its own."""
    if isinstance(item, StandIn):
        if item.value is None:
            raise Refused(f"uses a {item.name} that it never finished; is the file damaged?")
        return item.value
    return item


# ------------------------------------------------------------------------------------------------------------------------- names

_RENAMED = (
    ("numpy.core.", "numpy._core."), ("numpy.matrixlib.defmatrix", "numpy"), ("__builtin__", "builtins"), ("copy_reg", "copyreg"),
    ("scipy.sparse.csc", "scipy.sparse._csc"), ("scipy.sparse.csr", "scipy.sparse._csr"), ("chumpy.ch.reordering", "chumpy.reordering"),
)  # fmt: skip
_SPARSE = ("scipy.sparse._csc.csc_matrix", "scipy.sparse._csr.csr_matrix", "scipy.sparse._csc.csc_array", "scipy.sparse._csr.csr_array")
_CHUMPY = ("Ch", "Select", "Reshape", "transpose", "Concatenate")
_STORAGES = {
    f"torch.{name}Storage": np.dtype(dtype)
    for name, dtype in (("Double", "f8"), ("Float", "f4"), ("Half", "f2"), ("Long", "i8"), ("Int", "i4"), ("Short", "i2"), ("Char", "i1"),
                        ("Byte", "u1"), ("Bool", "?"))
}  # fmt: skip


def canonical(module: str, name: str) -> str:
    """Today's name of what a pickle calls `module.name`, if it is known to be data.

    Raises:
        Refused: it is not; nothing was looked up.
    """
    for old, new in _RENAMED:
        if module.startswith(old):
            module = new + module[len(old) :]
    full = f"{module}.{name}"
    if full in _CALLS or full in _BUILD or full in _STORAGES or full in _WORDS:
        return full
    raise Refused(f"holds {_printable(full)}, which is not data; refused")


def call(name: str, arguments: tuple[Any, ...], budget: Budget) -> Any:
    """What a pickle gets where it calls `name`: a plain value, or a stand-in that waits for its state."""
    function = _CALLS.get(name)
    if function is None:
        raise Refused(f"calls {name}, which is not data; refused")
    try:
        return function(budget, *arguments)
    except TypeError:  # too many arguments, or of other kinds
        raise Refused(f"holds a {name} that is made differently than expected; refused") from None


def new(name: str, budget: Budget) -> Any:
    """An object of the kind `name`, before its state."""
    budget.spend(200)
    if name in ("builtins.object", "builtins.dict", "collections.OrderedDict"):
        return {}
    if name not in _BUILD or name == "numpy.ndarray":
        raise Refused(f"makes a {name}, which is not data; refused")
    return StandIn(name, budget)


def _printable(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode().replace("\n", "\\n").replace("\r", "\\r")[:80]


class Word(str):
    """A name of the pickle that stands for itself: a class or a function, never looked up."""


# ------------------------------------------------------------------------------------------------------------------------- NumPy

JOBLIB_ARRAY = "joblib.numpy_pickle.NumpyArrayWrapper"  # its bytes follow in the file
_DTYPE = re.compile(r"[|<>=]?([biufcSU])(\d{1,9})$|[|]?(O)8?$")


def dtype_of(item: Any) -> np.dtype[Any]:
    """A dtype of numbers, text, or objects (whose arrays are lists in the file)."""
    value = value_of(item)
    if not isinstance(value, np.dtype):
        raise Refused("holds an array whose kind of numbers is not said; refused")
    return value


def _make_dtype(budget: Budget, text: Any, align: Any = False, copy: Any = True) -> StandIn:
    text = text if not isinstance(text, bytes) else text.decode("latin-1")
    if not isinstance(text, str) or isinstance(text, Word) or not _DTYPE.match(text):
        raise Refused(f"holds an array of '{_printable(str(text))}', expected numbers or text")
    try:
        result = StandIn("numpy.dtype", budget)
        result.value = np.dtype(text)
    except (TypeError, ValueError, OverflowError):
        raise Refused(f"holds an array of '{_printable(text)}', expected numbers or text") from None
    if result.value.itemsize > 2**20:
        raise Refused(f"holds an array of '{_printable(text)}', expected numbers or text")
    # the byte order follows as the dtype's state
    result.build = lambda state: setattr(result, "value", _with_order(result.value, state))  # type: ignore[method-assign]
    return result


def _with_order(dtype: np.dtype[Any], state: Any) -> np.dtype[Any]:
    order = state[1] if isinstance(state, tuple) and len(state) >= 2 else None
    if order not in ("<", ">", "|", "=") or any(field is not None for field in state[2:5]):
        raise Refused("holds an array of records, expected plain numbers or text")
    return dtype if dtype.kind == "O" else dtype.newbyteorder(order)


def _shape(shape: Any) -> tuple[int, ...]:
    if isinstance(shape, int) and not isinstance(shape, bool):
        shape = (shape,)
    if not isinstance(shape, tuple | list) or len(shape) > 32 or any(type(n) is not int or n < 0 or n > 2**48 for n in shape):
        raise Refused("holds an array without a proper shape; is the file damaged?")
    return tuple(shape)


def array(dtype: np.dtype[Any], shape: Any, fortran: bool, data: Any, budget: Budget) -> np.ndarray:
    """An array of its own memory out of bytes (or, of objects, a list).

    Raises:
        Refused: the bytes are not as many as the shape asks for, or the pickle's memory is used up.
    """
    shape = _shape(shape)
    count = math.prod(shape)
    order: Any = "F" if fortran else "C"
    if dtype.kind == "O":
        if not isinstance(data, list) or len(data) != count or math.prod(max(1, n) for n in shape) > max(1, count):
            raise Refused(f"holds an array of shape {shape} with another number of values; is the file damaged?")
        budget.spend(16 * count)
        objects = np.empty(count, dtype=object)
        for index, item in enumerate(data):
            objects[index] = item
        return objects.reshape(shape, order=order)
    if isinstance(data, str):  # Python 2 wrote its bytes so
        try:
            budget.spend(len(data))
            data = data.encode("latin-1")
        except UnicodeEncodeError:
            raise Refused("holds an array whose bytes are text; is the file damaged?") from None
    if not isinstance(data, bytes | bytearray | memoryview) or len(data) != count * dtype.itemsize:
        found = len(data) if isinstance(data, bytes | bytearray | memoryview) else 0
        raise Refused(f"holds an array of shape {shape} of {dtype.itemsize} bytes each in {found} bytes; is the file damaged?")
    if dtype.itemsize == 0 or count == 0:
        if math.prod(max(1, n) for n in shape) > 2**20:
            raise Refused(f"holds an array of shape {shape}; refused")
        return np.zeros(shape, dtype)
    budget.spend(len(data))
    if dtype == np.bool_:
        return (np.frombuffer(data, np.uint8) != 0).reshape(shape, order=order)
    values = np.frombuffer(data, dtype).reshape(shape, order=order)
    return values.astype(dtype.newbyteorder("="), order="C", copy=True)


def _array_state(state: Any, budget: Budget) -> np.ndarray:
    if not isinstance(state, tuple) or len(state) not in (4, 5):
        raise Refused("holds an array without its numbers; is the file damaged?")
    shape, dtype, fortran, data = state[-4:]
    return array(dtype_of(dtype), shape, bool(fortran), data, budget)


def _scalar(budget: Budget, dtype: Any, data: Any = None) -> Any:
    values = array(dtype_of(dtype), (), False, data, budget)
    return values[()]


def _from_buffer(budget: Budget, data: Any, dtype: Any, shape: Any, order: Any = "C") -> np.ndarray:
    return array(dtype_of(dtype), shape, order == "F", data, budget)


def _empty_array(budget: Budget, kind: Any, shape: Any = (0,), dtype: Any = None) -> StandIn:
    return StandIn("numpy.ndarray", budget)


# ------------------------------------------------------------------------------------------------------------- SciPy, torch, chumpy


def _sparse(state: Any, budget: Budget) -> Any:
    """A compressed sparse matrix, its indices checked: SciPy's own compiled code trusts them."""
    import scipy.sparse

    state = _attributes(state)
    shape = _shape(state.get("_shape", state.get("shape")))
    data, indices, starts = (np.asarray(value_of(state.get(key)), order="C") for key in ("data", "indices", "indptr"))
    good = len(shape) == 2 and max(shape) < 2**31 and data.ndim == indices.ndim == starts.ndim == 1 and data.dtype.kind in "biufc"
    good = good and indices.dtype.kind in "iu" and starts.dtype.kind in "iu" and len(data) == len(indices)
    columns = next((n for n in (0, 1) if good and len(starts) == shape[1 - n] + 1), None)
    if not good or columns is None or starts[0] != 0 or starts[-1] != len(data) or (np.diff(starts.astype(np.int64)) < 0).any():
        raise Refused("holds a sparse matrix whose parts do not fit together; is the file damaged?")
    return data, indices, starts, shape, scipy.sparse


def _compressed(kind: str) -> Callable[[Any, Budget], Any]:
    def build(state: Any, budget: Budget) -> Any:
        data, indices, starts, shape, sparse = _sparse(state, budget)
        rows = 0 if kind == "csc" else 1
        if len(starts) != shape[1 - rows] + 1 or (len(indices) and not (indices.min() >= 0 and indices.max() < shape[rows])):
            raise Refused("holds a sparse matrix whose parts do not fit together; is the file damaged?")
        budget.spend(data.nbytes + indices.nbytes + starts.nbytes)
        return getattr(sparse, f"{kind}_matrix")((data, indices, starts), shape=shape)

    return build


def _attributes(state: Any) -> Mapping[str, Any]:
    if isinstance(state, tuple) and len(state) == 2:  # (attributes, slots)
        state = state[0]
    if not isinstance(state, dict):
        raise Refused("holds an object without its attributes; is the file damaged?")
    return state


def _chumpy(kind: str) -> Callable[[Any, Budget], np.ndarray]:
    """A chumpy array as it was: its value, without the graph that it was computed in."""

    def number(state: Mapping[str, Any], key: str) -> np.ndarray:
        result = np.asarray(value_of(state.get(key)))
        if result.dtype.kind not in "biuf":
            raise Refused(f"holds a chumpy {kind} without its array '{key}'; is the file damaged?")
        return result

    def build(state: Any, budget: Budget) -> np.ndarray:
        state = _attributes(state)
        if kind == "Concatenate":
            parts = [number(state, str(key)) for key in value_of(state.get("dterms")) or ()]
            budget.spend(sum(part.nbytes for part in parts))
            return np.concatenate(parts, axis=int(state.get("axis", 0)))
        source = number(state, "x" if kind == "Ch" else "a")
        if kind == "Ch":
            return source
        if kind == "transpose":
            return np.transpose(source, value_of(state.get("axes")))
        if kind == "Reshape":
            return source.reshape(value_of(state.get("newshape")))
        chosen = number(state, "idxs").astype(np.int64)
        budget.spend(8 * chosen.size)
        result = source.ravel()[chosen]
        shape = value_of(state.get("preferred_shape"))
        return result if shape is None else result.reshape(_shape(tuple(int(n) for n in shape)))

    def checked(state: Any, budget: Budget) -> np.ndarray:
        try:
            return build(state, budget)
        except (ValueError, IndexError, TypeError, OverflowError) as error:
            if isinstance(error, Refused):
                raise
            raise Refused(f"holds a chumpy {kind} whose parts do not fit together; is the file damaged?") from None

    return checked


def _tensor(budget: Budget, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> np.ndarray:
    """A torch tensor as an array; it may show each number of its storage at most once."""
    memory = value_of(storage)
    size, stride = _shape(size), _shape(stride)
    if not isinstance(memory, np.ndarray) or type(offset) is not int or offset < 0 or len(size) != len(stride):
        raise Refused("holds a torch tensor without its numbers; is the file damaged?")
    count = math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if count else 0
    if count > memory.size or (count and last >= memory.size) or math.prod(max(1, n) for n in size) > max(2**20, count):
        raise Refused(f"holds a torch tensor of shape {size} in {memory.size} numbers; is the file damaged?")
    budget.spend(count * memory.itemsize)
    steps = tuple(n * memory.itemsize for n in stride)
    return np.lib.stride_tricks.as_strided(memory[offset:] if count else memory[:0], size, steps).copy()


# ------------------------------------------------------------------------------------------------------------------------ tables


def _items(budget: Budget, kind: Callable[[Any], Any], values: Any) -> Any:
    if not isinstance(values, list | tuple | set | frozenset | bytes | bytearray | dict):
        raise TypeError
    budget.spend(64 * len(values))
    if kind in (set, frozenset):
        return kind(key(value) for value in values)
    return kind(values)


def _dictionary(budget: Budget, pairs: Any = ()) -> dict[Any, Any]:
    if not isinstance(pairs, list | tuple | dict):
        raise TypeError
    budget.spend(128 * len(pairs))
    rows = list(pairs.items()) if isinstance(pairs, dict) else pairs
    if any(not isinstance(row, list | tuple) or len(row) != 2 for row in rows):
        raise TypeError
    return {key(name): value for name, value in rows}


def key(value: Any) -> Any:
    """A key of a dictionary or a member of a set: a plain value, for which comparing takes no time."""
    value = value_of(value)
    if value is None or isinstance(value, str | bytes | bool | int | float | np.number):
        return value
    if isinstance(value, tuple) and len(value) <= 8 and all(v is None or isinstance(v, str | bytes | int | float) for v in value):
        return value
    raise Refused(f"uses a {type(value).__name__} as a name in a dictionary; expected text or numbers")


def _encode(budget: Budget, text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise TypeError
    budget.spend(len(text))
    return text.encode("latin-1")


def _path(budget: Budget, *parts: Any) -> str:
    if not all(type(part) is str for part in parts) or sum(map(len, parts)) > 4096:
        raise TypeError
    return "/".join(parts).replace("//", "/")


def _reconstructor(budget: Budget, kind: Any, base: Any, state: Any = None) -> Any:
    if not isinstance(kind, Word) or base != "builtins.object" or state is not None:
        raise TypeError
    return new(kind, budget)


_CALLS: dict[str, Callable[..., Any]] = {
    "numpy._core.multiarray._reconstruct": _empty_array,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy._core.numeric._frombuffer": _from_buffer,
    "numpy.dtype": _make_dtype,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_parameter": lambda budget, data, *_: value_of(data),
    "torch.Size": lambda budget, values: _items(budget, tuple, values),
    "collections.OrderedDict": _dictionary,
    "collections.defaultdict": lambda budget, factory=None, pairs=(): _dictionary(budget, pairs),
    "builtins.dict": _dictionary,
    "builtins.list": lambda budget, values=(): _items(budget, list, values),
    "builtins.tuple": lambda budget, values=(): _items(budget, tuple, values),
    "builtins.set": lambda budget, values=(): _items(budget, set, values),
    "builtins.frozenset": lambda budget, values=(): _items(budget, frozenset, values),
    "builtins.bytearray": lambda budget, values=b"": _items(budget, bytes, values) if isinstance(values, bytes) else b"",
    "builtins.complex": lambda budget, real, imaginary: complex(real, imaginary),
    "_codecs.encode": _encode,
    "builtins.bytes": lambda budget, text="", encoding="latin1": _encode(budget, text, encoding),
    "copyreg._reconstructor": _reconstructor,
    "pathlib.PosixPath": _path,
    "pathlib.WindowsPath": _path,
    "pathlib.PurePosixPath": _path,
}
_BUILD: dict[str, Callable[[Any, Budget], Any]] = {
    "numpy.ndarray": _array_state,
    JOBLIB_ARRAY: lambda state, budget: _attributes(state),
    **{name: _compressed(name.split(".")[-1][:3]) for name in _SPARSE},
    **{f"chumpy.{'ch' if kind == 'Ch' else 'reordering'}.{kind}": _chumpy(kind) for kind in _CHUMPY},
    "chumpy.Ch": _chumpy("Ch"),
}
# classes that are only ever named, as an argument
_WORDS = ("numpy.matrix", "builtins.object", "torch.storage._load_from_bytes", "builtins.int", "builtins.float", "builtins.str")


def storage(name: str, numbers: int, budget: Budget) -> StandIn:
    """Memory for `numbers` numbers of a torch storage, to be filled.

    Raises:
        Refused: an unknown kind of numbers, or more of them than the file can hold.
    """
    if name not in _STORAGES or type(numbers) is not int or numbers < 0:
        raise Refused("holds a torch tensor of an unknown kind; refused")
    budget.spend(numbers * _STORAGES[name].itemsize)
    result = StandIn(name, budget)
    result.value = np.zeros(numbers, _STORAGES[name])
    return result
