"""What torchrun tells the processes that it starts, and how they find each other.

    torchrun --nproc-per-node 2 -m mprl.scripts.train ...           # RANK, WORLD_SIZE, MASTER_ADDR, ... in each one's environment

Any other launcher that sets these four does too.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from mprl.errors import DeviceError, DistributedError

if TYPE_CHECKING:
    from mprl.ranks import Group, Ranks

FIND_WITHIN = timedelta(minutes=5)
ANSWER_WITHIN = timedelta(minutes=30)  # rank 0 may evaluate or film meanwhile


def processes() -> int:
    """How many there are on all machines."""
    return _number("WORLD_SIZE", 1)


def rank() -> int:
    """Which of them this one is, from 0."""
    return _number("RANK", 0)


def here() -> int:
    """How many there are on this machine."""
    return _number("LOCAL_WORLD_SIZE", 1)


def restarts() -> int:
    """How often torchrun has started these processes anew, as one of them had ended."""
    return _number("TORCHELASTIC_RESTART_COUNT", 0)


def may_restart() -> bool:
    """Whether torchrun would (`--max-restarts`)."""
    return _number("TORCHELASTIC_MAX_RESTARTS", 0) > 0


def job() -> str:
    """torchrun's name for all that it starts, restarts included (`--rdzv-id`); '' without torchrun."""
    return os.environ.get("TORCHELASTIC_RUN_ID", "")


def threads() -> int:
    """Threads for the simulation of one process of several on a machine: its share of the cores; 0, for all of them, where it is alone."""
    return 0 if here() == 1 else max(1, (os.cpu_count() or 1) // here())


def own_device(device: str | None) -> str | None:
    """The GPU that this process has to itself, where `device` is "cuda" and there are several processes.

    Raises:
        DeviceError: there are fewer GPUs than processes on this machine, or one GPU is named for all.
    """
    if processes() == 1 or device is None or not device.startswith("cuda"):
        return device
    import torch

    found = torch.cuda.device_count()
    if device != "cuda":
        raise DeviceError(f"--device {device}: each of {processes()} processes needs a GPU of its own; give --device cuda")
    if found < here():
        instead = f"--nproc-per-node {found}" if found else "--device cpu"
        raise DeviceError(f"--device cuda: {here()} processes on this machine need a GPU each, {found} found; take {instead}")
    at = _number("LOCAL_RANK", 0)
    torch.cuda.set_device(at)
    return f"cuda:{at}"


@contextlib.contextmanager
def joined() -> Iterator[Ranks]:
    """The processes that were started together with this one; alone where there are none. Within, only rank 0 logs.

    Raises:
        DistributedError: they cannot find each other.
    """
    from mprl.ranks import ALONE

    if processes() == 1:
        yield ALONE
        return
    import torch.distributed as dist

    log = logging.getLogger("mprl")
    level = log.level
    group = _find_each_other()
    try:
        if group.rank:
            log.setLevel(logging.WARNING)
        yield group
    finally:
        log.setLevel(level)
        dist.destroy_process_group()


def _find_each_other() -> Group:
    import torch
    import torch.distributed as dist

    from mprl.ranks import Group

    address = f"{os.environ.get('MASTER_ADDR', '')}:{os.environ.get('MASTER_PORT', '')}"
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    try:
        store, rank, size = next(iter(dist.rendezvous("env://", timeout=FIND_WITHIN)))
        # torchrun keeps one store over its restarts, with the addresses of processes that have ended
        store = dist.PrefixStore(f"attempt {restarts()}", store)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=ANSWER_WITHIN)
    except (RuntimeError, ValueError) as error:
        why = " ".join(str(error).split())
        if "EADDRINUSE" in why or "address already in use" in why.lower():
            raise DistributedError(f"port {address} is in use; choose another with torchrun --master-port, or MASTER_PORT") from None
        if "environment variable" in why:
            raise DistributedError(
                f"WORLD_SIZE is {processes()}, but {why.partition('environment variable ')[2][:80]}; start the processes with torchrun"
            ) from None
        raise DistributedError(f"rank {os.environ.get('RANK')} of {processes()} cannot join the others at {address}: {why[:160]}") from None
    assert dist.group.WORLD is not None
    return Group(dist.group.WORLD)


def note_error(text: str) -> None:
    """Let torchrun say in its summary why this process ended."""
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path:
        with contextlib.suppress(OSError), open(path, "w", encoding="utf-8") as file:
            json.dump({"message": text, "timestamp": str(int(time.time()))}, file)


def _number(name: str, otherwise: int) -> int:
    try:
        return max(int(os.environ[name]), 0)
    except (KeyError, ValueError):
        return otherwise
