"""An agent on disk: a folder with `config.json` and `weights.safetensors`. Nothing in it can execute code.

Where learning is to go on exactly, `training.safetensors` and `training.json` lie beside them. `training.json` comes last and holds
the SHA-256 of all others, so that files of different moments or runs are never taken for one checkpoint. Of a run of several processes
there is a `training.rank1.safetensors` too, and so on: the worlds of the processes after the first.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mprl.agents.shipped import located
from mprl.errors import CheckpointError
from mprl.files import VERSION, read_json, read_tensors, tensor_chunks, write_atomically

CONFIG, WEIGHTS = "config.json", "weights.safetensors"
TRAINING, STATE = "training.json", "training.safetensors"
Training = tuple[dict[str, Tensor], dict[str, Any]]  # tensors and numbers of `training_state`
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
_NUMBERS = {"num_timesteps": int, "num_envs": int, "device": str, "seconds": float, "torch_threads": int, "learning_rates": dict}
_KINDS = {float: "a number", str: "a text", dict: "an object", int: "a whole number"}


def of_rank(rank: int) -> str:
    """The file with the state of learning of one process of several."""
    return f"training.rank{rank}.safetensors" if rank else STATE


def write(
    folder: Path, config: dict[str, Any], weights: dict[str, Tensor], training: Training | None = None, others: Sequence[bytes] = ()
) -> Path:
    """Write an agent; each file is replaced whole, the weights before the settings, what names the others last.

    Args:
        others: the files of the ranks after 0, as bytes.

    Raises:
        CheckpointError: the folder cannot be made or written.
    """
    files: dict[str, Callable[[], Iterable[Any]]] = {
        WEIGHTS: lambda: tensor_chunks(weights),
        CONFIG: lambda: [json.dumps(config, indent=2).encode()],
    }
    if training is not None:
        tensors, numbers = training
        of_others = {of_rank(rank): functools.partial(lambda content: [content], content) for rank, content in enumerate(others, start=1)}
        files = {STATE: lambda: tensor_chunks(tensors), **of_others, **files}
        content = {
            "format": "mprl-training",
            "version": VERSION,
            "sha256": {name: _digest(file()) for name, file in files.items()},
            **numbers,
        }
        files[TRAINING] = lambda: [json.dumps(content, indent=2).encode()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (TRAINING, STATE, *(path.name for path in folder.glob("training.rank*.safetensors"))):  # of an earlier moment
            (folder / name).unlink(missing_ok=True)
        for name, file in files.items():
            write_atomically(folder / name, file())
    except OSError as error:
        raise CheckpointError(f"{error.filename or folder}: cannot be written: {error.strerror or error}") from None
    return folder


def _digest(chunks: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def read_config(folder: Path) -> dict[str, Any]:
    """The settings of a saved agent, or of a shipped one by its name.

    Raises:
        CheckpointError: no such folder, no agent in it, or a broken one.
    """
    folder = located(folder)
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: expected a run folder, found a file")
    path = folder / CONFIG
    if not path.is_file():
        raise CheckpointError(f"{folder}: holds no agent ({CONFIG} is missing); was the run stopped before its first checkpoint?")
    config = read_json(path, "mprl-agent", "an agent of mprl")
    for key, kind in _KEYS.items():
        if key not in config:
            raise CheckpointError(f'{path}: the key "{key}" is missing')
        if not isinstance(config[key], kind):
            raise CheckpointError(f'{path}: "{key}" must be {_KINDS[kind]}, found {str(config[key])[:60]}')
    return config


def read(folder: Path, device: torch.device | str = "cpu") -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Settings and weights of a saved agent; see `read_config` for the errors."""
    folder = located(folder)
    config = read_config(folder)
    if not (folder / WEIGHTS).is_file():
        raise CheckpointError(f"{folder / WEIGHTS}: no such file; the run folder is incomplete")
    return config, read_tensors(folder / WEIGHTS, device)


def read_training(folder: Path, rank: int = 0) -> Training | None:
    """Tensors, on the CPU, and numbers that learning goes on from; None where only the agent was saved.

    Args:
        rank: of the process that learning goes on in, where there are several; 0 looks at the files of all.

    Raises:
        CheckpointError: broken, or the folder's files are not of one moment of one run.
    """
    path = folder / TRAINING
    if not path.exists():
        return None
    numbers = read_json(path, "mprl-training", "the state of learning of an agent of mprl")
    digests, processes = numbers.get("sha256"), numbers.get("processes", 1)
    if not isinstance(processes, int) or processes < 1:
        raise CheckpointError(f'{path}: "processes" must be a whole number of at least 1, found {str(processes)[:60]}')
    of_ranks = [of_rank(each) for each in range(1, processes) if rank in (0, each)]
    for name in (CONFIG, WEIGHTS, STATE, *of_ranks):
        expected = digests.get(name) if isinstance(digests, dict) else None
        with contextlib.suppress(OSError), (folder / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == expected:
                continue
        raise CheckpointError(
            f"{folder / name}: is not the file that was saved with {TRAINING}: missing, changed, cut off or of another checkpoint"
        )
    for key, kind in _NUMBERS.items():
        if not isinstance(numbers.get(key), kind):
            raise CheckpointError(f'{path}: "{key}" must be {_KINDS[kind]}, found {str(numbers.get(key))[:60]}')
    tensors = read_tensors(folder / STATE, "cpu")
    return tensors if not 0 < rank < processes else {**tensors, **read_tensors(folder / of_rank(rank), "cpu")}, numbers
