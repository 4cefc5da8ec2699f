"""Which device tensors live on, checked before anything is made there."""

from __future__ import annotations

import torch

from mprl.errors import DeviceError


def available(device: str | torch.device) -> torch.device:
    """The device of this name, with its number ("cuda" is the current one).

    Raises:
        DeviceError: there is no such device.
    """
    try:
        wanted = torch.device(device)
    except (RuntimeError, TypeError, ValueError):
        raise DeviceError(f"no device named '{device}'; known are cpu, cuda, cuda:0, ...") from None
    if wanted.type == "cpu":
        return torch.device("cpu")
    if wanted.type != "cuda":
        raise DeviceError(f"device '{device}': mprl runs on cpu and cuda")
    count = torch.cuda.device_count()
    if (wanted.index or 0) >= count:
        found = f"{count} CUDA device{'s were' if count > 1 else ' was'} found" if count else "no CUDA device was found"
        why = f" ({_reason()})" if not count else ""
        raise DeviceError(f"device '{device}': {found}{why}; use --device {'cuda:0' if count else 'cpu'}")
    return torch.device("cuda", torch.cuda.current_device() if wanted.index is None else wanted.index)


def _reason() -> str:
    """Why torch sees no GPU: its own first sentence, such as that the driver is too old."""
    if torch.version.cuda is None:
        return "this build of torch is without CUDA"
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return " ".join(str(error).split()).partition(". ")[0]
    return "see nvidia-smi, and CUDA_VISIBLE_DEVICES"
