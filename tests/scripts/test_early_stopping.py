"""A run may end early by what its evaluations say, and is filmed where that is asked for; both go on with it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("undrawn")

SMALL = ("CartPole-v1", "--num-envs", "4", "--agent.n-steps", "8", "--agent.batch-size", "16", "--agent.hidden", "8", "--seed", "5")
SMALL = (*SMALL, "--evaluate-every", "32", "--checkpoint-every", "96")


def last_step(run: str) -> int:
    with Path(run, "metrics.csv").open(newline="") as file:
        return int([row["timesteps"] for row in csv.DictReader(file)][-1])


def evaluations(run: str) -> list[float]:
    with Path(run, "metrics.csv").open(newline="") as file:
        return [float(row["evaluation_return_mean"]) for row in csv.DictReader(file)]


def test_it_ends_when_an_evaluation_reaches_the_score_and_says_so_when_it_is_resumed(mprl):
    done = mprl("train", *SMALL, "--steps", "960", "--stop-at", "1", "--out", "run")
    assert done.code == 0 and last_step("run") == 32
    assert "Learning ends after 32 steps: an evaluation gave " in done.out
    mistake = mprl("train", "--resume", "run").mistake
    assert mistake.startswith("run: the run ended early: an evaluation gave ") and "--stop-at (inf: none)" in mistake
    assert mprl("train", "--resume", "run", "--stop-at", "inf", "--steps", "96").code == 0
    assert last_step("run") == 96 and json.loads(Path("run/run.json").read_text())["stop_at"] is None


@pytest.mark.slow
def test_patience_is_the_same_in_a_run_that_was_interrupted(mprl):
    """Stopped at the end of its steps in the middle of a row of evaluations without anything better."""
    words = (*SMALL, "--patience", "5")
    assert mprl("train", *words, "--steps", "9600", "--out", "whole").code == 0
    end, scores = last_step("whole"), evaluations("whole")
    assert end < 9600 and max(scores[:-5]) == max(scores) and scores.index(max(scores)) == len(scores) - 6
    assert mprl("train", *words, "--steps", str(end - 64), "--out", "parts").code == 0
    assert mprl("train", "--resume", "parts", "--steps", "9600").code == 0
    assert evaluations("parts") == scores
    assert Path("whole/weights.safetensors").read_bytes() == Path("parts/weights.safetensors").read_bytes()


@pytest.mark.slow
def test_films_are_made_at_the_beginning_and_on_schedule(mprl):
    pytest.importorskip("pygame")
    done = mprl("train", *SMALL, "--steps", "64", "--video-every", "64", "--out", "run")
    assert done.code == 0 and "run/videos" in done.out
    assert sorted(path.name for path in Path("run/videos").iterdir()) == [f"step_{n:09d}.mp4" for n in (0, 64)]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--stop-at", "nan"), "--stop-at must be a number, found nan"),
        (("--patience", "-1"), "--patience must be at least 0, found -1"),
        (("--video-every", "-1"), "--video-every must be at least 0, found -1"),
        (("--patience", "3", "--evaluate-every", "0"), "--stop-at and --patience go by evaluations: give --evaluate-every too"),
    ],
)
def test_a_mistake_is_told_in_one_line(mprl, tmp_path, words, says):
    assert mprl("train", "CartPole-v1", *words).mistake == says
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_evaluations_end_a_run_also_where_episodes_may_never_end(mprl, monkeypatch):
    """The cliff's own form in Gymnasium has no limit of steps. What nobody has taught walks into a wall for ever."""
    monkeypatch.setattr("mprl.agents.evaluation.LONGEST", 500)
    words = ("CliffWalking-v1", "--agent", "sarsa", "--num-envs", "2", "--agent.iteration-steps", "2", "--evaluate-every", "4")
    done = mprl("train", *words, "--seed", "1", "--steps", "64", "--patience", "2", "--out", "run")
    assert done.code == 0 and "no better than the best before them, -500" in done.out
    assert done.out.count("cut episodes off that did not end") == 1
    assert last_step("run") == 12 and evaluations("run") == [-500] * 3
    done = mprl("evaluate", "run", "--episodes", "3", "--max-episode-steps", "50", "--json", "found.json")
    assert (done.code, done.err) == (0, "") and "3 of 3 episodes did not end within 50 steps: they were cut off there" in done.out
    found = json.loads(Path("found.json").read_text())
    assert (found["return_mean"], found["length_mean"], found["episodes_cut_off"]) == (-50, 50, 3)
    assert mprl("evaluate", "run", "--max-episode-steps", "0").mistake == "--max-episode-steps must be at least 1, found 0"
