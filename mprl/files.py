"""Files that a kill at any moment leaves whole, and that cannot execute code: JSON and safetensors."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from mprl.errors import CheckpointError

VERSION = 1
_TYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64", torch.int32: "I32",
    torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def as_folder(folder: Any) -> Path:
    """A folder that a user named.

    Raises:
        CheckpointError: it is no path at all.
    """
    try:
        return Path(folder)
    except TypeError:
        raise CheckpointError(f"expected the path of a folder, found {folder!r}") from None


def tensor_chunks(tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> Iterator[Any]:
    """The bytes of a safetensors file, one tensor after the other and none of them copied: a replay memory may fill what memory there is.

    A length, as 8 bytes; so much JSON that says where each tensor is; their numbers, those of the widest types first, so that all are
    aligned (https://huggingface.co/docs/safetensors).

    Args:
        tensors: by name, on any device.
        metadata: texts by name that lie in the same file.
    """
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    places: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    end = 0
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


def read_metadata(path: Path) -> dict[str, str]:
    """The texts that lie beside the tensors of a safetensors file.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read: {' '.join(str(error).split())[:120]}; is the file cut off?") from None


def read_tensors(path: Path, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        return safetensors.torch.load_file(path, device=str(device))
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read: {' '.join(str(error).split())[:120]}; is the file cut off?") from None
