"""Trained agents that ship with the package, by name: `load_agent("walk")`, `mprl evaluate walk`, `mprl play walk`.

Each is a folder in `trained/`, like any saved agent, with a card beside it that says what it reaches and where it comes from:

    trained/walk/
      config.json, weights.safetensors     the agent; of its networks only what acts, in half precision (`left_out` in config.json)
      card.json                            clip, normalised return, samples, wall time, machine, commit, command

`python -m mprl.scripts.ship RUN NAME` makes one of a run folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mprl.errors import CheckpointError, nearest, unknown_name
from mprl.files import read_json

TRAINED = Path(__file__).with_name("trained")
CARD = "card.json"
_AGENT = "config.json"


def names() -> list[str]:
    """Of all agents that ship."""
    return sorted(path.parent.name for path in TRAINED.glob(f"*/{_AGENT}"))


def located(folder: Path) -> Path:
    """The folder that a user means: one with an agent in it, or a shipped agent's by its name. A folder at hand goes first.

    Raises:
        CheckpointError: there is neither.
    """
    if (folder / _AGENT).is_file():
        return folder
    name = str(folder)
    if name in (known := names()):
        return TRAINED / name
    if not folder.exists():
        also = "" if len(folder.parts) > 1 else f", and no trained agent of that name{nearest(name, known)} (mprl list trained)"
        raise CheckpointError(f"{folder}: no such run folder{also}")
    return folder


def card(name: str) -> dict[str, Any]:
    """What a shipped agent reaches, and where it comes from.

    Raises:
        UnknownNameError: none of this name.
    """
    if name not in names():
        raise unknown_name("trained agent", name, names(), "mprl list trained")
    return read_json(TRAINED / name / CARD, "mprl-card", "the card of a trained agent")
