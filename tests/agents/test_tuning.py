"""A search finds what is there to find, gives up what is behind, and goes on after an interruption to the same end."""

from __future__ import annotations

import itertools
import math
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from mprl.agents import AGENTS, PPO
from mprl.agents.tuning import STUDY, Study, as_toml, later_half, learn_and_score, search_space
from mprl.errors import MissingPackageError, SettingError

pytest.importorskip("optuna")
SPACE = {
    "learning_rate": {"from": 1e-5, "to": 1e-1, "log": True},
    "n_epochs": {"from": 1, "to": 20, "whole": True},
    "hidden": {"choices": [[64], [64, 64]]},
}


def quality(settings: dict[str, Any]) -> float:
    """Best at a step size of 1e-3, with many epochs and two layers."""
    return -((math.log10(settings["learning_rate"]) + 3) ** 2) + settings["n_epochs"] / 20 + len(settings["hidden"])


def attempt(settings: dict[str, Any], report: Callable[[list[float]], bool]) -> list[float]:
    scores = [quality(settings)]
    report(scores)
    return scores


def proposals(study: Study, count: int) -> list[Any]:
    for _ in range(count):
        study.run(attempt)
    return [(outcome.settings, outcome.score) for outcome in study.outcomes()]


@pytest.mark.slow
def test_the_estimator_comes_near_the_best_settings(tmp_path):
    study = Study(tmp_path, SPACE)
    proposals(study, 30)
    best = study.best()
    assert best.settings["hidden"] == [64, 64] and 2.5e-4 < best.settings["learning_rate"] < 4e-3 and best.settings["n_epochs"] > 12
    later = [outcome.score for outcome in study.outcomes()[20:]]
    assert sum(later) / 10 > sum(outcome.score for outcome in study.outcomes()[:10]) / 10 + 0.5  # it learns where to look


def test_settings_are_of_the_space_and_can_be_written_down(tmp_path):
    for settings, _ in proposals(Study(tmp_path, SPACE), 12):
        assert 1e-5 <= settings["learning_rate"] <= 1e-1 and float(f"{settings['learning_rate']:.3g}") == settings["learning_rate"]
        assert isinstance(settings["n_epochs"], int) and 1 <= settings["n_epochs"] <= 20 and settings["hidden"] in ([64], [64, 64])
        assert tomllib.loads("\n".join(as_toml(settings))) == settings


def test_interrupted_between_two_trials_it_goes_on_to_the_same_end(tmp_path):
    (tmp_path / "whole").mkdir(), (tmp_path / "parts").mkdir()
    whole = proposals(Study(tmp_path / "whole", SPACE, seed=5), 14)
    for count in (3, 9, 2):
        parts = proposals(Study(tmp_path / "parts", SPACE, seed=5), count)
    assert parts == whole
    assert proposals(Study(tmp_path / "whole", SPACE, seed=5), 0) == whole


def test_another_process_joins_a_search(tmp_path):
    """It tries other settings meanwhile, and both know what came of all; each says of its own trial what came of it."""
    first, found = Study(tmp_path, SPACE), {}

    def beside(settings: dict[str, Any], report: Any) -> list[float]:
        second = Study(tmp_path, SPACE, joins=True)
        found["second"] = second.run(attempt)
        found["begun"] = second.begun()
        return attempt(settings, report)

    found["first"] = first.run(beside)
    assert found["begun"] == 2 and found["first"].state == found["second"].state == "complete"
    assert [outcome.settings for outcome in first.outcomes()] == [found["first"].settings, found["second"].settings]
    assert found["first"].settings != found["second"].settings


@pytest.mark.parametrize("how", ["stopped", "killed", "killed while it wrote"])
def test_interrupted_within_a_trial_it_tries_the_same_settings_again(tmp_path, how):
    (tmp_path / "whole").mkdir(), (tmp_path / "parts").mkdir()
    whole = proposals(Study(tmp_path / "whole", SPACE), 12)
    study = Study(tmp_path / "parts", SPACE)
    proposals(study, 11)

    def interrupted(settings: dict[str, Any], report: Any) -> None:
        if how != "stopped":
            raise KeyboardInterrupt

    if how == "stopped":
        assert study.run(interrupted) is None
    else:
        with pytest.raises(KeyboardInterrupt):
            study.run(interrupted)
    if how == "killed while it wrote":
        with (tmp_path / "parts" / STUDY).open("a") as file:
            file.write('{"op_code":6,"worker')
    assert proposals(Study(tmp_path / "parts", SPACE), 1) == whole


def test_a_trial_behind_the_median_at_its_evaluation_is_given_up(tmp_path):
    study, qualities = Study(tmp_path, SPACE), itertools.chain((1.0, 2.0, 3.0, 4.0, 5.0), (2.9, 3.1))
    given_up = []

    def evaluated(settings: dict[str, Any], report: Callable[[list[float]], bool]) -> list[float]:
        level, scores = next(qualities), []
        for _ in range(3):
            scores.append(level)
            if not report(scores):
                given_up.append(level)
                break
        return scores

    for _ in range(7):
        outcome = study.run(evaluated)
    assert given_up == [2.9]  # after the first five, which are the yardstick; the median of 1 ... 5 is 3
    assert (study.outcomes()[5].state, study.outcomes()[5].evaluations) == ("pruned", (2.9, 2.9))
    assert outcome.state == "complete" and study.best().score == 5


