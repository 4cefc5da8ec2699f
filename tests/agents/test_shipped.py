"""The trained agents that ship: they are found by name, small, and still as good as their cards say with the MuJoCo that is installed."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

from mprl.agents import PPO, evaluate, load_agent, shipped
from mprl.agents.checkpoints import read, read_config
from mprl.errors import CheckpointError, UnknownNameError
from mprl.motion import motions
from mprl.scripts.evaluate import picture

NAMES = shipped.names()


def environment(name: str, worlds: int, **changes):
    config = read_config(Path(name))
    return gym.make_vec(config["env_id"], num_envs=worlds, num_threads=1, output="torch", **{**config["env_kwargs"], **changes})


@pytest.mark.parametrize("name", NAMES)
def test_each_is_small_and_has_a_card(name):
    folder, card = shipped.TRAINED / name, shipped.card(name)
    assert (folder / "weights.safetensors").stat().st_size <= 1_000_000
    assert card["name"] == name and card["clip"] in motions() and card["normalized_return"] >= 0.7
    assert card["samples"] == read_config(folder)["num_timesteps"] and card["command"].startswith("mprl train ")
    assert all(key in card for key in ("minutes", "machine", "commit", "versions"))
    assert "/" not in json.dumps(read_config(folder)["env_kwargs"])  # nothing of the machine that it was trained on


def test_a_name_is_as_good_as_a_folder(tmp_path, monkeypatch):
    agent, same = PPO.load("walk"), load_agent(shipped.TRAINED / "walk")
    seen = np.random.default_rng(0).normal(size=(3, *agent.observation_space.shape)).astype(np.float32)
    assert np.array_equal(agent.predict(seen, deterministic=True)[0], same.predict(seen, deterministic=True)[0])
    monkeypatch.chdir(tmp_path)
    Path("walk").mkdir()  # a folder without an agent is not meant
    assert read_config(Path("walk"))["agent"] == "ppo"
    shutil.copyfile(shipped.TRAINED / "walk" / "config.json", "walk/config.json")  # one with an agent goes first
    with pytest.raises(CheckpointError, match=r"walk/weights\.safetensors: no such file"):
        load_agent("walk")


def test_an_unknown_name_is_told_with_the_nearest():
    with pytest.raises(CheckpointError, match=r"^wlak: no such run folder, and no trained agent of that name; did you mean 'walk'\?"):
        load_agent("wlak")
    with pytest.raises(CheckpointError, match=r"^runs/walk: no such run folder$"):
        load_agent("runs/walk")
    with pytest.raises(UnknownNameError, match="no trained agent named 'wlak'; did you mean 'walk'"):
        shipped.card("wlak")


def test_only_what_acts_is_shipped_and_the_rest_is_learned_anew(tmp_path):
    config, weights = read(Path("walk"))
    assert config["left_out"] == ["model.critic"] and not any(key.startswith("model.critic.") for key in weights)
    with closing(environment("walk", 2)) as env:
        agent = PPO.load("walk", env)
        before = agent.num_timesteps
        agent.learn(2 * agent.settings.n_steps)
        assert agent.num_timesteps > before
        whole = load_agent(agent.save(tmp_path))  # what learned on is a whole agent again
    assert torch.equal(whole.model.critic[0].weight, agent.model.critic[0].weight)


def test_weights_that_are_missing_without_a_word_are_an_error(tmp_path):
    shutil.copytree(shipped.TRAINED / "walk", tmp_path / "own")
    config = json.loads((tmp_path / "own" / "config.json").read_text())
    (tmp_path / "own" / "config.json").write_text(json.dumps({**config, "left_out": []}))
    with pytest.raises(CheckpointError, match=r"do not fit together: .*critic"):
        load_agent(tmp_path / "own")


def test_the_walk_still_walks():
    with closing(environment("walk", 4, time_limit=3.0)) as env:
        found = evaluate(load_agent("walk", env, training=False), env, episodes=4)
    assert found["fall_rate"] == 0 and found["normalized_return"] >= shipped.card("walk")["normalized_return"] - 0.05


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_each_still_reaches_what_its_card_says(name):
    with closing(environment(name, 16, time_limit=8.0)) as env:
        found = evaluate(load_agent(name, env, training=False), env, episodes=16)
    assert found["normalized_return"] == pytest.approx(shipped.card(name)["normalized_return"], abs=0.1)


def test_pictures_of_an_evaluation_are_left_where_one_is_and_not_in_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    shutil.copyfile(shipped.TRAINED / "walk" / "config.json", "run/config.json")
    assert picture(Path("walk"), "failures") == Path("walk_failures.png")
    assert picture(Path("run"), "error_over_phase") == Path("run/phase_error.png")
