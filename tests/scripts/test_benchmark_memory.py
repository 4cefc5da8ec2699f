"""The benchmark of agents that are not told velocities: shares, what each agent sees, and runs that are done once."""

from __future__ import annotations

import json

import pytest

from mprl.errors import CheckpointError, SettingError
from mprl.scripts.benchmarks import memory
from mprl.scripts.benchmarks.memory import TASKS, Asked, Way


def test_a_share_is_zero_for_a_random_policy_and_one_for_the_full_state():
    # returns are negative in Pendulum, where -300 is a quarter of the way back from -150 to -750
    assert [memory.share(value, -150.0, -750.0) for value in (-750.0, -150.0, -300.0)] == [0.0, 1.0, 0.75]


def test_shares_are_of_the_median_of_the_full_state_and_memory_has_a_target():
    told, blind, remembers = Way("told", blind=False), Way("blind"), Way("remembers", history=6)
    found = memory.shares("Pendulum-v1", {told: [-100.0, -150.0, -400.0], blind: [-750.0] * 3, remembers: [-150.0, -180.0, -450.0]}, -750.0)
    assert [figure.what for figure in found] == ["Pendulum-v1, blind", "Pendulum-v1, remembers"]
    assert (found[0].ours, found[0].met) == (0.0, None)
    assert found[1].ours == pytest.approx(0.95) and found[1].rounds["ours"] == pytest.approx([1.0, 0.95, 0.5]) and found[1].met is True


WAYS = TASKS["CartPole-v1"].ways


def test_velocities_are_seen_by_the_agent_only_that_is_told_the_state():
    shapes = {way.name: memory.make_env("CartPole-v1", way, 3).single_observation_space.shape for way in WAYS}
    assert shapes[memory.STATE] == (4,) and shapes[memory.HIDDEN] == shapes[f"{memory.HIDDEN}, recurrent gru"] == (2,)
    assert shapes[f"{memory.HIDDEN}, last 6, mlp"] == shapes[f"{memory.HIDDEN}, last 6, tcn"] == (6, 2)
    humanoid = "mprl/DeepMimic-v0"
    assert memory.make_env(humanoid, TASKS[humanoid].ways[2], 1).single_observation_space.shape == (3, 185)  # of 219 numbers


def test_an_encoder_s_inputs_are_standardised_by_what_a_random_policy_sees():
    way = next(way for way in WAYS if way.encoder == "tcn")
    baseline = memory.Baseline(-1200.0, (0.5, 0.25, 9.0), (0.7, 0.6, 5.0))  # the last one is the hidden velocity
    eyes = memory.make_agent(Asked("Pendulum-v1", way.name, 0, 1), way, baseline).eyes
    assert eyes.perception.spec.mean == (0.5, 0.25) and eyes.perception.spec.std == (0.7, 0.6) and not eyes.frozen


def test_a_finished_run_is_read_back_and_only_as_it_was_asked_for(tmp_path):
    asked, found = Asked("CartPole-v1", WAYS[0].name, 0, 100), {"return_mean": 20.0, "steps": 1024.0, "minutes": 0.1}
    (tmp_path / memory.RESULT).write_text(json.dumps({"asked": memory.asdict(asked), "found": found}))
    nothing = memory.Baseline(0.0, (), ())
    assert memory.run(asked, WAYS[0], nothing, tmp_path) == found
    with pytest.raises(CheckpointError, match="another run than asked for"):
        memory.run(Asked("CartPole-v1", WAYS[0].name, 1, 100), WAYS[0], nothing, tmp_path)
    (tmp_path / memory.RESULT).write_text("{}")
    with pytest.raises(CheckpointError, match="cannot be read: 'asked'; remove it to run this again"):
        memory.run(asked, WAYS[0], nothing, tmp_path)


def test_an_environment_whose_velocities_are_not_known_is_one_line(tmp_path):
    with pytest.raises(
        SettingError, match=r"^no velocities are known of 'Acrobot-v1'; choose among CartPole-v1, Pendulum-v1, mprl/DeepMimic-v0$"
    ):
        memory.measure(["Acrobot-v1"], 1, None, tmp_path)
