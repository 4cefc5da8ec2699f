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
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mprl.agents import PPO
from mprl.agents.callbacks import Evaluation, RunWriter, StopTraining, Video, all_of
from mprl.agents.progress import ProgressDisplay
from mprl.errors import CheckpointError, SettingError

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


# --- ending early -----------------------------------------------------------------------------------------------------------


def told(stop: StopTraining, *scores: float) -> list[bool | None]:
    agent: Any = SimpleNamespace(num_timesteps=1000)
    return [stop(agent, metrics(10, evaluation_return_mean=score)) for score in scores]


def test_learning_ends_when_an_evaluation_reaches_the_score():
    assert told(StopTraining(score=475), 20.0, 474.9, 475.0) == [None, None, False]
    assert told(StopTraining(score=-200), -500.0, -200.5, -199.0) == [None, None, False]


def test_learning_ends_when_nothing_better_has_come_for_long_enough():
    assert told(StopTraining(patience=2), 5.0, 7.0, 6.0, 8.0, 8.0, 3.0) == [None, None, None, None, None, False]
    assert told(StopTraining(patience=1), 5.0, 6.0, 6.0) == [None, None, False]
    assert told(StopTraining(), 5.0, 4.0, 3.0, 2.0) == [None] * 4


def test_iterations_without_an_evaluation_do_not_count():
    stop = StopTraining(patience=1)
    assert told(stop, 5.0) == [None] and [stop(AGENT, metrics(n)) for n in range(5)] == [None] * 5


def test_the_score_is_the_normalised_return_where_there_is_one():
    stop = StopTraining(score=0.9)
    assert stop(AGENT, metrics(10, evaluation_return_mean=300.0, evaluation_normalized_return=0.5)) is None
    assert stop.scores == [0.5]


def test_why_learning_ends_is_logged_in_one_line(caplog):
    with caplog.at_level("INFO", "mprl"):
        told(StopTraining(score=475), 500.0)
    assert caplog.messages == ["Learning ends after 1,000 steps: an evaluation gave 500, 475 was asked for."]


def test_a_run_that_goes_on_remembers_its_evaluations_with_all_their_digits(tmp_path):
    values, whole = [1 / 3, 100 / 7, 100 / 7 * (1 - 1e-12), 2.0, 100 / 7], StopTraining(patience=4)
    writer = RunWriter(tmp_path)
    for at, value in enumerate(values):
        row = metrics(100 * at, evaluation_return_mean=value)
        whole(AGENT, row), writer(AGENT, row), writer(AGENT, metrics(100 * at + 50))
    writer.close()
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("99999,1,2\r\n12")  # of a process that was killed
    assert StopTraining(patience=4, folder=tmp_path, timesteps=1000).scores == whole.scores
    assert StopTraining(patience=4, folder=tmp_path, timesteps=250).scores == whole.scores[:3]
    assert StopTraining(patience=4, folder=tmp_path / "new").scores == []


def test_a_broken_table_is_one_line(tmp_path):
    (tmp_path / "metrics.csv").write_text("timesteps,evaluation_return_mean\r\n10,many\r\n")
    with pytest.raises(CheckpointError, match=r"metrics\.csv: expected a table of numbers"):
        StopTraining(score=1, folder=tmp_path)


@pytest.mark.parametrize("wrong", [{"score": math.nan}, {"patience": -1}])
def test_what_cannot_end_learning_is_refused(wrong):
    with pytest.raises(SettingError):
        StopTraining(**wrong)


# --- filming ----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_episode_is_filmed_on_schedule_and_learning_goes_on_as_without(tmp_path, monkeypatch):
    pytest.importorskip("pygame")
    monkeypatch.delenv("DISPLAY", raising=False)
    settings = dict(n_steps=8, batch_size=16, hidden=(4,), seed=1)
    make_env = lambda: gym.make("CartPole-v1", render_mode="rgb_array")  # noqa: E731
    filmed = PPO(gym.make_vec("CartPole-v1", num_envs=2), **settings)
    filmed.learn(64, callback=Video(tmp_path / "videos", make_env, every=32))
    films = sorted((tmp_path / "videos").iterdir())
    assert [film.name for film in films] == ["step_000000032.mp4", "step_000000064.mp4"] and all(
        film.stat().st_size > 500 for film in films
    )
    alone = PPO(gym.make_vec("CartPole-v1", num_envs=2), **settings).learn(64)
    assert all((a == b).all() for a, b in zip(filmed.model.parameters(), alone.model.parameters(), strict=True))


def test_no_films_where_none_are_asked_for(tmp_path):
    agent = PPO(gym.make("CartPole-v1"), n_steps=8, hidden=())
    agent.learn(16, callback=Video(tmp_path / "videos", lambda: pytest.fail("an environment was made"), every=0))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("answer", "goes_on"), [(None, True), (True, True), (np.True_, True), (False, False), (np.False_, False)])
def test_only_a_false_answer_ends_learning(answer, goes_on):
    agent = PPO(gym.make_vec("CartPole-v1", num_envs=2), n_steps=8, batch_size=16, hidden=(4,))
    agent.learn(48, callback=lambda agent, metrics: answer)
    assert agent.num_timesteps == (48 if goes_on else 16)
    assert all_of(lambda agent, metrics: answer)(agent, {}) is goes_on
