"""What the names in a pickle mean. Nothing is imported by a pickle's name: it is looked up here, or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mprl.motion.formats import pickled_arrays as arrays
from mprl.motion.formats.stand_ins import Budget, Refused, StandIn, Word, key, printable, value_of

JOBLIB_ARRAY = "joblib.numpy_pickle.NumpyArrayWrapper"  # its bytes follow in the file
_RENAMED = (
    ("numpy.core.", "numpy._core."), ("numpy.matrixlib.defmatrix", "numpy"), ("__builtin__", "builtins"), ("copy_reg", "copyreg"),
    ("scipy.sparse.csc", "scipy.sparse._csc"), ("scipy.sparse.csr", "scipy.sparse._csr"), ("chumpy.ch.reordering", "chumpy.reordering"),
)  # fmt: skip
_SPARSE = ("scipy.sparse._csc.csc_matrix", "scipy.sparse._csr.csr_matrix", "scipy.sparse._csc.csc_array", "scipy.sparse._csr.csr_array")
_CHUMPY = ("Ch", "Select", "Reshape", "transpose", "Concatenate")


def canonical(module: str, name: str) -> str:
    """Today's name of what a pickle calls `module.name`, if it is known to be data.

    Raises:
        Refused: it is not; nothing was looked up.
    """
    for old, new in _RENAMED:
        if module.startswith(old):
            module = new + module[len(old) :]
    full = f"{module}.{name}"
    if full in _CALLS or full in _BUILD or full in arrays.STORAGES or full in _WORDS:
        return full
    raise Refused(f"holds {printable(full)}, which is not data; refused")


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
    return StandIn(name, budget, _BUILD[name])


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
    "numpy._core.multiarray._reconstruct": arrays.empty_array,
    "numpy._core.multiarray.scalar": arrays.scalar,
    "numpy._core.numeric._frombuffer": arrays.from_buffer,
    "numpy.dtype": arrays.make_dtype,
    "torch._utils._rebuild_tensor_v2": arrays.tensor,
    "torch._utils._rebuild_tensor": arrays.tensor,
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
    "numpy.ndarray": arrays.array_state,
    JOBLIB_ARRAY: lambda state, budget: arrays.attributes(state),
    **{name: arrays.compressed(name.split(".")[-1][:3]) for name in _SPARSE},
    **{f"chumpy.{'ch' if kind == 'Ch' else 'reordering'}.{kind}": arrays.chumpy(kind) for kind in _CHUMPY},
    "chumpy.Ch": arrays.chumpy("Ch"),
}
# classes that are only ever named, as an argument
_WORDS = ("numpy.matrix", "builtins.object", "torch.storage._load_from_bytes", "builtins.int", "builtins.float", "builtins.str")
