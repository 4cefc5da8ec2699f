"""What all tests share: how many threads they use, and where the real motion capture is."""

from __future__ import annotations

import dataclasses
import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before torch and numpy start their thread pools: the tests' tensors are small, and threads only get in each other's way.
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis  # noqa: E402
import pytest  # noqa: E402

gc.disable()  # until the tests are collected, see below

# A busy machine is no failure. Failing examples are the same everywhere when CI is set, so that a red run can be repeated.
hypothesis.settings.register_profile("mprl", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("mprl")

ROOT = Path(__file__).resolve().parent.parent
MOCAP = Path(os.environ.get("MPRL_MOCAP") or ROOT.parent / "shared" / "motions" / "deepmimic")
NO_MOCAP = f"no real motion capture in {MOCAP}: set MPRL_MOCAP to a folder with DeepMimic's humanoid3d_*.txt"


def has_mocap() -> bool:
    return any(MOCAP.glob("humanoid3d_*.txt"))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """What a test sets is not the next one's: with two threads on a busy machine learning took minutes in place of seconds."""
    import torch  # not by the process that only hands out tests

    torch.set_num_threads(1)
    yield
    torch.set_num_threads(1)


def pytest_collection_finish() -> None:
    """What is imported stays: the collector need not go through torch's million objects again and again."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_report_header() -> str:
    return f"motion capture: {MOCAP}" if has_mocap() else f"motion capture: none, tests that need it are skipped ({NO_MOCAP})"


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def mocap_folder() -> Path:
    """The folder with real motion capture in DeepMimic's format; the test is skipped where there is none."""
    if not has_mocap():
        pytest.skip(NO_MOCAP)
    return MOCAP


@pytest.fixture(scope="session")
def mocap(mocap_folder: Path) -> Callable[[str], Path]:
    """`mocap("walk")` is the path of `humanoid3d_walk.txt`."""

    def path(name: str) -> Path:
        file = mocap_folder / f"humanoid3d_{name}.txt"
        if not file.is_file():
            pytest.skip(f"no {file.name} in {mocap_folder}")
        return file

    return path


# Of every agent's settings those with which an iteration takes milliseconds.
SMALL: dict[str, Any] = dict(
    n_steps=8, batch_size=16, hidden=(8,), iteration_steps=16, buffer_size=300, learning_starts=16, n_episodes=6, max_steps=40,
    n_epochs=2, target_update_interval=32, train_freq=4, planning_steps=2,
)  # fmt: skip


@pytest.fixture(scope="session")
def small() -> Callable[..., dict[str, Any]]:
    """`small(kind)`: small settings for an agent of any class, those included that come later; `small(kind, gamma=1)` with others."""

    def settings(kind: Any, **others: Any) -> dict[str, Any]:
        known = {field.name for field in dataclasses.fields(kind.Settings)}
        return {name: value for name, value in SMALL.items() if name in known} | others

    return settings


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line keeps messages from pytest's ears; here they are heard."""
    monkeypatch.setattr(logging.getLogger("mprl"), "propagate", True)


@pytest.fixture(scope="session")
def calls() -> Callable[[Callable[[], object]], int]:
    """`calls(work)` is how many functions are called in it, Python's and C's: how much work it is, whatever the machine is busy with."""

    def count(work: Callable[[], object]) -> int:
        found = 0

        def look(frame: Any, event: str, argument: Any) -> None:
            nonlocal found
            found += event in ("call", "c_call")

        before = sys.getprofile()
        sys.setprofile(look)
        try:
            work()
        finally:
            sys.setprofile(before)
        return found

    return count


@pytest.fixture(scope="session")
def warp_installed() -> None:
    """The test is skipped where Warp is not. Asked when such a test runs, as Warp takes seconds to import."""
    pytest.importorskip("mujoco_warp")


@pytest.fixture(scope="module", params=[pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    """Where Warp runs: on its own CPU device in the slow tests, on a GPU in those that need one."""
    return str(request.param)


@pytest.fixture
def in_ranks() -> Callable[..., list[Any]]:
    """`in_ranks(2, work)` is what `work(ranks)` gives on each of two ranks: threads here, which talk through gloo as processes do."""
    import threading
    from datetime import timedelta

    import torch.distributed as dist

    from mprl.ranks import Group

    def run(size: int, work: Callable[[Any], Any]) -> list[Any]:
        store, found = dist.HashStore(), [None] * size
        errors: list[BaseException] = []

        def one(rank: int) -> None:
            group = None
            try:
                group = Group(dist.ProcessGroupGloo(store, rank, size, timedelta(seconds=120)))
                found[rank] = work(group)
            except BaseException as error:
                errors.append(error)
            del group

        threads = [threading.Thread(target=one, args=(rank,)) for rank in range(size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return found

    return run
