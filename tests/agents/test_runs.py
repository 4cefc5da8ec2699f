"""A run's folder: what it was asked for, its checkpoints, and that a kill at any moment leaves whole ones."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from mprl.agents import PPO, runs
from mprl.agents.callbacks import Checkpoint
from mprl.agents.runs import Plan, checkpoints_of, newest, save_checkpoint, steps_of
from mprl.errors import CheckpointError, MprlError, SettingError


@pytest.fixture(scope="module")
def agent() -> PPO:
    """Hardly anything, in an environment that has no state to save."""
    return PPO(gym.make("CartPole-v1"), n_steps=8, hidden=())


def at(agent: PPO, steps: int) -> PPO:
    agent.num_timesteps = steps
    return agent


def names(run: Path) -> list[str]:
    return [path.name for path in checkpoints_of(run)]


def test_a_plan_comes_back(tmp_path):
    plan = Plan(minutes=2.5, checkpoint_every=7, evaluate_every=9, keep_checkpoints=2, stop_at=-3.5, patience=4, video_every=100)
    plan.write(tmp_path / "run")
    assert Plan.read(tmp_path / "run") == plan


def test_a_plan_of_an_earlier_version_has_fewer_fields(tmp_path):
    Plan(steps=5).write(tmp_path)
    written = json.loads((tmp_path / runs.PLAN).read_text())
    (tmp_path / runs.PLAN).write_text(json.dumps({key: value for key, value in written.items() if key not in ("stop_at", "patience")}))
    assert Plan.read(tmp_path) == Plan(steps=5)


@pytest.mark.parametrize(
    "wrong",
    [{}, {"steps": 1, "minutes": 1}, {"steps": 0}, {"minutes": float("nan")}, {"steps": 1, "checkpoint_every": 0},
     {"steps": 1, "keep_checkpoints": 0}, {"steps": 1, "evaluate_every": -1}, {"steps": 1, "stop_at": float("inf"), "evaluate_every": 1},
     {"steps": 1, "stop_at": 5.0}, {"steps": 1, "patience": 2}, {"steps": 1, "patience": -1}, {"steps": 1, "video_every": -1}],
)  # fmt: skip
def test_a_plan_that_cannot_be_is_refused_from_python_and_from_disk(wrong, tmp_path):
    with pytest.raises(SettingError):
        Plan(**wrong)
    Plan(steps=1).write(tmp_path)
    path = tmp_path / runs.PLAN
    path.write_text(json.dumps({**json.loads(path.read_text()), "steps": None, **wrong}))
    with pytest.raises(CheckpointError, match=r"run\.json"):
        Plan.read(tmp_path)


def test_the_last_few_checkpoints_are_kept_and_the_run_is_the_newest_agent(agent, tmp_path):
    for steps in (0, 8, 16, 24):
        save_checkpoint(at(agent, steps), tmp_path, keep=2)
    assert names(tmp_path) == ["step_000000016", "step_000000024"]
    assert PPO.load(tmp_path).num_timesteps == 24
    assert [PPO.load(path).num_timesteps for path in checkpoints_of(tmp_path)] == [16, 24] == list(map(steps_of, checkpoints_of(tmp_path)))


def test_steps_and_not_names_tell_which_is_newest(agent, tmp_path):
    for steps in (999_999_999, 1_000_000_000):
        save_checkpoint(at(agent, steps), tmp_path, keep=2)
    assert newest(tmp_path)[1].name == "step_1000000000"


def test_a_checkpoint_can_be_chosen(agent, tmp_path):
    for steps in (8, 16):
        save_checkpoint(at(agent, steps), tmp_path, keep=2)
    assert newest(tmp_path) == (tmp_path, tmp_path / "checkpoints" / "step_000000016")
    older = tmp_path / "checkpoints" / "step_000000008"
    assert newest(older) == (tmp_path, older)


@pytest.mark.parametrize(("path", "says"), [("nowhere", "no such run folder"), ("file", "found a file"), ("empty", "holds no checkpoint")])
def test_where_there_is_no_run(tmp_path, path, says):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=says):
        newest(tmp_path / path)


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


# what writing and removing consist of; a kill can come before and after each
CALLS = ((os, "replace"), (os, "fsync"), (os, "rename"), (os, "unlink"), (os, "rmdir"), (os, "mkdir"))


@pytest.mark.slow
def test_a_kill_between_any_two_steps_of_saving_leaves_whole_checkpoints(agent, tmp_path, monkeypatch):
    """The newest one loads, and nothing half written stays for long."""
    killed_at = 0
    while True:
        run = tmp_path / str(killed_at)
        for steps in (8, 16):
            save_checkpoint(at(agent, steps), run, keep=2)
        counted = [0]
        with monkeypatch.context() as patch:
            for module, name in CALLS:
                patch.setattr(module, name, _kills(getattr(module, name), counted, killed_at))
            try:
                save_checkpoint(at(agent, 24), run, keep=2)
                break
            except Killed:
                pass
        _, last = newest(run)
        assert PPO.load(last, gym.make("CartPole-v1")).num_timesteps == steps_of(last) in (16, 24)
        for path in checkpoints_of(run):
            PPO.load(path, gym.make("CartPole-v1"))
        PPO.load(run)
        save_checkpoint(at(agent, 32), run, keep=2)
        assert names(run)[-1] == "step_000000032" and len(names(run)) == 2
        assert sorted(os.listdir(run)) == ["checkpoints", "config.json", "weights.safetensors"]
        assert sorted(os.listdir(run / "checkpoints")) == names(run)
        killed_at += 1
    assert killed_at > 20


def _kills(real: Any, counted: list[int], limit: int) -> Any:
    def call(*arguments: Any, **keywords: Any) -> Any:
        counted[0] += 1
        if counted[0] == limit + 1:
            raise Killed
        return real(*arguments, **keywords)

    return call


@pytest.mark.skipif(os.name != "posix", reason="locks are POSIX")
def test_two_processes_do_not_train_in_one_folder(tmp_path):
    with runs.alone(tmp_path):
        pid = os.fork()
        if pid == 0:
            try:
                with runs.alone(tmp_path):
                    os._exit(0)
            except CheckpointError:
                os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    with runs.alone(tmp_path):
        pass


def test_an_environment_without_a_state_is_only_reset_on_schedule(tmp_path):
    """So an end that comes in between leaves the agent, and no checkpoint that the uninterrupted run would not have had."""
    agent = PPO(gym.make("CartPole-v1"), n_steps=8, batch_size=8, hidden=())
    save_checkpoint(agent, tmp_path, keep=9)
    checkpoint = Checkpoint(tmp_path, every=16, keep=9)
    agent.learn(40, callback=checkpoint)
    checkpoint.finish(agent)
    assert list(map(steps_of, checkpoints_of(tmp_path))) == [0, 16, 32] and PPO.load(tmp_path).num_timesteps == 40


def test_a_disk_that_is_full_is_one_line(agent, tmp_path):
    (tmp_path / "run").write_text("in the way")
    for save in (lambda: save_checkpoint(agent, tmp_path / "run", 3), lambda: Plan(steps=1).write(tmp_path / "run")):
        with pytest.raises(MprlError, match="cannot be written") as caught:
            save()
        assert "\n" not in str(caught.value)
