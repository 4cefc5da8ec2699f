"""Objects of a pickle before they are values: names that stay names, and objects that wait for their state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

# bytes that arrays may take in all beyond what stands in the file: a reference repeated a thousand times is one array, not a thousand
SPARE = 64 * 2**20
MAX_VALUES = 2**23  # Python's own numbers, texts, lists, ... each takes some 50 bytes; numbers in arrays do not count
MAX_PICKLES = 40  # inside of each other


class Refused(ValueError):
    """What is wrong with a pickle; the reader adds the file's name."""


class Budget:
    """What a pickle of `size` bytes may take, with all pickles inside of it: none is worth more work because it is met again.

    Attributes:
        left: memory for its values, bytes.
        steps: instructions. Each is a byte or more of the file.
        depth: how many pickles are inside of each other.
    """

    def __init__(self, size: int) -> None:
        self.left, self.steps, self.depth = 3 * size + SPARE, min(MAX_VALUES, 2 * size), 0

    def spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise Refused("unfolds to far more than the file holds; refused")


class StandIn:
    """An object of the pickle before it is a value.

    Attributes:
        name: what it claims to be.
        builder: makes the value of the state that the pickle gives it, once.
        value: None until then.
    """

    def __init__(self, name: str, budget: Budget, builder: Callable[[Any, Budget], Any]) -> None:
        self.name, self.budget, self.builder = name, budget, builder
        self.value: Any = None

    def build(self, state: Any) -> None:
        """Take the state.

        Raises:
            Refused: it has one already, or the state is not what such an object has.
        """
        if self.value is not None:
            raise Refused(f"gives a {self.name} its state twice; refused")
        self.value = self.builder(value_of(state), self.budget)


class Word(str):
    """A name of the pickle that stands for itself: a class or a function, never looked up."""


def value_of(item: Any) -> Any:
    """The finished value of a stand-in; anything else is its own."""
    if isinstance(item, StandIn):
        if item.value is None:
            raise Refused(f"uses a {item.name} that it never finished; is the file damaged?")
        return item.value
    return item


def key(value: Any) -> Any:
    """A key of a dictionary or a member of a set: a plain value, for which comparing takes no time.

    Nor may a file choose keys that all have the same hash, among which each is found only by comparing it with all: Python's hash
    of text is another in each process, of numbers of 64 bits only a few are the same, of longer numbers and of several in a tuple any.
    """
    value = value_of(value)
    if _is_text(value) or _is_number(value):
        return value
    if isinstance(value, tuple) and len(value) <= 8:
        others = [item for item in value if not _is_text(item)]
        if len(others) <= 1 and all(map(_is_number, others)):
            return value
    raise Refused(f"uses a {type(value).__name__} as a name in a dictionary; expected text or a number of 64 bits")


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str | bytes)


def _is_number(value: Any) -> bool:
    if isinstance(value, int):
        return -(2**63) <= value < 2**64
    return isinstance(value, float) or (isinstance(value, np.integer | np.floating) and value.itemsize <= 8)


def printable(text: str) -> str:
    """A pickle's text as an error shows it: one line of ASCII, not too long."""
    return "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in text[:80])
