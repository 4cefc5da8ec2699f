"""`mprl tune` finds settings, and goes on where it was."""

from __future__ import annotations

import re
import sys
import tomllib

import pytest

pytest.importorskip("optuna")
pytestmark = pytest.mark.usefixtures("undrawn")
TINY = ("CartPole-v1", "--agent", "ppo", "--steps", "256", "--evaluations", "2", "--episodes", "2", "--num-envs", "4")
FIXED = ("--agent.n-steps", "32", "--agent.n-epochs", "2", "--agent.hidden", "16")


def trials(out: str) -> list[str]:
    return re.findall(r"^trial (\d.*?)(?: \(best.*)?$", out, re.MULTILINE)


@pytest.mark.slow
def test_three_trials_a_table_a_preset_and_the_command_to_train_with_it(mprl, tmp_path):
    done = mprl("tune", *TINY, *FIXED, "--trials", "3", "--out", "search")
    assert (done.code, done.err) == (0, "")
    assert [line.split("/3: ")[0] for line in trials(done.out)] == ["1", "2", "3"]
    (preset,) = tomllib.loads((tmp_path / "search" / "preset.toml").read_text()).values()
    assert preset.items() >= {"num_envs": 4, "steps": 256, "hidden": [16], "n_epochs": 2}.items()
    command = re.search(r"^  mprl (train CartPole-v1 .*)$", done.out, re.MULTILINE).group(1).split()
    assert mprl(*command, "--out", "run").code == 0
    trained = (tmp_path / "run" / "config.json").read_text()
    assert f'"learning_rate": {preset["learning_rate"]}' in trained


@pytest.mark.slow
def test_interrupted_it_goes_on_to_the_same_end(mprl, tmp_path):
    whole = mprl("tune", *TINY, *FIXED, "--trials", "3", "--out", "whole")
    assert mprl("tune", *TINY, *FIXED, "--trials", "1", "--out", "parts").code == 0
    rest = mprl("tune", "--resume", "parts", "--trials", "3")
    assert [line.split("/3: ")[0] for line in trials(rest.out)] == ["2", "3"]
    assert trials(rest.out) == trials(whole.out)[1:]
    assert (tmp_path / "whole" / "preset.toml").read_text() == (tmp_path / "parts" / "preset.toml").read_text()


def test_a_search_of_which_all_trials_fail_says_why(mprl, monkeypatch):
    monkeypatch.setattr("mprl.agents.evaluation.score", lambda results: float("nan"))
    done = mprl("tune", *TINY, *FIXED, "--trials", "2", "--out", "search")
    assert trials(done.out) == ["1/2: failed: an evaluation gave nan", "2/2: failed: an evaluation gave nan"]
    assert done.mistake == "no trial came to its end; the first failed: an evaluation gave nan"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "which environment? mprl tune ENV_ID --agent NAME"),
        (("CartPole-v1", "--trials", "0"), "--trials must be at least 1, found 0"),
        (("CartPole-v1", "--evaluations", "0"), "--evaluations must be at least 1, found 0"),
        (("CartPole-v1", "--steps", "-5"), "--steps must be a positive number, found -5"),
        (("--resume", "nowhere"), "nowhere: holds no search of mprl tune"),
        (("--resume", "nowhere", "--steps", "5"), "--steps cannot be given with --resume"),
    ],
)
def test_a_mistake_is_told_in_one_line(mprl, tmp_path, words, says):
    assert mprl("tune", *words).mistake.startswith(says)
    assert list(tmp_path.iterdir()) == []


def test_without_optuna_one_line_says_how_to_get_it(mprl, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert mprl("tune", "CartPole-v1").mistake.startswith("tuning needs optuna")
    assert list(tmp_path.iterdir()) == []
