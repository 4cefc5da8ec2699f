"""The stack machine that a pickle is a program for, on plain values: it calls nothing and looks nothing up."""

from __future__ import annotations

import codecs
import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from mprl.motion.formats.pickle_names import JOBLIB_ARRAY, call, canonical, new
from mprl.motion.formats.pickled_arrays import array, checked_shape, dtype_of, storage
from mprl.motion.formats.stand_ins import MAX_PICKLES, MAX_VALUES, Budget, Refused, StandIn, Word, key
from mprl.motion.formats.stand_ins import value_of as value

MAX_ARGUMENTS = 64


class Machine:
    """Runs a pickle's instructions on plain values, without calling anything.

    Args:
        data: the pickle. start: where in it to begin.
        budget: what is left of memory and work; by default in proportion to the data.
        storages: memory of torch tensors by its key, for pickles inside of torch's own format.
    """

    def __init__(self, data: bytes, start: int = 0, budget: Budget | None = None, storages: dict[str, StandIn] | None = None) -> None:
        self.data, self.at, self.view = data, start, memoryview(data)
        self.budget = budget or Budget(len(data))
        self.storages = storages
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """The pickle's value, with stand-ins in it.

        Raises:
            Refused: anything is wrong with it.
        """
        data, steps, budget = self.data, _STEPS, self.budget
        if budget.depth >= MAX_PICKLES:
            raise Refused(f"holds pickles more than {MAX_PICKLES} deep; refused")
        budget.depth += 1
        try:
            while True:
                code = data[self.at]
                self.at += 1
                if code == 0x2E:  # STOP
                    budget.depth -= 1
                    return self.stack.pop()
                budget.steps -= 1
                if budget.steps < 0:
                    raise Refused(
                        f"holds more than {MAX_VALUES // 10**6} million values outside of arrays, or the same over and over; refused"
                    )
                steps[code](self)
        except Refused:
            raise
        except KeyError:
            raise Refused(f"is not a pickle, or damaged at byte {self.at - 1}") from None
        except (IndexError, struct.error):
            raise Refused(f"is not a pickle, or cut off at byte {min(self.at, len(data))}") from None
        except (ValueError, TypeError, OverflowError, AttributeError):
            raise Refused(f"is not a pickle, or damaged at byte {self.at}") from None

    def take(self, count: int) -> bytes:
        """The next bytes."""
        part = self.data[self.at : self.at + count]
        if len(part) != count:
            raise IndexError
        self.at += count
        return part

    def number(self, form: str) -> Any:
        """The next number, in `struct`'s notation."""
        (result,) = struct.unpack(form, self.take(struct.calcsize(form)))
        return result

    def line(self) -> bytes:
        """Up to the end of the line."""
        end = self.data.index(b"\n", self.at)
        part, self.at = self.data[self.at : end], end + 1
        return part

    def push(self, item: Any, size: int = 60) -> None:
        """Put a new object on the stack, which takes about so many bytes."""
        self.budget.spend(size)
        self.stack.append(item)

    def pop(self) -> Any:
        if self.marks and len(self.stack) <= self.marks[-1]:
            raise IndexError
        return self.stack.pop()

    def pop_mark(self) -> list[Any]:
        """What lies above the last mark."""
        start = self.marks.pop()
        above = self.stack[start:]
        del self.stack[start:]
        return above

    def name(self, module: str, name: str) -> None:
        self.push(Word(canonical(module, name)))

    def reduce(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, Word) or not isinstance(arguments, tuple):
            raise Refused(f"is not a pickle, or damaged at byte {self.at}")
        if len(arguments) > MAX_ARGUMENTS:
            raise Refused(f"calls {function} with {len(arguments)} arguments; refused")
        if function == "torch.storage._load_from_bytes" and len(arguments) == 1 and isinstance(arguments[0], bytes):
            return _torch_storage(arguments[0], self.budget)
        return call(function, arguments, self.budget)

    def persistent(self, reference: Any) -> StandIn:
        """torch's reference to the memory of a tensor."""
        if self.storages is None or not isinstance(reference, tuple) or not 5 <= len(reference) <= 8 or reference[0] != "storage":
            raise Refused("refers to something outside of the file; refused")
        _, kind, name, _, numbers, *part = reference
        if any(item is not None for item in part) or not isinstance(name, str) or not isinstance(kind, str):
            raise Refused("holds a part of a torch storage; save it as a NumPy array")
        if name not in self.storages:
            self.storages[name] = storage(kind, numbers, self.budget)
        return self.storages[name]

    def build(self) -> None:
        state, target = self.pop(), self.pop()
        if not isinstance(target, StandIn):
            if isinstance(target, dict) and isinstance(state, dict):  # attributes of an OrderedDict, of which it has none that count
                self.push(target)
                return
            raise Refused(f"gives a {type(target).__name__} a state, which is not data; refused")
        target.build(state)
        if target.name == JOBLIB_ARRAY:
            target.value = self._array_that_follows(target.value)
        self.push(target)

    def _array_that_follows(self, said: dict[str, Any]) -> Any:
        kind = dtype_of(said.get("dtype"))
        if kind.kind == "O":
            inner = Machine(self.data, self.at, self.budget, self.storages)
            result = value(inner.run())
            self.at = inner.at
            return result
        if said.get("numpy_array_alignment_bytes") is not None:
            self.take(self.take(1)[0])
        shape = checked_shape(said.get("shape"))
        start, size = self.at, kind.itemsize * math.prod(shape)
        self.at = start + size
        return array(kind, shape, said.get("order") == "F", self.view[start : start + size], self.budget)

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is list:
            target.extend(items)
        elif type(target) is set:
            target.update(map(key, items))
        else:
            raise Refused(f"is not a pickle, or damaged at byte {self.at}")

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise Refused(f"is not a pickle, or damaged at byte {self.at}")
        target.update(zip(map(key, items[::2]), items[1::2], strict=True))

    def make(self, kind: Any, arguments: Any) -> None:
        """A new object of a class: one with a state to come, or what calling the class gives."""
        if not isinstance(kind, Word):
            raise Refused(f"is not a pickle, or damaged at byte {self.at}")
        self.push(self.reduce(kind, arguments) if arguments else new(kind, self.budget))

    def inst(self) -> None:
        self.name(self.line().decode(), self.line().decode())
        kind = self.pop()
        self.make(kind, tuple(self.pop_mark()))

    def obj(self) -> None:
        kind, *arguments = self.pop_mark()
        self.make(kind, tuple(arguments))

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise TypeError
        self.name(module, name)

    def long(self, count: int) -> None:
        if not 0 <= count <= 64:
            raise Refused("holds an integer of more than 512 bits; refused")
        self.push(int.from_bytes(self.take(count), "little", signed=True))

    def integer(self) -> None:
        text = self.line()
        self.push({b"00": False, b"01": True}[text] if text in (b"00", b"01") else _integer(text))


