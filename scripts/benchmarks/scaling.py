"""PPO in one process and in several that share the same worlds: samples a second, and where their time goes.

Each way is a run of `mprl train` of its own, under torchrun where it has several processes, and the ways take turns. The first
iterations do not count.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mprl.errors import MprlError
from mprl.scripts.benchmarks.environment import Measured
from mprl.scripts.benchmarks.report import Figure, Overview
from mprl.scripts.plots import read_metrics

WARM_UP = 2  # iterations
SHARES = ("acting", "learning", "communicating")


@dataclass(frozen=True)
class Way:
    """A number of processes, and the threads of each."""

    processes: int
    threads: int

    @property
    def what(self) -> str:
        several = self.processes > 1
        return f"{self.processes} process{'es' * several} with {self.threads} thread{'s' * (self.threads > 1)}{' each' * several}"


@dataclass(frozen=True)
class Rates:
    """What a run did: samples a second, and shares of the time in the order of `SHARES`."""

    samples: float
    shares: tuple[float, ...]


def measure(motion: str, num_envs: int, processes: int, iterations: int, rounds: int, device: str | None = None) -> Measured:
    """All figures of `mprl benchmark scaling`.

    Args:
        motion: that is imitated.
        num_envs: worlds, over all processes.
        processes: how many there are at most; on a CPU one with as many threads is measured too.
        iterations: of each run, less those that do not count.
        rounds: runs of each way.
        device: cpu or cuda.
    """
    ways = [Way(1, 1), Way(processes, 1), *([Way(1, processes)] if device != "cuda" else [])]
    found: dict[Way, list[Rates]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            found[way].append(run(way, motion, num_envs, iterations, device))
    return Measured(figures(found), {"motion": Path(motion).name, "worlds": num_envs, "device": device or "cpu"}, overview(found))


def run(way: Way, motion: str, num_envs: int, iterations: int, device: str | None) -> Rates:
    """One run of `mprl train`.

    Raises:
        MprlError: it failed.
    """
    from mprl.agents import PPO

    steps = num_envs * int(PPO.presets("mprl/DeepMimic-v0").get("n_steps", 32)) * (iterations + WARM_UP)
    start = [sys.executable, "-m", "mprl.scripts.train"]
    if way.processes > 1:
        start[1:2] = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(way.processes), "-m"]
    with tempfile.TemporaryDirectory() as folder:
        words = ["mprl/DeepMimic-v0", "--env.motion", motion, "--env.num-threads", str(way.threads), "--num-envs", str(num_envs)]
        words += ["--steps", str(steps), "--evaluate-every", "0", "--checkpoint-every", str(10**9), "--out", str(Path(folder) / "run")]
        words += ["--device", device] if device else []
        done = subprocess.run(
            [*start, *words], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": str(way.threads)}, check=False
        )
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("mprl: ")] or done.stderr.splitlines()[-1:]
            raise MprlError(f"{way.what}: training failed: {lines[0].removeprefix('mprl: ') if lines else 'without a word'}")
        return rates(Path(folder) / "run" / "metrics.csv")


def rates(table: Path) -> Rates:
    """Of the iterations in a table of metrics that count."""
    columns = read_metrics(table)
    taken = columns["time_elapsed"][-1] - columns["time_elapsed"][WARM_UP - 1]
    made = columns["timesteps"][-1] - columns["timesteps"][WARM_UP - 1]
    spent = [sum(columns.get(f"time_{name}", [0.0])[WARM_UP:]) for name in SHARES]
    return Rates(float(made / taken), tuple(float(each / taken) for each in spent))


def figures(found: dict[Way, list[Rates]]) -> list[Figure]:
    """Several processes beside one, and beside as many times one, which is the ideal."""
    samples = {way: [each.samples for each in runs] for way, runs in found.items()}
    medians = {way: statistics.median(values) for way, values in samples.items()}
    one, several = Way(1, 1), max(found, key=lambda way: way.processes)
    threaded = next((way for way in found if way.threads > 1), one)
    return [
        Figure(
            "samples_per_second", several.what, "samples/s", medians[several], peer=medians[threaded],
            limit=several.processes * medians[one], spread=True, rounds={"ours": samples[several]},
            against=f"the limit is {several.processes} times {one.what}, the peer {threaded.what}; the worlds are the same in all",
        ),
        Figure(
            "speed_up", f"{several.what}, times the speed of {one.what}", "", medians[several] / medians[one],
            limit=float(several.processes),
        ),
        Figure(
            "communicating", "share of the time in which processes wait for each other", "", _median_shares(found[several])[2],
            less_is_better=True,
        ),
    ]  # fmt: skip


def overview(found: dict[Way, list[Rates]]) -> Overview:
    """Where the time goes, a row for each way."""
    rows = []
    for way, runs in found.items():
        shares = _median_shares(runs)
        told = (*shares, max(0.0, 1 - sum(shares)))
        rows.append((way.what, f"{statistics.median(each.samples for each in runs):,.0f}", *(f"{share:.0%}" for share in told)))
    return Overview(("", "samples/s", *SHARES, "the rest"), rows)


def _median_shares(runs: Sequence[Rates]) -> tuple[float, ...]:
    return tuple(statistics.median(each.shares[at] for each in runs) for at in range(len(SHARES)))
