"""What does not fit into memory is one clear line, said before the system takes offence."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mprl import memory
from mprl.errors import SettingError


def test_what_does_not_fit_is_refused_with_both_sizes(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 3 * 2**30)
    memory.require(2 * 2**30, "a table", "take less")
    with pytest.raises(SettingError, match=r"^a table needs 4.0 GiB, 3.0 GiB are free; take less$"):
        memory.require(4 * 2**30, "a table", "take less")


def test_where_nobody_says_how_much_is_free_nothing_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "_read", lambda path: "")
    assert memory.available() is None
    memory.require(10**30, "anything", "")


def test_a_container_s_limit_counts(monkeypatch):
    files = {"/proc/meminfo": "MemTotal: 100 kB\nMemAvailable:   2000 kB\n", "/sys/fs/cgroup/memory.max": "900000\n"}
    monkeypatch.setattr(memory, "_read", lambda path: files.get(path, "400000" if path.endswith("memory.current") else ""))
    assert memory.available() == 500_000
    files["/sys/fs/cgroup/memory.max"] = "max\n"
    assert memory.available() == 2_048_000


def _raise(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("allocate", "says"),
    [
        (lambda: np.zeros(2**55), "(256. PiB more)"),
        (lambda: torch.empty(2**55), "(144115188075855872 bytes more)"),
        (lambda: list(range(2**60)), "than there is; take less"),
        (lambda: _raise(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")), "(2.00 GiB more)"),
    ],
)
def test_an_allocation_that_fails_is_one_line(allocate, says):
    with pytest.raises(SettingError) as caught, memory.enough("a test", "take less"):
        allocate()
    message = str(caught.value)
    assert (
        says in message
        and message.startswith("a test needs more memory than there is")
        and message.endswith("; take less")
        and "\n" not in message
    )


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="must match"), memory.enough("a test", "take less"):
        torch.ones(2) + torch.ones(3)
