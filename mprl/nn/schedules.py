"""What changes while learning goes on: step sizes, exploration, entropy bonuses, as plain functions of the steps.

A setting that may change has the type `Scheduled`: a number, or a text. Steps are environment steps of agents, and updates of
perception models. With an end:

    constant 1e-3 1e-4 5000      first value, last value, steps until the last one, which is kept from then on;
    linear 1e-3 0 100000         by equal differences; also "exponential" (equal ratios) and "cosine"

Without one:

    step 1e-3 0.1 5000           first value, factor by which it is multiplied each so many steps
    time 1e-3 0.01               first value, rate k: first / (1 + k steps)
    restarts 1e-3 1e-5 500 2     a cosine from the first value to the last in so many steps, again and again; each time, if so said, so
                                 many times as long (warm restarts: Loshchilov & Hutter 2017, arXiv 1608.03983)
    triangle 1e-3 1e-5 500       straight down to the last value and up again in so many steps, again and again (fast geometric ensembles:
                                 Garipov et al. 2018, arXiv 1802.10026)

One after the other: "linear 0 1e-3 500 then restarts 1e-3 1e-5 2000" warms up first; all but the last piece have an end.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

from mprl.errors import SettingError, nearest

Scheduled = float | str


def constant(first: float, last: float, share: float) -> float:
    """The first value until the end, which is a step to the last one."""
    return first


def linear(first: float, last: float, share: float) -> float:
    """By equal differences in equal numbers of steps; `share` of the way is done, in [0, 1]."""
    return (1 - share) * first + share * last


def exponential(first: float, last: float, share: float) -> float:
    """By equal ratios in equal numbers of steps; both values positive."""
    return math.exp((1 - share) * math.log(first) + share * math.log(last))


def cosine(first: float, last: float, share: float) -> float:
    """Half a cosine: level at both ends, steepest in the middle (Loshchilov & Hutter 2017, arXiv 1608.03983, without restarts)."""
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2


KINDS: dict[str, Callable[[float, float, float], float]] = {
    "constant": constant,
    "linear": linear,
    "exponential": exponential,
    "cosine": cosine,
}


ENDLESS: dict[str, tuple[int, ...]] = {"step": (3,), "time": (2,), "restarts": (3, 4), "triangle": (3,)}  # how many numbers each has


@dataclass(frozen=True)
class Piece:
    """One kind of schedule and its numbers."""

    kind: str
    numbers: tuple[float, ...]

    @property
    def duration(self) -> float:
        """Steps until its last value; infinite without an end."""
        return self.numbers[2] if self.kind in KINDS else math.inf

    def value(self, steps: float) -> float:
        """What it is after so many steps of its own."""
        first, last, *rest = self.numbers
        steps = max(steps, 0.0)
        match self.kind:
            case "step":
                return first * last ** (steps // rest[0])
            case "time":
                return first / (1 + last * steps)
            case "restarts" | "triangle":
                done, length = self.cycle(steps)
                share = done / length
                return cosine(first, last, share) if self.kind == "restarts" else linear(first, last, min(2 * share, 2 - 2 * share))
        return last if steps >= rest[0] else KINDS[self.kind](first, last, steps / rest[0])

    def cycle(self, steps: float) -> tuple[float, float]:
        """Steps since the cycle began that this is in, and how many it has; of a kind with cycles."""
        length, factor = (*self.numbers[2:], 1.0)[:2]
        if factor == 1:
            return steps % length, length
        while steps >= length:
            steps -= length
            length *= factor
        return steps, length

    def bounds(self) -> tuple[float, float]:
        """The least and the greatest value that it ever has, or comes arbitrarily close to."""
        first, last = self.numbers[:2]
        if self.kind in ("step", "time"):
            constant = last == (1.0 if self.kind == "step" else 0.0)
            return (first, first) if constant else (min(first, 0.0), max(first, 0.0))
        return min(first, last), max(first, last)


def rise_and_fall(highest: float, steps: float = 1.0, rise: float = 0.05) -> str:
    """A schedule from a twentieth of the highest value up to it for a share of all steps, then down to 0 along a cosine."""
    return f"linear {highest / 20} {highest} {rise * steps} then cosine {highest} 0 {(1 - rise) * steps}"


def value(setting: Scheduled, steps: float) -> float:
    """What a setting is after so many steps.

    Raises:
        SettingError: the setting is a text that is no schedule.
    """
    if not isinstance(setting, str):
        return setting
    piece, since = _at(setting, steps)
    return piece.value(since)


def is_lowest(setting: Scheduled, steps: int) -> bool:
    """Whether, of the values of one cycle, that after so many whole steps is the lowest: the one before a restart, or amid a triangle.

    Of a setting without cycles none is.

    Raises:
        SettingError: the setting is a text that is no schedule.
    """
    if not isinstance(setting, str):
        return False
    piece, since = _at(setting, steps)
    if piece.kind not in ("restarts", "triangle"):
        return False
    done, length = piece.cycle(since)
    return done + 1 >= length if piece.kind == "restarts" else done == length // 2


def has_cycles(setting: Scheduled) -> bool:
    """Whether a setting ends up going in cycles.

    Raises:
        SettingError: the setting is a text that is no schedule.
    """
    return isinstance(setting, str) and parse(setting)[-1].kind in ("restarts", "triangle")


def _at(text: str, steps: float) -> tuple[Piece, float]:
    """The piece of a schedule that steps fall into, and steps since it began."""
    *pieces, last = parse(text)
    for piece in pieces:
        if steps < piece.duration:
            return piece, steps
        steps -= piece.duration
    return last, steps


@functools.lru_cache(maxsize=256)
def parse(text: str) -> tuple[Piece, ...]:
    """The pieces of a schedule; of a number alone, one that stays there.

    Raises:
        SettingError: it is none.
    """
    pieces = tuple(_piece(part.strip(), text) for part in text.split(" then "))
    for piece in pieces[:-1]:
        if math.isinf(piece.duration):
            raise SettingError(f"a '{piece.kind}' schedule has no end, so that nothing can come after it, found '{text}'")
    return pieces


def _piece(part: str, text: str) -> Piece:
    kind, *words = part.split() or [""]
    try:
        numbers = tuple(float(word) for word in (words if words else [kind]))
    except ValueError:
        raise _error(text, kind) from None
    if not all(math.isfinite(number) for number in numbers):
        raise SettingError(f"a schedule's numbers must be finite, found '{text}'")
    if not words:
        return Piece("constant", (numbers[0], numbers[0], 0.0))
    if (kind in KINDS and len(numbers) != 3) or (kind not in KINDS and len(numbers) not in ENDLESS.get(kind, ())):
        raise _error(text, kind)
    if len(numbers) > 2 and not numbers[2] > 0:
        raise SettingError(f"a schedule needs a positive number of steps, found '{text}'")
    if kind == "exponential" and not (numbers[0] > 0 and numbers[1] > 0):
        raise SettingError(f"an exponential schedule needs positive values, found '{text}'; linear and cosine ones may reach 0")
    if kind == "step" and not 0 < numbers[1] <= 1:
        raise SettingError(f"a step schedule's factor must be in (0, 1], found '{text}'")
    if kind == "time" and not numbers[1] >= 0:
        raise SettingError(f"a time schedule's rate must be at least 0, found '{text}'")
    if len(numbers) == 4 and not numbers[3] >= 1:
        raise SettingError(f"a cycle must be at least as long as the one before, found '{text}'")
    return Piece(kind, numbers)


def bounds(setting: Scheduled) -> tuple[float, float]:
    """The least and the greatest value that a setting ever has.

    Raises:
        SettingError: the setting is a text that is no schedule.
    """
    if not isinstance(setting, str):
        return setting, setting
    found = [piece.bounds() for piece in parse(setting)]
    return min(low for low, _ in found), max(high for _, high in found)


def _error(text: str, kind: str) -> SettingError:
    known = (*KINDS, *ENDLESS)
    hint = nearest(kind, known) if kind not in known else ""
    return SettingError(
        f"expected a number or a schedule such as 'linear 1e-3 0 100000' ({', '.join(KINDS)}; from, to, environment steps; or "
        f"{', '.join(ENDLESS)}: see mprl.nn.schedules), found '{text}'{hint}"
    )
