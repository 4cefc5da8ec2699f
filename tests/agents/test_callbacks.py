"""What is written while an agent learns."""

from __future__ import annotations

import csv
import errno
import math
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mprl.agents.callbacks import Checkpoint, ProgressDisplay, RunWriter, all_of
from mprl.errors import CheckpointError

AGENT: Any = SimpleNamespace()


def metrics(timesteps: float, **more: float) -> dict[str, float]:
    return {"timesteps": timesteps, "return": 2.0, "env_reward_pose": 0.25, "time_acting": 0.5, **more}


def test_metrics_are_rows_of_a_table_and_scalars_in_tensorboard(tmp_path):
    writer = RunWriter(tmp_path / "run")
    writer(AGENT, metrics(10))
    writer(AGENT, metrics(20, env_reward_pose=1 / 3))
    writer.close()
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    assert [float(row["timesteps"]) for row in rows] == [10, 20] and float(rows[1]["env_reward_pose"]) == pytest.approx(1 / 3, rel=1e-9)
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    assert set(events.Tags()["scalars"]) == {"train/timesteps", "train/return", "env/reward_pose", "time/acting"}
    assert [(event.step, event.value) for event in events.Scalars("env/reward_pose")] == [(10, 0.25), (20, pytest.approx(1 / 3))]


def test_a_run_that_goes_on_adds_rows_below_one_heading(tmp_path):
    for timesteps in (10, 20):
        writer = RunWriter(tmp_path)
        writer(AGENT, metrics(timesteps))
        writer.close()
    assert [row["timesteps"] for row in csv.DictReader((tmp_path / "metrics.csv").open())] == ["10", "20"]


def test_a_number_that_is_missing_once_is_not_a_number_and_a_new_one_shifts_nothing(tmp_path):
    writer = RunWriter(tmp_path)
    for row in (metrics(10), {"timesteps": 20.0, "new": 7.0}, metrics(30)):
        writer(AGENT, row)
    writer.close()
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert math.isnan(float(rows[1]["return"])) and float(rows[2]["return"]) == 2 and None not in rows[1]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot be written") as caught:
        RunWriter(tmp_path / "file" / "run")
    assert "\n" not in str(caught.value)


def test_a_disk_that_fills_up_is_one_line(tmp_path):
    writer = RunWriter(tmp_path)

    class Full:
        def tell(self) -> int:
            return 0

        def write(self, _: str) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    writer._file.close()
    writer._file = Full()  # type: ignore[assignment]
    with pytest.raises(CheckpointError, match="No space left") as caught:
        writer(AGENT, metrics(10))
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_an_agent_is_saved_every_so_often(tmp_path, monkeypatch):
    now, saved = [100.0], []
    monkeypatch.setattr("mprl.agents.callbacks.time.monotonic", lambda: now[0])
    agent: Any = SimpleNamespace(save=lambda folder: saved.append((now[0], folder)))
    checkpoint = Checkpoint(tmp_path, every=60.0)
    for now[0] in (110.0, 159.0, 161.0, 200.0, 222.0, 500.0, 501.0):
        checkpoint(agent, {})
    assert saved == [(time, Path(tmp_path)) for time in (161.0, 222.0, 500.0)]


def test_one_callback_of_many_calls_them_all_and_any_can_stop():
    called: list[str] = []

    def callback(name: str, answer: bool | None) -> Any:
        return lambda agent, values: called.append(name) or answer

    assert all_of(callback("a", None), callback("b", True))(AGENT, {}) is True
    assert all_of(callback("c", False), callback("d", None))(AGENT, {}) is False
    assert called == ["a", "b", "c", "d"]


def test_progress_is_a_line_now_and_then_where_there_is_no_terminal(capsys):
    display = ProgressDisplay(total_timesteps=1000.0, max_seconds=None)
    for elapsed, timesteps in ((1.0, 100.0), (2.0, 200.0), (40.0, 500.0)):
        values = {"return": 12.34, "episode_length": 56.0, "env_local_tracking_error": 0.029}
        display(AGENT, {**values, "timesteps": timesteps, "time_elapsed": elapsed, "time_samples_per_second": timesteps / elapsed})
    display.close()
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(" 10%") and "return 12.3" in first and "length 56" in first and "error 29 mm" in first and "0:09 left" in first
    assert second.startswith(" 50%") and "0:40 left" in second
