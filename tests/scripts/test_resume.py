"""A run that was stopped or killed, at whatever moment, goes on as if nothing had happened."""

from __future__ import annotations

import csv
import functools
import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete

from mprl.agents import AGENTS
from mprl.agents.agent import Agent
from mprl.agents.callbacks import RunWriter
from mprl.agents.tabular.learner import TabularLearner
from mprl.scripts.main import main

pytestmark = pytest.mark.usefixtures("undrawn")

SMALL = ("--agent.n-steps", "8", "--agent.batch-size", "16", "--agent.hidden", "8", "--seed", "5")
CARTPOLE = ("CartPole-v1", "--num-envs", "4", *SMALL, "--evaluate-every", "96")
# no step is like another: episodes of .5 s, in a library of two clips, are reset all the time
HUMANOID_ALONE = ("mprl/DeepMimic-v0", "--env.motion", "walk", "jump", "--env.time-limit", "0.5", "--env.num-threads", "1")
HUMANOID = (HUMANOID_ALONE[0], "--num-envs", "8", *SMALL, "--evaluate-every", "512", *HUMANOID_ALONE[1:])


_SLOW_TO_IMPORT = [
    "mprl.scripts.main", "mprl.scripts.train", "mprl.scripts.plots", "mprl.agents.callbacks", "mprl.envs.imitation.deepmimic",
    "mprl.envs.tabular",
    "tyro", "rich.live", "rich.progress", "torch._dynamo", "torch.utils.tensorboard.writer",
    "matplotlib.figure", "matplotlib.backends.backend_agg",
]  # fmt: skip


