"""Arrays as pickles hold them: NumPy's, SciPy's compressed sparse matrices, torch's tensors, chumpy's, out of checked plain values."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mprl.motion.formats.stand_ins import Budget, Refused, StandIn, Word, printable, value_of

_DTYPE = re.compile(r"[|<>=]?([biufcSU])(\d{1,9})$|[|]?(O)8?$")
STORAGES = {
    f"torch.{name}Storage": np.dtype(dtype)
    for name, dtype in (("Double", "f8"), ("Float", "f4"), ("Half", "f2"), ("Long", "i8"), ("Int", "i4"), ("Short", "i2"), ("Char", "i1"),
                        ("Byte", "u1"), ("Bool", "?"))
}  # fmt: skip


def dtype_of(item: Any) -> np.dtype[Any]:
    """A dtype of numbers, text, or objects (whose arrays are lists in the file)."""
    value = value_of(item)
    if not isinstance(value, np.dtype):
        raise Refused("holds an array whose kind of numbers is not said; refused")
    return value


class Dtype(StandIn):
    """A dtype, whose byte order follows as its state."""

    def build(self, state: Any) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) >= 2 else None
        if order not in ("<", ">", "|", "=") or any(field is not None for field in state[2:5]):
            raise Refused("holds an array of records, expected plain numbers or text")
        self.value = self.value if self.value.kind == "O" else self.value.newbyteorder(order)


def make_dtype(budget: Budget, text: Any, align: Any = False, copy: Any = True) -> Dtype:
    """`numpy.dtype("f8")`, of numbers, text or objects."""
    text = text if not isinstance(text, bytes) else text.decode("latin-1")
    result = Dtype("numpy.dtype", budget, array_state)
    if isinstance(text, str) and not isinstance(text, Word) and _DTYPE.match(text):
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            result.value = np.dtype(text)
    if result.value is None or result.value.itemsize > 2**20:
        raise Refused(f"holds an array of '{printable(text) if isinstance(text, str) else '?'}', expected numbers or text")
    return result


def checked_shape(shape: Any) -> tuple[int, ...]:
    """An array's shape, of at most 32 dimensions."""
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
    shape = checked_shape(shape)
    count = math.prod(shape)
    order: Any = "F" if fortran else "C"
    if dtype.kind == "O":
        if not isinstance(data, list) or len(data) != count or math.prod(max(1, n) for n in shape) > max(1, count):
            raise Refused(f"holds an array of shape {str(shape)[:60]} with another number of values; is the file damaged?")
        budget.spend(16 * count)
        objects = np.empty(count, dtype=object)
        for index, item in enumerate(data):
            objects[index] = item
        return objects.reshape(shape)  # the list is in the order of the rows, whatever the memory was
    if isinstance(data, str):  # Python 2 wrote its bytes so
        try:
            budget.spend(len(data))
            data = data.encode("latin-1")
        except UnicodeEncodeError:
            raise Refused("holds an array whose bytes are text; is the file damaged?") from None
    if not isinstance(data, bytes | bytearray | memoryview) or len(data) != count * dtype.itemsize:
        found = len(data) if isinstance(data, bytes | bytearray | memoryview) else 0
        raise Refused(f"holds an array of shape {str(shape)[:60]} of {dtype.itemsize} bytes each in {found} bytes; is the file damaged?")
    if dtype.itemsize == 0 or count == 0:
        if math.prod(max(1, n) for n in shape) > 2**20:
            raise Refused(f"holds an array of shape {str(shape)[:60]}; refused")
        return np.zeros(shape, dtype)
    budget.spend(len(data))
    if dtype == np.bool_:
        return (np.frombuffer(data, np.uint8) != 0).reshape(shape, order=order)
    values = np.frombuffer(data, dtype).reshape(shape, order=order)
    return values.astype(dtype.newbyteorder("="), order="C", copy=True)


def array_state(state: Any, budget: Budget) -> np.ndarray:
    """The state of an `ndarray`: version, shape, dtype, whether in Fortran's order, bytes."""
    if not isinstance(state, tuple) or len(state) not in (4, 5):
        raise Refused("holds an array without its numbers; is the file damaged?")
    shape, dtype, fortran, data = state[-4:]
    return array(dtype_of(dtype), shape, bool(fortran), data, budget)


def scalar(budget: Budget, dtype: Any, data: Any = None) -> Any:
    """A NumPy number, of its dtype and bytes."""
    values = array(dtype_of(dtype), (), False, data, budget)
    return values[()]


def from_buffer(budget: Budget, data: Any, dtype: Any, shape: Any, order: Any = "C") -> np.ndarray:
    """An array of protocol 5."""
    return array(dtype_of(dtype), shape, order == "F", data, budget)


def empty_array(budget: Budget, kind: Any, shape: Any = (0,), dtype: Any = None) -> StandIn:
    """An `ndarray` whose state follows."""
    return StandIn("numpy.ndarray", budget, array_state)


# ------------------------------------------------------------------------------------------------------------- SciPy, torch, chumpy