def test_a_trial_that_fails_is_told_and_the_search_goes_on(tmp_path):
    def fail(settings: dict[str, Any], report: Any) -> list[float]:
        raise SettingError("batch_size must be positive,\nfound 0")

    study = Study(tmp_path, SPACE)
    failed = study.run(fail)
    assert (failed.state, failed.error) == ("failed", "batch_size must be positive, found 0") and math.isnan(failed.score)
    assert study.best() is None
    study.run(attempt)
    assert [outcome.state for outcome in Study(tmp_path, SPACE).outcomes()] == ["failed", "complete"]


def test_a_bug_of_ours_is_no_failed_trial(tmp_path):
    def broken(settings: dict[str, Any], report: Any) -> list[float]:
        raise AttributeError("no such thing")

    with pytest.raises(AttributeError):
        Study(tmp_path, SPACE).run(broken)


def test_a_file_that_is_no_study_is_refused_in_one_line(tmp_path):
    (tmp_path / STUDY).write_text('{"something": "else"}\n')
    with pytest.raises(SettingError, match=r"study\.jsonl: is not the file of a study"):
        Study(tmp_path, SPACE)


def test_the_score_is_the_mean_of_the_later_half():
    assert later_half([1.0, 9.0, 2.0, 3.0, 7.0]) == 4 and later_half([1.0, 9.0]) == 9 and later_half([3.0]) == 3


def test_an_agent_is_evaluated_at_equal_intervals_until_nobody_wants_to_know_more():
    env = gym.make_vec("CartPole-v1", num_envs=2)
    settings = dict(n_steps=8, batch_size=16, hidden=(4,))
    at: list[int] = []
    evaluation = lambda agent: (at.append(agent.num_timesteps), float(len(at)))[1]  # noqa: E731
    assert learn_and_score(PPO(env, **settings), 160, 5, evaluation, lambda scores: True) == [1, 2, 3, 4, 5]
    assert at == [32, 64, 96, 128, 160]
    assert learn_and_score(PPO(env, **settings), 160, 5, evaluation, lambda scores: len(scores) < 2) == [6, 7]
    with pytest.raises(ArithmeticError, match="gave nan"):
        learn_and_score(PPO(env, **settings), 160, 5, lambda agent: math.nan, lambda scores: True)


@pytest.mark.parametrize("name", tomllib.loads((Path(sys.modules[PPO.__module__].__file__).parent / "presets" / "search.toml").read_text()))
def test_every_search_space_has_settings_that_its_agent_takes(name):
    kind = AGENTS[name]
    for setting, where in search_space(kind).items():
        for value in where["choices"] if "choices" in where else (where["from"], where["to"]):
            kind._make_settings({setting: value})


def test_an_agent_of_ones_own_brings_its_own_search_space(tmp_path):
    class Mine(PPO):
        name = "mine:Mine"

    with pytest.raises(SettingError, match=r"no search space for 'mine:Mine' .* give your own with --space FILE"):
        search_space(Mine)
    path = tmp_path / "space.toml"
    path.write_text('["mine:Mine"]\ngamma = { from = 0.9, to = 0.99 }\n')
    assert search_space(Mine, path) == {"gamma": {"from": 0.9, "to": 0.99}}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[ppo", "space.toml: expected TOML"),
        ("[pppo]", r"space\.toml: no search space for 'ppo'; did you mean 'pppo'\?"),
        ("[ppo]\ngama = { from = 0.9, to = 0.99 }", "ppo has no setting 'gama'; did you mean 'gamma'"),
        ("[ppo]\ngamma = 0.9", "gamma must be {from"),
        ("[ppo]\ngamma = { from = 0.99, to = 0.9 }", "gamma must be {from"),
        ("[ppo]\ngamma = { from = 0.9, to = 0.99, step = 2 }", "gamma must be {from"),
        ("[ppo]\ngamma = { from = 'a', to = 0.99 }", "gamma must be {from"),
        ("[ppo]\ngamma = { from = 0, to = 0.99, log = true }", "gamma must be {from"),
        ("[ppo]\ngamma = { choices = 0.9 }", "gamma must be {from"),
    ],
)
def test_a_search_space_that_cannot_be_is_refused(tmp_path, text, says):
    (tmp_path / "space.toml").write_text(text)
    with pytest.raises(SettingError, match=says):
        search_space(PPO, tmp_path / "space.toml")


def test_without_optuna_one_line_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingPackageError, match=r"^tuning needs optuna.*pip install 'mprl\[tune\]'|^tuning needs optuna"):
        Study(tmp_path, SPACE)
