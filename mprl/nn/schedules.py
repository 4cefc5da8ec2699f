"""What changes while learning goes on: step sizes, exploration, entropy bonuses, as plain functions of the environment steps.

A setting that may change has the type `Scheduled`: a number, or a text such as "linear 1e-3 0 100000": kind, first value, last value,
environment steps until the last one, which is kept from then on.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

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


def value(setting: Scheduled, steps: float) -> float:
    """What a setting is after so many environment steps.

    Raises:
        SettingError: the setting is a text that is no schedule.
    """
    if not isinstance(setting, str):
        return setting
    kind, first, last, duration = parse(setting)
    if steps >= duration:
        return last
    return KINDS[kind](first, last, max(steps, 0.0) / duration)


@functools.lru_cache(maxsize=256)
def parse(text: str) -> tuple[str, float, float, float]:
    """Kind, first value, last value and steps of a schedule; of a number alone, a schedule that stays there.

    Raises:
        SettingError: none of both.
    """
    kind, *words = text.split() or [""]
    try:
        numbers = [float(word) for word in (words if words else [kind])]
    except ValueError:
        raise _error(text, kind) from None
    if not all(math.isfinite(number) for number in numbers):
        raise SettingError(f"a schedule's numbers must be finite, found '{text}'")
    if not words:
        return "constant", numbers[0], numbers[0], 0.0
    if kind not in KINDS or len(numbers) != 3:
        raise _error(text, kind)
    first, last, steps = numbers
    if not steps > 0:
        raise SettingError(f"a schedule needs a positive number of steps, found '{text}'")
    if kind == "exponential" and not (first > 0 and last > 0):
        raise SettingError(f"an exponential schedule needs positive values, found '{text}'; linear and cosine ones may reach 0")
    return kind, first, last, steps


def bounds(setting: Scheduled) -> tuple[float, float]:
    """The least and the greatest value that a setting ever has.

    Raises:
        SettingError: the setting is a text that is no schedule.
    """
    if not isinstance(setting, str):
        return setting, setting
    _, first, last, _ = parse(setting)
    return min(first, last), max(first, last)


def _error(text: str, kind: str) -> SettingError:
    hint = nearest(kind, KINDS) if kind not in KINDS else ""
    return SettingError(
        f"expected a number or a schedule such as 'linear 1e-3 0 100000' ({', '.join(KINDS)}; from, to, environment steps), "
        f"found '{text}'{hint}"
    )
