"""An agent on disk: a folder with `config.json` and `weights.safetensors`. Nothing in it can execute code.

Where learning is to go on exactly, `training.safetensors` and `training.json` lie beside them. `training.json` comes last and holds
the SHA-256 of the other three, so that files of different moments or runs are never taken for one checkpoint.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from mprl.errors import CheckpointError

VERSION = 1
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
_TYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64", torch.int32: "I32",
    torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
_KINDS = {float: "a number", str: "a text", dict: "an object", int: "a whole number"}


def as_folder(folder: Any) -> Path:
    """A folder that a user named.

    Raises:
        CheckpointError: it is no path at all.
    """
    try:
        return Path(folder)
    except TypeError:
        raise CheckpointError(f"expected the path of a folder, found {folder!r}") from None


def write(folder: Path, config: dict[str, Any], weights: dict[str, Tensor], training: Training | None = None) -> Path:
    """Write an agent; each file is replaced whole, the weights before the settings, what names the others last.

    Raises:
        CheckpointError: the folder cannot be made or written.
    """
    files: dict[str, Callable[[], Iterable[Any]]] = {
        WEIGHTS: lambda: _chunks(weights),
        CONFIG: lambda: [json.dumps(config, indent=2).encode()],
    }
    if training is not None:
        tensors, numbers = training
        files = {STATE: lambda: _chunks(tensors), **files}
        content = {
            "format": "mprl-training",
            "version": VERSION,
            "sha256": {name: _digest(file()) for name, file in files.items()},
            **numbers,
        }
        files[TRAINING] = lambda: [json.dumps(content, indent=2).encode()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (TRAINING, STATE):  # of an earlier moment
            (folder / name).unlink(missing_ok=True)
        for name, file in files.items():
            write_atomically(folder / name, file())
    except OSError as error:
        raise CheckpointError(f"{error.filename or folder}: cannot be written: {error.strerror or error}") from None
    return folder


def _chunks(tensors: dict[str, Tensor]) -> Iterator[Any]:
    """The bytes of a safetensors file, one tensor after the other and none of them copied: a replay memory may fill what memory there is.

    A length, as 8 bytes; so much JSON that says where each tensor is; their numbers, those of the widest types first, so that all are
    aligned (https://huggingface.co/docs/safetensors).
    """
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    places, end = {}, 0
    for name in order:
        value, begin = tensors[name], end
        end = begin + value.numel() * value.element_size()
        places[name] = {"dtype": _TYPES[value.dtype], "shape": list(value.shape), "data_offsets": [begin, end]}
    header = json.dumps(places, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    yield len(header).to_bytes(8, "little") + header
    for name in order:
        flat = tensors[name].detach().cpu().contiguous().reshape(-1)
        if flat.stride(0) != 1:  # a single number of an array that was broadcast counts as contiguous
            flat = flat.clone(memory_format=torch.contiguous_format)
        yield flat.view(torch.uint8).numpy().data


def _digest(chunks: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def write_atomically(path: Path, content: bytes | Iterable[Any]) -> None:
    """Write a file, its bytes or pieces of them in turn, so that a kill at any moment leaves the old one or the new one."""
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            chunks: Iterable[Any] = (content,) if isinstance(content, bytes) else content
            file.writelines(chunks)
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
    config = read_json(path, "mprl-agent", "an agent of mprl")
    for key, kind in _KEYS.items():
        if key not in config:
            raise CheckpointError(f'{path}: the key "{key}" is missing')
        if not isinstance(config[key], kind):
            raise CheckpointError(f'{path}: "{key}" must be {_KINDS[kind]}, found {str(config[key])[:60]}')
    return config


def read_json(path: Path, kind: str, what: str) -> dict[str, Any]:
    """A JSON object of ours.

    Args:
        path: the file.
        kind: its "format".
        what: it is, for messages.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise CheckpointError(f"{path}: expected JSON, cannot be read: {reason}; is the file cut off?") from None
    if not isinstance(content, dict) or content.get("format") != kind:
        raise CheckpointError(f'{path}: expected "format": "{kind}"; this is not {what}')
    if content.get("version") != VERSION:
        raise CheckpointError(f"{path}: expected format version {VERSION}, found {content.get('version')!r}; update mprl")
    return content


def read(folder: Path, device: torch.device | str = "cpu") -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Settings and weights of a saved agent; see `read_config` for the errors."""
    config = read_config(folder)
    if not (folder / WEIGHTS).is_file():
        raise CheckpointError(f"{folder / WEIGHTS}: no such file; the run folder is incomplete")
    return config, _read_tensors(folder / WEIGHTS, device)


def read_training(folder: Path) -> Training | None:
    """Tensors, on the CPU, and numbers that learning goes on from; None where only the agent was saved.

    Raises:
        CheckpointError: broken, or the folder's files are not of one moment of one run.
    """
    path = folder / TRAINING
    if not path.exists():
        return None
    numbers = read_json(path, "mprl-training", "the state of learning of an agent of mprl")
    digests = numbers.get("sha256")
    for name in (CONFIG, WEIGHTS, STATE):
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
    return _read_tensors(folder / STATE, "cpu"), numbers


def _read_tensors(path: Path, device: torch.device | str) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path, device=str(device))
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read: {' '.join(str(error).split())[:120]}; is the file cut off?") from None