def compressed(kind: str) -> Callable[[Any, Budget], Any]:
    """Builds csc or csr matrices, their indices checked: SciPy's own compiled code trusts them."""

    def build(state: Any, budget: Budget) -> Any:
        import scipy.sparse

        state = attributes(state)
        shape = checked_shape(state.get("_shape", state.get("shape")))
        parts = [value_of(state.get(key)) for key in ("data", "indices", "indptr")]
        if len(shape) == 2 and max(shape) < 2**31 and all(isinstance(part, np.ndarray) and part.ndim == 1 for part in parts):
            data, indices, starts = parts
            inner, outer = shape if kind == "csc" else shape[::-1]
            numbers = data.dtype.kind in "biufc" and indices.dtype.kind in "iu" and starts.dtype.kind in "iu"
            if numbers and len(starts) == outer + 1 and len(data) == len(indices) and starts[0] == 0 and starts[-1] == len(data):
                steps = np.diff(starts.astype(np.int64))
                if (steps >= 0).all() and (len(indices) == 0 or (indices.min() >= 0 and indices.max() < inner)):
                    budget.spend(data.nbytes + indices.nbytes + starts.nbytes)
                    return getattr(scipy.sparse, f"{kind}_matrix")((data, indices, starts), shape=shape)
        raise Refused("holds a sparse matrix whose parts do not fit together; is the file damaged?")

    return build


def attributes(state: Any) -> Mapping[str, Any]:
    """An object's attributes, of its state."""
    if isinstance(state, tuple) and len(state) == 2:  # (attributes, slots)
        state = state[0]
    if not isinstance(state, dict):
        raise Refused("holds an object without its attributes; is the file damaged?")
    return state


def chumpy(kind: str) -> Callable[[Any, Budget], np.ndarray]:
    """A chumpy array as it was: its value, without the graph that it was computed in."""

    def number(state: Mapping[str, Any], key: str) -> np.ndarray:
        result = value_of(state.get(key))
        if not isinstance(result, np.ndarray) or result.dtype.kind not in "biuf":
            raise Refused(f"holds a chumpy {kind} without its array '{key}'; is the file damaged?")
        return result

    def build(state: Any, budget: Budget) -> np.ndarray:
        state = attributes(state)
        if kind == "Concatenate":
            terms = value_of(state.get("dterms"))
            if not isinstance(terms, list | tuple):
                raise TypeError
            budget.spend(100 * len(terms))
            parts = [number(state, key) for key in terms if isinstance(key, str)]
            budget.spend(sum(part.nbytes for part in parts))
            return np.concatenate(parts, axis=int(state.get("axis", 0)))
        source = number(state, "x" if kind == "Ch" else "a")
        if kind == "Ch":
            return source
        if kind == "transpose":
            return np.transpose(source, value_of(state.get("axes")))
        budget.spend(source.nbytes)  # of one that is transposed, the following makes a copy
        if kind == "Reshape":
            return source.reshape(value_of(state.get("newshape")))
        indices = number(state, "idxs")
        budget.spend(8 * indices.size)
        chosen = indices.astype(np.int64)
        budget.spend(source.itemsize * chosen.size)
        result = source.ravel()[chosen]
        shape = value_of(state.get("preferred_shape"))
        return result if shape is None else result.reshape(checked_shape(tuple(int(n) for n in shape)))

    def checked(state: Any, budget: Budget) -> np.ndarray:
        try:
            return build(state, budget)
        except (ValueError, IndexError, TypeError, OverflowError) as error:
            if isinstance(error, Refused):
                raise
            raise Refused(f"holds a chumpy {kind} whose parts do not fit together; is the file damaged?") from None

    return checked


def tensor(budget: Budget, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> np.ndarray:
    """A torch tensor as an array; it may show each number of its storage at most once."""
    memory = value_of(storage)
    size, stride = checked_shape(size), checked_shape(stride)
    if not isinstance(memory, np.ndarray) or type(offset) is not int or offset < 0 or len(size) != len(stride):
        raise Refused("holds a torch tensor without its numbers; is the file damaged?")
    count = math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if count else 0
    if count > memory.size or (count and last >= memory.size) or math.prod(max(1, n) for n in size) > max(2**20, count):
        raise Refused(f"holds a torch tensor of shape {str(size)[:60]} in {memory.size} numbers; is the file damaged?")
    budget.spend(count * memory.itemsize)
    steps = tuple(n * memory.itemsize for n in stride)
    return np.lib.stride_tricks.as_strided(memory[offset:] if count else memory[:0], size, steps).copy()


def storage(name: str, numbers: int, budget: Budget) -> StandIn:
    """Memory for `numbers` numbers of a torch storage, to be filled.

    Raises:
        Refused: an unknown kind of numbers, or more of them than the file can hold.
    """
    if name not in STORAGES or type(numbers) is not int or numbers < 0:
        raise Refused("holds a torch tensor of an unknown kind; refused")
    budget.spend(numbers * STORAGES[name].itemsize)
    result = StandIn(name, budget, array_state)
    result.value = np.zeros(numbers, STORAGES[name])
    return result