def table(run: Path) -> list[dict[str, str]]:
    """`metrics.csv` as text, less the wall-clock columns."""
    with (run / "metrics.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if not key.startswith("time_")} for row in csv.DictReader(file)]


def assert_same_run(one: Path, other: Path) -> None:
    assert table(one) == table(other)
    for name in ("weights.safetensors", "config.json", "best/weights.safetensors", "best/score.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


# ------------------------------------------------------------------------------------------------------------------- it goes on


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`whole(*words)` is the folder of a run of 576 steps that nothing stopped. To be read only."""

    @functools.cache
    def run(*words: str) -> Path:
        folder = tmp_path_factory.mktemp("whole") / "run"
        assert main(["train", *words, "--steps", "576", "--out", str(folder)]) == 0
        return folder

    return run


@pytest.mark.slow
@pytest.mark.parametrize("environment", [CARTPOLE, HUMANOID], ids=["reset at checkpoints", "saved"])
def test_a_run_in_three_parts_is_the_run_in_one(mprl, whole, environment):
    words = (*environment, "--checkpoint-every", "96")
    assert mprl("train", *words, "--steps", "256", "--out", "parts").code == 0
    # a process that was killed later than its last checkpoint has left more behind
    with Path("parts/metrics.csv").open("a") as file:
        file.write("99999,1,2,3\r\n12,")
    for steps in ("384", "576"):
        done = mprl("train", "--resume", "parts", "--steps", steps)
        assert (done.code, done.err) == (0, ""), done.err
        assert "Going on from step" in done.out
    assert_same_run(whole(*words), Path("parts"))
    assert done.out.count("it is reset at every checkpoint") == (environment is CARTPOLE)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
@pytest.mark.parametrize("environment", [CARTPOLE, pytest.param(HUMANOID, marks=pytest.mark.slow)], ids=["reset at checkpoints", "saved"])
def test_a_stopped_run_goes_on_too(mprl, whole, environment, monkeypatch):
    words = (*environment, "--checkpoint-every", "96")
    write = RunWriter.__call__

    def write_and_stop(self: RunWriter, agent: Any, metrics: dict[str, float]) -> None:
        write(self, agent, metrics)
        if metrics["timesteps"] == 320:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(RunWriter, "__call__", write_and_stop)
        done = mprl("train", *words, "--steps", "576", "--out", "run")
    assert done.code == 143
    # the humanoid's state is saved at once; the cart's process would have reset it, so it goes on from the last one on schedule
    assert f"To go on, from step {288 if environment is CARTPOLE else 320}: mprl train --resume run\n" in done.out
    assert json.loads(Path("run/config.json").read_text())["num_timesteps"] == 320
    assert mprl("train", "--resume", "run").code == 0
    assert_same_run(whole(*words), Path("run"))


@pytest.mark.slow
def test_a_goal_is_kept_until_another_one_is_given(mprl, trained, tmp_path):
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    expected = f"{run}: the run has come to its end; give it a new one with --steps or --minutes"
    assert mprl("train", "--resume", run).mistake == expected
    assert mprl("train", "--resume", run, "--steps", "600").mistake == expected
    assert mprl("train", "--resume", run, "--minutes", "1e-6").mistake == expected
    assert mprl("train", "--resume", run, "--steps", "1030").code == 0
    assert json.loads((run / "run.json").read_text())["steps"] == 1030
    assert json.loads((run / "config.json").read_text())["num_timesteps"] == 1536  # an iteration is 512 steps
    assert mprl("train", "--resume", run).mistake == expected


@pytest.mark.slow
def test_it_goes_on_from_a_checkpoint_that_is_named(mprl):
    assert mprl("train", *CARTPOLE, "--checkpoint-every", "64", "--steps", "320", "--out", "run").code == 0
    shutil.copytree("run", "whole")
    assert sorted(os.listdir("run/checkpoints")) == ["step_000000192", "step_000000256", "step_000000320"]
    done = mprl("train", "--resume", "run/checkpoints/step_000000192")
    assert done.code == 0 and "Going on from step 192, in run" in done.out
    assert_same_run(Path("run"), Path("whole"))


def test_as_many_threads_of_torch_as_before(mprl):
    assert mprl("train", *CARTPOLE, "--steps", "64", "--out", "run").code == 0
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before + 1)
        assert mprl("train", "--resume", "run", "--steps", "96").code == 0
        assert torch.get_num_threads() == before
    finally:
        torch.set_num_threads(before)


# --------------------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--resume", "nowhere"], "nowhere: no such run folder"),
        (["--resume"], "resume"),
        (["--resume", "x", "--seed", "1"], "--seed cannot be given with --resume: the run goes on as it was begun; only --steps, "),
        (["CartPole-v1", "--resume", "x"], "CartPole-v1 cannot be given with --resume"),
        (["--resume=x", "--agent.hidden=3"], "--agent.hidden cannot be given with --resume"),
        (["--resume", "x", "--steps", "1", "--minutes", "1"], "give --steps or --minutes, not both"),
        (["--resume", "x", "--steps", "-3"], "--steps must be a positive number, found -3"),
        (["CartPole-v1", "--checkpoint-every", "0"], "--checkpoint-every must be at least 1, found 0"),
        (["CartPole-v1", "--evaluate-every", "-1"], "--evaluate-every must be at least 0, found -1"),
    ],
)  # fmt: skip
def test_mistakes(mprl, words, expected):
    assert expected in mprl("train", *words).mistake


def test_a_broken_checkpoint_is_refused_and_the_one_before_is_named(mprl):
    assert mprl("train", *CARTPOLE, "--checkpoint-every", "64", "--steps", "192", "--out", "run").code == 0
    newest, before = (Path(f"run/checkpoints/step_000000{step}") for step in (192, 128))
    shutil.copy(before / "training.safetensors", newest)
    line = mprl("train", "--resume", "run", "--steps", "256").mistake
    assert line.startswith(f"{newest}/training.safetensors: is not the file that was saved with training.json")
    assert line.endswith(f"from the checkpoint before: mprl train --resume {before}")
    assert mprl("train", "--resume", before, "--steps", "256").code == 0
    assert sorted(os.listdir("run/checkpoints")) == ["step_000000128", "step_000000192", "step_000000256"]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda run: shutil.rmtree(run / "checkpoints"), "holds no checkpoint to go on from"),
        (lambda run: (run / "run.json").unlink(), "run.json is missing"),
        (lambda run: (run / "run.json").write_text("{"), "run.json: expected JSON"),
        (lambda run: (run / "metrics.csv").write_text("nothing\n"), "metrics.csv: expected a table"),
    ],
)
def test_what_a_run_cannot_go_on_without(mprl, trained, tmp_path, spoil, says):
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    spoil(run)
    assert says in mprl("train", "--resume", run, "--steps", "2000").mistake


# ------------------------------------------------------------------------------------------------------------------------ kills


def run_and_kill(words: list[str], kills: int, choose: random.Random) -> int:
    """Run in `whole`, and in `killed`, whose processes are killed: half of them anywhere, the others while a checkpoint is being written.

    Returns:
        How many kills left half a checkpoint.
    """
    killed = Path("killed")
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(_SLOW_TO_IMPORT)

    def start(*words: str) -> Any:
        process = processes.Process(target=_run, args=(["train", *words],))
        process.start()
        return process

    begun = start(*words, "--out", "whole")
    writing = 0
    for kill in range(kills):
        begin_anew = not (killed / "checkpoints" / "step_000000000").exists() and not table_length(killed)
        if begin_anew:
            shutil.rmtree(killed, ignore_errors=True)
        process = start(*words, "--out", str(killed)) if begin_anew else start("--resume", str(killed))
        while_writing = kill % 2 == 1
        rows = table_length(killed) + choose.randrange(1, 5)
        while process.is_alive() and not (_is_writing(killed) if while_writing else table_length(killed) >= rows):
            time.sleep(0.0002)
        time.sleep(choose.uniform(0, 0.003 if while_writing else 0.03))
        assert process.is_alive(), f"the run came to its end before it was killed {kills} times"
        process.kill()
        process.join()
        writing += _is_writing(killed)
    last = start("--resume", str(killed))
    for process in (begun, last):
        process.join()
        assert process.exitcode == 0
    return writing


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
@pytest.mark.parametrize("environment", [CARTPOLE, HUMANOID], ids=["reset at checkpoints", "saved"])
def test_killed_at_six_random_moments_the_metrics_are_the_same(environment, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    iteration = 8 * int(environment[2])
    words = [*environment, "--checkpoint-every", str(2 * iteration), "--steps", str(30 * iteration)]
    assert run_and_kill(words, 6, random.Random(0)) >= 1
    assert len(table(Path("whole"))) == 30
    assert_same_run(Path("whole"), Path("killed"))


def environment_for(kind: type[Agent], has_state: bool) -> tuple[str, ...]:
    """One that the agent can learn in, and whose state can be saved or not."""
    if issubclass(kind, TabularLearner) or (has_state and Discrete in kind.action_spaces):
        return ("FrozenLake-v1" if has_state else "Blackjack-v1",)
    return HUMANOID_ALONE if has_state else ("CartPole-v1" if Discrete in kind.action_spaces else "Pendulum-v1",)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
@pytest.mark.parametrize(
    ("name", "has_state"),
    [
        ("ppo", False), ("reinforce", True), ("dqn", True), ("sac", False), ("monte-carlo", True), ("n-step-sarsa", False),
        ("prioritized-sweeping", True),
    ],
)  # fmt: skip
def test_agents_killed_at_random_moments_go_on_to_the_same_end(name, has_state, small, tmp_path, monkeypatch):
    """The replay memory, the tables and what they remember of open episodes included. All the others: tests/agents/test_every_agent.py."""
    kind = AGENTS[name]
    monkeypatch.chdir(tmp_path)
    settings = [f"--agent.{name.replace('_', '-')}={one}" for name, value in small(kind).items() for one in np.atleast_1d(value)]
    words = [*environment_for(kind, has_state), "--agent", kind.name, "--num-envs", "4", *settings, "--seed", "2"]
    run_and_kill([*words, "--checkpoint-every", "128", "--evaluate-every", "1000", "--steps", "2000"], 3, random.Random(kind.name))
    assert len(table(Path("whole"))) >= 10
    assert_same_run(Path("whole"), Path("killed"))


def _run(words: list[str]) -> None:
    torch.set_num_threads(1)
    raise SystemExit(main(words))


def table_length(run: Path) -> int:
    path = run / "metrics.csv"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _is_writing(run: Path) -> bool:
    return any((run / "checkpoints").glob(".step_*"))
