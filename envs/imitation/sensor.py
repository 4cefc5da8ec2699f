"""What a character could sense of itself and of the ground: what every sensor offers, and how settings name them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from mprl.envs.imitation.ground import Ground
from mprl.errors import SettingError, unknown_name
from mprl.motion.characters.character import Character
from mprl.simulation.interface import Simulation


@dataclass(frozen=True)
class Worlds:
    """What sensors look at.

    Attributes:
        simulation, character: the bodies. ground: below them. control_step: s between two readings.
    """

    simulation: Simulation
    character: Character
    ground: Ground
    control_step: float


class Sensor(Protocol):
    """One sensor, or several alike, in every world. No call waits for the device.

    Attributes:
        shape: of one world's reading. Settings: a frozen dataclass, which the constructor takes with a `Worlds`.
    """

    Settings: ClassVar[type[Any]]
    shape: tuple[int, ...]

    def reset(self, mask: Tensor, random: torch.Generator) -> None:
        """The masked worlds have begun an episode; random numbers are drawn for all worlds, so that none depends on another."""
        ...

    def advance(self, random: torch.Generator) -> None:
        """All worlds have made a control step."""
        ...

    def read(self, worlds: slice | Tensor) -> Tensor:
        """The readings of all worlds, or of those at some indices, (W, *shape) float32: a new tensor, the same at every call."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Tensors that coming readings depend on; written to in place to continue from another state."""
        ...


def body_ids(names: Sequence[str], character: Character) -> list[int]:
    """MuJoCo's numbers of the bodies of these names.

    Raises:
        UnknownNameError: the character has no such body. SettingError: no names.
    """
    names = (names,) if isinstance(names, str) else names
    if not isinstance(names, Sequence) or not names:
        raise SettingError(f"bodies: expected at least one name, found {names or 'none'}")
    for name in names:
        if name not in character.body_names:
            raise unknown_name("body", str(name), character.body_names, f"the {character.name} has {', '.join(character.body_names)}")
    return [character.body_names.index(name) + 1 for name in names]


def choice(what: str, value: Any, known: Sequence[str]) -> None:
    """Raise an `UnknownNameError` unless the value is one of those known."""
    if value not in known:
        raise unknown_name(what, str(value), known, f"known: {', '.join(known)}")


def non_negative(sensor: str, settings: Any, names: Iterable[str]) -> None:
    """Raise a `SettingError` unless these settings are finite numbers of at least 0."""
    for name in names:
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise SettingError(f"{sensor}: {name} must be a number of at least 0, found {value!r}")


def finite(sensor: str, settings: Any, names: Iterable[str]) -> None:
    """Raise a `SettingError` unless these settings are finite numbers."""
    for name in names:
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise SettingError(f"{sensor}: {name} must be a finite number, found {value!r}")


def made(sensor: str, kind: type[Any], values: Any) -> Any:
    """The settings of a sensor from a dictionary of them, None or True for the defaults, or as they are.

    Raises:
        SettingError, UnknownNameError: what is none of these, or a setting that it does not have.
    """
    if isinstance(values, kind):
        return values
    if values is None or values is True:
        return kind()
    known = [field.name for field in dataclasses.fields(kind)]
    if not isinstance(values, dict):
        raise SettingError(f"sensors: {sensor}: expected a dictionary of settings ({', '.join(known)}), found {str(values)[:60]!r}")
    for name in values:
        if name not in known:
            raise unknown_name(f"setting of {sensor}", str(name), known, f"known: {', '.join(known)}")
    return kind(**values)
