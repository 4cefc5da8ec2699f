"""What a user did wrong, in one line.

Every mistake that a user can make raises a `MprlError` whose text says what was wrong, where, and what to do. The command line
prints that line and exits with code 2; any other exception is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import difflib
import operator
from collections.abc import Iterable, Mapping
from typing import Any


class MprlError(Exception):
    """A user's mistake. The text is one line: where, what was expected, what was found, what to do."""


class MotionFormatError(MprlError, ValueError):
    """A motion file cannot be read: names the file and the place."""


class CheckpointError(MprlError, ValueError):
    """A run folder or checkpoint is missing, broken, or belongs to something else."""


class DatasetError(MprlError, ValueError):
    """A dataset's folder is missing, broken, or holds something else than asked for."""


class SettingError(MprlError, ValueError):
    """A setting or argument has a value that cannot work."""


class PerceptionError(MprlError, ValueError):
    """A perception model and what it is to read do not fit together."""


class DivergenceError(MprlError, ArithmeticError):
    """Learning broke down: what was learned is not a number."""


class ActionError(MprlError, ValueError):
    """An action of the wrong shape, or one that is not finite."""


class UnknownNameError(MprlError, KeyError):
    """A name that is not known, with the nearest one that is."""

    def __str__(self) -> str:  # KeyError would print the repr
        return str(self.args[0])


class RenderingError(MprlError, RuntimeError):
    """No picture can be made on this machine: says what is missing."""


class DeviceError(MprlError, RuntimeError):
    """The asked-for device is not there."""


class DistributedError(MprlError, RuntimeError):
    """Processes that learn together cannot find each other, or have lost each other."""


class MissingPackageError(MprlError, ImportError):
    """A package that only this needs is not installed: says how to get it."""


def nearest(name: str, known: Iterable[str]) -> str:
    """'; did you mean 'walk'?' for the known name closest to `name`, or ''."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else ""


def unknown_name(kind: str, name: str, known: Iterable[str], where: str) -> UnknownNameError:
    """The error for an unknown name: `no motion named 'wlak'; did you mean 'walk'? (mprl list motions)`."""
    return UnknownNameError(f"no {kind} named '{name}'{nearest(name, known)} ({where})")


def number(name: str, value: Any, least: float | None = None, whole: bool = False) -> Any:
    """An argument as a float, or as an int where it must be a whole number.

    Raises:
        SettingError: it is no number, or not one of at least `least`.
    """
    try:
        if isinstance(value, str | bytes | bool):
            raise TypeError
        found = operator.index(value) if whole else float(value)
    except (TypeError, ValueError):
        raise SettingError(f"{name} must be a {'whole ' * whole}number, found {' '.join(repr(value).split())[:80]}") from None
    if least is not None and not found >= least:
        raise SettingError(f"{name} must be at least {least:g}, found {value}")
    return found


def named(argument: str, wanted: Any, known: Iterable[str], what: str, example: str) -> Mapping[Any, Any]:
    """What an argument that is True or a dictionary asks for, where it is a dictionary of known names.

    Args:
        argument: its name. wanted: its value.
        known: names that it may have. what: they are.
        example: of such a dictionary.

    Raises:
        SettingError, UnknownNameError: no dictionary, or a name that is not known.
    """
    if not isinstance(wanted, Mapping):
        raise SettingError(f"{argument}: expected True or a dictionary such as {example}, found {str(wanted)[:60]!r}")
    known = list(known)
    for name in wanted:
        if name not in known:
            raise unknown_name(what, str(name), known, f"known: {', '.join(known)}")
    return wanted
