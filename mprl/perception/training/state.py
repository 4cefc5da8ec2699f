"""All that a training run goes on from, in one safetensors file: tensors, and JSON in its header. Replaced whole, so never half of one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mprl.errors import CheckpointError
from mprl.files import read_metadata, read_tensors, tensor_chunks, write_atomically
from mprl.perception.training.averages import load_weights
from mprl.perception.training.logs import Row

FILE, FORMAT, VERSION = "training.safetensors", "mprl-perception-training", 1


@dataclass
class Progress:
    """How far a run has come."""

    epoch: int = 0
    """Epochs done,"""
    batch: int = 0
    """batches of the next one done,"""
    updates: int = 0
    """steps of the optimiser done."""
    seconds: float = 0.0
    """Spent so far."""
    sums: dict[str, float] = field(default_factory=dict)
    """Of this epoch's metrics so far."""
    history: list[Row] = field(default_factory=list)
    """A row of metrics for each epoch."""
    best: float = float("inf")
    """The lowest of the monitored metric,"""
    best_epoch: int = -1
    """and in which epoch that was."""


def write(
    folder: Path,
    settings: dict[str, Any],
    progress: Progress,
    modules: dict[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    others: dict[str, Tensor],
) -> None:
    """Write it.

    Args:
        folder: made if missing.
        settings: plain values.
        progress: how far it is.
        modules: whose weights are kept, by name.
        optimizer: whose moments are kept.
        others: further tensors, by names with a dot.

    Raises:
        CheckpointError: the file cannot be written.
    """
    tensors = {f"{name}.{key}": value for name, module in modules.items() for key, value in module.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
    tensors |= others
    content = {"format": FORMAT, "version": VERSION, "settings": settings, "progress": vars(progress)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / FILE, tensor_chunks(tensors, {"state": json.dumps(content)}))
    except OSError as error:
        raise CheckpointError(f"{error.filename or folder}: cannot be written: {error.strerror or error}") from None


def read(folder: Path) -> tuple[dict[str, Any], Progress, dict[str, Tensor]]:
    """Settings, progress and tensors of a run.

    Raises:
        CheckpointError: there is none, or it is broken.
    """
    path = folder / FILE
    if not path.is_file():
        raise CheckpointError(f"{folder}: holds no training to go on from ({FILE} is missing); begin it anew")
    try:
        content = json.loads(read_metadata(path)["state"])
        if content["format"] != FORMAT or content["version"] != VERSION:
            raise ValueError
        return content["settings"], Progress(**content["progress"]), read_tensors(path)
    except CheckpointError:
        raise
    except (LookupError, TypeError, ValueError):
        raise CheckpointError(f"{path}: is not the training of a perception model of this version of mprl") from None


def restore(tensors: dict[str, Tensor], modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer, where: Path) -> None:
    """Put modules and optimiser where `write` found the others.

    Raises:
        CheckpointError: they are of another architecture.
    """
    for name, module in modules.items():
        load_weights(module, _below(f"{name}.", tensors), str(where / FILE))
    content = optimizer.state_dict()
    content["state"] = {}
    for name, value in _below("optimizer.", tensors).items():
        index, _, key = name.partition(".")
        content["state"].setdefault(int(index), {})[key] = value
    try:
        optimizer.load_state_dict(content)
    except (LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"{where / FILE}: the optimiser's state does not fit: {' '.join(str(error).split())[:120]}") from None


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def prefixed(prefix: str, named: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors under names with a prefix."""
    return {f"{prefix}.{name}": value for name, value in named}
