"""`torchrun -m mprl.scripts.train`: one run in several processes, which goes on when one is killed; what goes wrong is one line."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mprl import torchrun
from mprl.errors import DeviceError
from mprl.scripts import resume, train

ITERATION = 32
# its state can be saved: nothing is reset at a checkpoint
WORDS = (
    "FrozenLake-v1", "--num-envs", "4", "--seed", "5", "--agent.n-steps", "8", "--agent.batch-size", "16", "--agent.hidden", "8",
    "--evaluate-every", str(20 * ITERATION), "--checkpoint-every", str(4 * ITERATION), "--steps", str(120 * ITERATION),
)  # fmt: skip


def start(out: Path, *options: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *options]
    return subprocess.Popen(
        [*words, "-m", "mprl.scripts.train", *WORDS, "--out", str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def table(run: Path) -> list[dict[str, str]]:
    """Whole rows of `metrics.csv`, less the wall-clock columns."""
    path = run / "metrics.csv"
    lines = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")] if path.exists() else []
    return [{key: value for key, value in row.items() if not key.startswith("time_")} for row in csv.DictReader(lines)]


def workers(process: subprocess.Popen[str]) -> dict[int, int]:
    """Process ids by rank."""
    found = {}
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        with contextlib.suppress(OSError):
            environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
            found |= {int(each.partition(b"=")[2]): int(child) for each in environment if each.startswith(b"RANK=")}
    return found


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the processes in /proc")
def test_a_killed_process_is_told_and_torchrun_goes_on_from_the_last_checkpoint_to_the_same_end(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = start(whole)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "Learning in 2 processes, 4 worlds in all." in out and out.count("Try next") == 1
    process = start(killed, "--max-restarts", "1")
    while len(table(killed)) < 30:
        assert process.poll() is None
        time.sleep(0.002)
    os.kill(workers(process)[1], signal.SIGKILL)
    out, err = process.communicate()
    assert process.returncode == 0, err
    lines = [line for line in err.splitlines() if line.startswith("mprl: ")]
    assert len(lines) == 1 and lines[0].startswith("mprl: rank 0 of 2: the other processes cannot be reached any more (")
    assert lines[0].endswith(f"to go on from the last checkpoint give --resume {killed} and no other options")
    assert "Traceback" not in err.partition("mprl: ")[2].partition("\n")[2] and "Going on from step" in out
    assert len(table(whole)) == 120 and table(whole) == table(killed)
    for name in ("weights.safetensors", "config.json", "best/weights.safetensors", "best/score.json"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes(), name


@pytest.fixture
def port() -> Iterator[int]:
    """One that is in use."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`started(RANK=0, ...)` sets what torchrun would."""

    def set_all(**variables: Any) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))

    return set_all


@pytest.mark.slow
def test_a_rank_that_was_told_something_else_ends_all_in_one_line(tmp_path, port):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank, gamma in enumerate(("0.99", "0.9")):
        environment = {**os.environ, "RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        words = [sys.executable, "-m", "mprl.scripts.train", *WORDS, "--agent.gamma", gamma, "--out", str(tmp_path / "run")]
        processes.append(subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment))
    found = [(process.communicate()[1], process.returncode) for process in processes]
    expected = "mprl: rank 1 has settings.gamma 0.9, rank 0 has 0.99; all processes need the same command\n"
    assert found == [(expected, 2), ("", 2)] and not (tmp_path / "run").exists()


def test_a_port_in_use_is_named(mprl, started, port):
    started(RANK=0, WORLD_SIZE=2, MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    line = mprl("train", *WORDS, "--out", "run").mistake
    assert line == f"port 127.0.0.1:{port} is in use; choose another with torchrun --master-port, or MASTER_PORT"


def test_half_of_what_a_launcher_sets_is_not_enough(mprl, started, monkeypatch):
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    started(RANK=0, WORLD_SIZE=2)
    line = mprl("train", *WORDS).mistake
    assert line == "WORLD_SIZE is 2, but MASTER_ADDR expected, but not set; start the processes with torchrun"


def test_every_process_has_a_gpu_of_its_own(started, monkeypatch):
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert torchrun.own_device("cuda") == "cuda"
    started(RANK=3, WORLD_SIZE=4, LOCAL_RANK=1, LOCAL_WORLD_SIZE=2)
    assert (torchrun.own_device("cuda"), torchrun.own_device("cpu"), torchrun.own_device(None)) == ("cuda:1", "cpu", None)
    assert chosen == [1]
    with pytest.raises(DeviceError, match="--device cuda:0: each of 4 processes needs a GPU of its own; give --device cuda"):
        torchrun.own_device("cuda:0")
    started(LOCAL_WORLD_SIZE=4)
    with pytest.raises(DeviceError, match="4 processes on this machine need a GPU each, 2 found; take --nproc-per-node 2"):
        torchrun.own_device("cuda")


def test_processes_of_a_machine_share_its_cores(started, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert torchrun.threads() == 0  # MuJoCo's word for all
    started(LOCAL_WORLD_SIZE=3)
    assert torchrun.threads() == 2


def test_a_restarted_job_knows_its_own_run_and_no_other(started, tmp_path):
    class Two:
        size = 2

    options = train.read(["FrozenLake-v1", "--out", str(tmp_path)])
    job = train.job(options, Two())  # type: ignore[arg-type]
    assert train.job(options, Two()) == job and not resume.is_of(job, tmp_path)  # type: ignore[arg-type]
    (tmp_path / "run.json").write_text(json.dumps({"format": "mprl-run", "version": 1, "steps": 9, "job": job}))
    assert resume.is_of(job, tmp_path) and not resume.can_go_on(tmp_path)
    others = train.read(["FrozenLake-v1", "--out", str(tmp_path), "--seed", "1"])
    assert not resume.is_of(train.job(others, Two()), tmp_path)  # type: ignore[arg-type]
    started(TORCHELASTIC_RUN_ID="another")
    assert not resume.is_of(train.job(options, Two()), tmp_path)  # type: ignore[arg-type]


def test_restarts_need_a_folder_with_a_name(started):
    class Two:
        size = 2

    started(TORCHELASTIC_MAX_RESTARTS=3)
    with pytest.raises(train.SettingError, match="torchrun --max-restarts goes on with the run in its folder: give --out too"):
        train.job(train.read(["FrozenLake-v1"]), Two())  # type: ignore[arg-type]