def _integer(text: bytes) -> int:
    if len(text) > 160:
        raise Refused("holds an integer of more than 512 bits; refused")
    return int(text.rstrip(b"L"))


def _quoted(text: bytes) -> str:
    """A byte string of Python 2 as it stands in a text pickle: quotes and backslashes."""
    if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in (b"'", b'"'):
        raise ValueError("not a quoted string")
    return codecs.escape_decode(text[1:-1])[0].decode("latin-1")


def _torch_storage(data: bytes, budget: Budget) -> StandIn:
    """The memory of a tensor inside of a pickle: torch's older file, which is five pickles and then the numbers."""
    storages: dict[str, StandIn] = {}
    at, parts = 0, []
    for _ in range(5):  # magic number, version, about the system, the storage itself, the names of all storages
        machine = Machine(data, at, budget, storages)
        parts.append(machine.run())
        at = machine.at
    memory, names = parts[3], parts[4]
    if parts[0] != 0x1950A86A20F9469CFC6C or not isinstance(memory, StandIn) or not isinstance(memory.value, np.ndarray) or len(names) != 1:
        raise Refused("holds a torch tensor in an unknown form; save it as a NumPy array")
    raw = data[at + 8 :]
    if len(raw) != memory.value.nbytes:
        raise Refused("holds a torch tensor whose numbers are cut off")
    memory.value = np.frombuffer(raw, memory.value.dtype.newbyteorder("<"))
    return memory


def _text(form: str) -> Callable[[Machine], None]:
    return lambda m: m.push(m.take(m.number(form)).decode("utf-8", "surrogatepass"))


def _old_text(form: str) -> Callable[[Machine], None]:
    return lambda m: m.push(m.take(m.number(form)).decode("latin-1"))


def _bytes(form: str) -> Callable[[Machine], None]:
    return lambda m: m.push(m.take(m.number(form)))


def _constant(item: Any) -> Callable[[Machine], None]:
    return lambda m: m.stack.append(item)


