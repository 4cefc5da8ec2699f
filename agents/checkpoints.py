"""A trained agent on disk: a folder with `config.json` and `weights.safetensors`. Nothing in it can execute code."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from mprl.errors import CheckpointError

VERSION = 1
CONFIG, WEIGHTS = "config.json", "weights.safetensors"
_KEYS = {
    "agent": str,
    "env_id": str,
    "env_kwargs": dict,
    "settings": dict,
    "seed": int,
    "num_timesteps": int,
    "observation_space": dict,
    "action_space": dict,
}
_KINDS = {str: "a text", dict: "an object", int: "a whole number"}


def write(folder: Path, config: dict[str, Any], weights: dict[str, Tensor]) -> Path:
    """Write an agent; each file is replaced whole, the weights first.

    Raises:
        CheckpointError: the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        blob = safetensors.torch.save({key: value.detach().cpu().contiguous() for key, value in weights.items()})
        write_atomically(folder / WEIGHTS, blob)
        write_atomically(folder / CONFIG, json.dumps(config, indent=2).encode())
    except OSError as error:
        raise CheckpointError(f"{error.filename or folder}: cannot be written: {error.strerror or error}") from None
    return folder


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a kill at any moment leaves the old one or the new one."""
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        error.filename = os.fspath(path)  # not the temporary file's name, which says nothing to anybody
        raise


def read_config(folder: Path) -> dict[str, Any]:
    """The settings of a saved agent.

    Raises:
        CheckpointError: no such folder, no agent in it, or a broken one.
    """
    if not folder.exists():
        raise CheckpointError(f"{folder}: no such run folder")
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: expected a run folder, found a file")
    path = folder / CONFIG
    if not path.is_file():
        raise CheckpointError(f"{folder}: holds no agent ({CONFIG} is missing); was the run stopped before its first checkpoint?")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        what = " ".join(str(error).split())[:120]
        raise CheckpointError(f"{path}: expected JSON, cannot be read: {what}; is the file cut off?") from None
    if not isinstance(config, dict) or config.get("format") != "mprl-agent":
        raise CheckpointError(f'{path}: expected "format": "mprl-agent"; this is not an agent of mprl')
    if config.get("version") != VERSION:
        raise CheckpointError(f"{path}: expected format version {VERSION}, found {config.get('version')!r}; update mprl")
    for key, kind in _KEYS.items():
        if key not in config:
            raise CheckpointError(f'{path}: the key "{key}" is missing')
        if not isinstance(config[key], kind):
            raise CheckpointError(f'{path}: "{key}" must be {_KINDS[kind]}, found {str(config[key])[:60]}')
    return config


def read(folder: Path, device: torch.device | str = "cpu") -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Settings and weights of a saved agent; see `read_config` for the errors."""
    config = read_config(folder)
    path = folder / WEIGHTS
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; the run folder is incomplete")
    try:
        weights = safetensors.torch.load_file(path, device=str(device))
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read: {' '.join(str(error).split())[:120]}; is the file cut off?") from None
    return config, weights
