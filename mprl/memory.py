"""How much memory is free, and one clear line where that is not enough."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from mprl.errors import SettingError


def available() -> int | None:
    """Bytes that can still be allocated, of the machine or of the control group that this process is in; None where nobody says."""
    limits = []
    lines = _read("/proc/meminfo").splitlines()
    limits += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    for limit, used in (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")):
        words = [_read(f"/sys/fs/cgroup/{name}").strip() for name in (limit, used)]
        if all(word.isdecimal() for word in words):
            limits.append(int(words[0]) - int(words[1]))
    return min(limits, default=None)


def require(needed: int, what: str, remedy: str) -> None:
    """Raise before it is allocated what does not fit: systems promise more than they have, and kill who believes them.

    Args:
        needed: bytes.
        what: needs them.
        remedy: what to do.

    Raises:
        SettingError: less is free.
    """
    free = available()
    if free is not None and needed > 0.9 * free:
        raise SettingError(f"{what} needs {_gib(needed)}, {_gib(free)} are free; {remedy}")


@contextlib.contextmanager
def enough(what: str, remedy: str) -> Iterator[None]:
    """Within, an allocation that fails is told as a user's mistake.

    Raises:
        SettingError: there was not enough memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch raises RuntimeErrors, on a GPU a kind of its own
        said = str(error)
        if not isinstance(error, MemoryError) and "can't allocate memory" not in said and "out of memory" not in said:
            raise
        size = re.search(r"to allocate ([\d.]+ \w+)", said)
        raise SettingError(f"{what} needs more memory than there is{f' ({size[1]} more)' if size else ''}; {remedy}") from None


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