def _number(form: str) -> Callable[[Machine], None]:
    read, size = struct.Struct(form).unpack_from, struct.calcsize(form)

    def step(m: Machine) -> None:
        m.stack.append(read(m.data, m.at)[0])
        m.at += size

    return step


def _tuple(count: int) -> Callable[[Machine], None]:
    return lambda m: m.push(tuple(m.pop() for _ in range(count))[::-1])


def _keep(where: Callable[[Machine], int]) -> Callable[[Machine], None]:
    def step(m: Machine) -> None:
        m.budget.spend(80)
        m.memo[where(m)] = m.stack[-1]

    return step


def _recall(where: Callable[[Machine], int]) -> Callable[[Machine], None]:
    return lambda m: m.stack.append(m.memo[where(m)])


def _new_object(m: Machine) -> None:
    arguments, kind = m.pop(), m.pop()
    m.make(kind, arguments)


def _call(m: Machine) -> None:
    arguments, function = m.pop(), m.pop()
    m.push(m.reduce(function, arguments))


def _drop(m: Machine) -> None:
    if m.marks and len(m.stack) == m.marks[-1]:
        m.marks.pop()  # protocol 0 has no other way to drop a mark
    else:
        m.stack.pop()


def _append(m: Machine) -> None:
    item = m.pop()
    m.extend([item])


def _set_item(m: Machine) -> None:
    item, name = m.pop(), m.pop()
    m.set_items([name, item])


def _dictionary(m: Machine) -> None:
    items = m.pop_mark()
    m.push({})
    m.set_items(items)


# The instructions of all protocols, 0 to 5 (the library's own `pickletools` documents each).
_BY_CODE: dict[str | int, Callable[[Machine], Any]] = {
    0x80: lambda m: m.take(1), 0x95: lambda m: m.take(8),  # version, frame
    "(": lambda m: m.marks.append(len(m.stack)), "0": _drop, "1": lambda m: m.pop_mark(),
    "2": lambda m: m.stack.append(m.stack[-1]),
    "N": _constant(None), 0x88: _constant(True), 0x89: _constant(False),
    "I": Machine.integer, "L": lambda m: m.push(_integer(m.line())), "J": _number("<i"), "K": _number("<B"), "M": _number("<H"),
    0x8A: lambda m: m.long(m.number("<B")), 0x8B: lambda m: m.long(m.number("<i")),
    "F": lambda m: m.push(float(m.line())), "G": _number(">d"),
    "S": lambda m: m.push(_quoted(m.line())), "T": _old_text("<i"), "U": _old_text("<B"),
    "V": lambda m: m.push(m.line().decode("raw-unicode-escape")), "X": _text("<I"), 0x8C: _text("<B"), 0x8D: _text("<Q"),
    "B": _bytes("<I"), "C": _bytes("<B"), 0x8E: _bytes("<Q"), 0x96: _bytes("<Q"), 0x98: lambda m: None,
    "]": lambda m: m.push([]), "}": lambda m: m.push({}), ")": _constant(()), 0x8F: lambda m: m.push(set(), 220),
    "l": lambda m: m.push(m.pop_mark()), "t": lambda m: m.push(tuple(m.pop_mark())), "d": _dictionary,
    0x85: _tuple(1), 0x86: _tuple(2), 0x87: _tuple(3), 0x91: lambda m: m.push(frozenset(map(key, m.pop_mark()))),
    "a": _append, "e": lambda m: m.extend(m.pop_mark()), 0x90: lambda m: m.extend(m.pop_mark()),
    "s": _set_item, "u": lambda m: m.set_items(m.pop_mark()),
    "p": _keep(lambda m: _integer(m.line())), "q": _keep(lambda m: m.number("<B")), "r": _keep(lambda m: m.number("<I")),
    0x94: _keep(lambda m: len(m.memo)),
    "g": _recall(lambda m: _integer(m.line())), "h": _recall(lambda m: m.number("<B")), "j": _recall(lambda m: m.number("<I")),
    "c": lambda m: m.name(m.line().decode(), m.line().decode()), 0x93: Machine.stack_global,
    "R": _call, "b": Machine.build, 0x81: _new_object, "i": Machine.inst, "o": Machine.obj,
    "P": lambda m: m.persistent(None), "Q": lambda m: m.push(m.persistent(m.pop())),
}  # fmt: skip
_STEPS = {ord(code) if isinstance(code, str) else code: step for code, step in _BY_CODE.items()}
