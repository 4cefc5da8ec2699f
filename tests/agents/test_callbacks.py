"""What is written while an agent learns."""

from __future__ import annotations

import csv
import errno
import json
import math
import os
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mprl.agents import PPO
from mprl.agents.callbacks import Evaluation, ProgressDisplay, RunWriter, all_of
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


def test_a_number_that_is_missing_once_is_not_a_number_and_a_new_one_is_a_new_column(tmp_path):
    writer = RunWriter(tmp_path)
    for row in (metrics(10), {"timesteps": 20.0, "new": 7.0}, metrics(30)):
        writer(AGENT, row)
    writer.close()
    assert (tmp_path / "metrics.csv").read_bytes().splitlines() == [
        b"timesteps,return,env_reward_pose,time_acting,new",
        b"10,2,0.25,0.5,nan",
        b"20,nan,nan,nan,7",
        b"30,2,0.25,0.5,nan",
    ]


def test_steps_are_written_to_the_last_one_however_many_they_are(tmp_path):
    writer = RunWriter(tmp_path)
    writer(AGENT, metrics(12_345_678_901_234, odd=1 / 3))
    writer.close()
    assert (tmp_path / "metrics.csv").read_bytes().endswith(b"12345678901234,2,0.25,0.5,0.3333333333\r\n")


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


def test_rows_after_the_checkpoint_go_and_half_a_row_too(tmp_path):
    writer = RunWriter(tmp_path)
    for timesteps in (10, 20, 30):
        writer(AGENT, {"timesteps": timesteps, "return": 0.5})
    writer.close()
    path = tmp_path / "metrics.csv"
    whole = path.read_bytes()
    upto_20 = b"".join(whole.splitlines(keepends=True)[:3])
    for cut in range(len(whole) + 1):  # wherever the process was killed
        path.write_bytes(whole[:cut])
        RunWriter(tmp_path, timesteps=20).close()
        expected = upto_20 if cut >= len(upto_20) else b"".join(r for r in whole[:cut].splitlines(keepends=True) if r.endswith(b"\n"))
        assert path.read_bytes() == expected
    for events in tmp_path.glob("events.*"):
        events.unlink()


def test_tensorboard_forgets_what_will_come_again(tmp_path):
    writer = RunWriter(tmp_path)
    for timesteps in (10, 20, 30):
        writer(AGENT, metrics(timesteps, **{"return": -1.0}))
    writer.close()
    next(tmp_path.glob("events.*")).rename(tmp_path / "events.out.tfevents.1")  # TensorBoard reads them in the order of their names
    writer = RunWriter(tmp_path, timesteps=20)
    writer(AGENT, metrics(30))
    writer.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/return")] == [(10, -1), (20, -1), (30, 2)]


def test_a_table_that_is_none_is_one_line(tmp_path):
    for content in (b"a,b\r\n1,2\r\n", b"timesteps\r\nmany\r\n", b"a,timesteps\r\n1\r\n", b"\xff\n"):
        (tmp_path / "metrics.csv").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"metrics\.csv: expected a table") as caught:
            RunWriter(tmp_path, timesteps=20)
        assert "\n" not in str(caught.value) and (tmp_path / "metrics.csv").read_bytes() == content


def crossing(every: int, per_iteration: int, iterations: int) -> list[int]:
    """After which of the iterations a multiple of `every` was crossed."""
    agent = PPO(gym.make("CartPole-v1"), n_steps=per_iteration, hidden=())
    found = []
    for number in range(1, iterations + 1):
        agent.num_timesteps = number * per_iteration
        found += [agent.num_timesteps] if agent.crossed(every) else []
    return found


def test_schedules_go_by_steps():
    assert crossing(every=100, per_iteration=40, iterations=8) == [120, 200, 320]
    assert crossing(every=10, per_iteration=40, iterations=3) == [40, 80, 120]
    assert crossing(every=0, per_iteration=40, iterations=8) == []


def test_evaluations_measure_the_agent_and_keep_the_best(tmp_path, monkeypatch):
    scores = iter([3.0, 1.0, math.nan, 7.0, 7.0])
    results = lambda *_: {"env_id": "x", "seed": 0, "episodes": 2, "return_mean": next(scores), "length_mean": 5}  # noqa: E731
    monkeypatch.setattr("mprl.agents.callbacks.evaluate", results)
    agent = PPO(gym.make("CartPole-v1"), n_steps=10, hidden=())
    evaluation = Evaluation(tmp_path, lambda: gym.make("CartPole-v1"), every=20, episodes=2)
    best, logged = [], []
    for agent.num_timesteps in range(10, 110, 10):
        row: dict[str, float] = {}
        evaluation(agent, row)
        logged.append(row.get("evaluation_return_mean"))
        found = tmp_path / "best" / "score.json"
        best.append(json.loads(found.read_text())["num_timesteps"] if found.exists() else None)
    assert str(logged) == "[None, 3.0, None, 1.0, None, nan, None, 7.0, None, 7.0]"
    assert best == [None, 20, 20, 20, 20, 20, 20, 80, 80, 80]
    assert json.loads(found.read_text()) == {
        "score": 7.0, "num_timesteps": 80, "episodes": 2, "seed": 0, "return_mean": 7.0, "length_mean": 5.0,
    }  # fmt: skip
    assert PPO.load(tmp_path / "best").num_timesteps == 80


def test_an_imitation_s_score_is_its_normalised_return(tmp_path, monkeypatch):
    monkeypatch.setattr("mprl.agents.callbacks.evaluate", lambda *_: {"return_mean": 300.0, "normalized_return": 0.5})
    agent = PPO(gym.make("CartPole-v1"), n_steps=10, hidden=())
    agent.num_timesteps = 10
    Evaluation(tmp_path, lambda: gym.make("CartPole-v1"), every=10)(agent, {})
    assert json.loads((tmp_path / "best" / "score.json").read_text())["score"] == 0.5


def test_an_evaluation_changes_nothing_in_learning(tmp_path):
    def rows(*callbacks: Any) -> list[dict[str, float]]:
        found: list[dict[str, float]] = []
        agent = PPO(gym.make("CartPole-v1"), n_steps=32, batch_size=16, hidden=(4,), seed=1)
        keep = lambda _, row: found.append({k: v for k, v in row.items() if not k.startswith(("time_", "evaluation_"))})  # noqa: E731
        agent.learn(160, callback=all_of(*callbacks, keep))
        return found

    evaluated = rows(Evaluation(tmp_path, lambda: gym.make("CartPole-v1"), every=64, episodes=2))
    assert repr(rows()) == repr(evaluated) and (tmp_path / "best").exists()


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
