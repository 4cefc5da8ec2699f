"""An exported file gives the actions of the agent that it was made from, wherever it runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces as kinds

from mprl.agents import DQN, PPO, SAC, QLearning, spaces
from mprl.agents.descriptions import to_space
from mprl.agents.export import METADATA, export
from mprl.errors import MprlError, SettingError

BOX = kinds.Box(np.array([-2.0, 0.0, 5.0], np.float32), np.array([2.0, 1.0, 9.0], np.float32))
SEEN = kinds.Box(-10.0, 50.0, (4,), np.float32)
CASES = {
    "discrete": (SEEN, kinds.Discrete(5, start=-2)),
    "bounded box": (SEEN, BOX),
    "unbounded box": (kinds.Box(-1, 1, (2, 3)), kinds.Box(-np.inf, np.inf, (2, 2))),
    "choices": (kinds.Discrete(7, start=3), kinds.MultiDiscrete([2, 5, 3], start=[1, 0, -1])),
    "bits": (kinds.Dict({"a": SEEN, "b": kinds.MultiDiscrete([3, 4])}), kinds.MultiBinary([2, 3])),
}


class Anything(gym.Env[Any, Any]):
    """Random observations in any space, for actions in any."""

    def __init__(self, observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> None:
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert action in self.action_space
        return self.observation_space.sample(), float(np.sum(action)), bool(self.np_random.random() < 0.1), False, {}


def trained(case: str, **settings: Any) -> PPO:
    agent = PPO(Anything(*CASES[case]), n_steps=32, batch_size=16, hidden=(16, 16), activation="tanh", learning_rate=0.01, **settings)
    return agent.learn(96)


def observed(agent: Any, count: int) -> tuple[Any, np.ndarray[Any, Any]]:
    """Observations as the environment gives them, and flat."""
    batch = gym.vector.utils.batch_space(agent.observation_space, count)
    batch.seed(1)
    observation = batch.sample()
    return observation, spaces.flatten(agent.observation_space, observation).numpy()


def loaded(path: Path) -> Callable[[Any], Any]:
    if path.suffix == ".pt2":
        module = torch.export.load(path).module()
        return lambda flat: module(torch.as_tensor(flat)).numpy()
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == ["observation"] and [o.name for o in session.get_outputs()] == ["action"]
    return lambda flat: session.run(None, {"observation": flat})[0]


def assert_same(path: Path, agent: Any) -> None:
    run = loaded(path)
    for count in (1, 3, 400):
        observation, flat = observed(agent, count)
        expected = agent.predict(observation, deterministic=True)[0]
        found = run(flat)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found.astype(expected.dtype), expected, rtol=1e-5, atol=1e-5)
        assert count < 400 or len(np.unique(expected, axis=0)) > 1  # a policy that tells nothing apart would prove nothing


def assert_description(agent: Any, about: dict[str, str]) -> None:
    assert (about["agent"], about["env_id"], about["num_timesteps"]) == ("ppo", "Anything", "96")
    assert to_space(json.loads(about["observation_space"])) == agent.observation_space
    assert to_space(json.loads(about["action_space"])) == agent.action_space


@pytest.mark.slow
@pytest.mark.parametrize("case", ["bits", *(pytest.param(name, marks=pytest.mark.slow) for name in CASES if name != "bits")])
def test_a_program_of_torch_gives_the_same_actions(case, tmp_path):
    agent = trained(case)
    assert_same(export(agent, tmp_path / "policy.pt2"), agent)


@pytest.mark.slow  # of importing onnxscript
@pytest.mark.parametrize("case", ["choices", "bits", "bounded box"])
def test_onnx_gives_the_same_actions_and_says_what_it_is(case, tmp_path):
    pytest.importorskip("onnxscript")
    agent = trained(case)
    path = export(agent, tmp_path / "policy.onnx")
    assert_same(path, agent)
    onnx = pytest.importorskip("onnx")
    assert_description(agent, {item.key: item.value for item in onnx.load(path).metadata_props})


FAST = dict(learning_starts=32, iteration_steps=64, batch_size=32, learning_rate=0.01, averaging="ema 0.5")


@pytest.mark.slow
def test_a_network_of_action_values_gives_the_best_action(tmp_path):
    agent = DQN(Anything(SEEN, kinds.Discrete(5, start=-2)), hidden=(16, 16), dueling=True, **FAST).learn(128)
    assert_same(export(agent, tmp_path / "policy.pt2"), agent)


@pytest.mark.slow
def test_a_policy_inside_bounds_gives_its_mode(tmp_path):
    agent = SAC(Anything(SEEN, BOX), hidden=(16, 16), **FAST).learn(128)
    assert_same(export(agent, tmp_path / "policy.pt2"), agent)


@pytest.mark.slow
def test_off_policy_agents_go_to_onnx_too(tmp_path):
    pytest.importorskip("onnxscript")
    agent = SAC(Anything(SEEN, BOX), hidden=(16,), **FAST).learn(128)
    assert_same(export(agent, tmp_path / "policy.onnx"), agent)


def test_the_averaged_weights_are_those_that_are_exported(tmp_path):
    agent = trained("bounded box", averaging="ema 0.9", normalize_observations=False)
    assert_same(export(agent, tmp_path / "policy.pt2"), agent)


@pytest.mark.parametrize("seen", [kinds.Discrete(6, start=2), kinds.Tuple((kinds.Discrete(3), kinds.Discrete(2)))])
def test_a_table_is_looked_up(seen, tmp_path):
    agent = QLearning(Anything(seen, kinds.Discrete(4, start=1)), iteration_steps=50)
    agent.learn(500)
    agent.table["action_values"][:] = np.random.default_rng(0).normal(size=agent.table["action_values"].shape)
    assert_same(export(agent, tmp_path / "policy.pt2"), agent)


def test_the_file_says_what_it_is(tmp_path):
    agent = trained("choices")
    held = {METADATA: ""}
    torch.export.load(export(agent, tmp_path / "policy.pt2"), extra_files=held)
    assert_description(agent, json.loads(held[METADATA]))


def test_learning_on_does_not_change_what_was_exported(tmp_path):
    agent = trained("bounded box")
    policy, flat = agent.policy_module(), torch.as_tensor(observed(agent, 5)[1])
    before = policy(flat)
    agent.learn(64)
    assert torch.equal(policy(flat), before) and not torch.equal(agent.policy_module()(flat), before)
    assert not before.requires_grad


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(SettingError, match=r"a policy is written as \.onnx or \.pt2, not '\.pth'"):
        export(trained("discrete"), tmp_path / "policy.pth")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MprlError, match=r"\.onnx files need onnx.*") as caught:
        export(trained("discrete"), tmp_path / "policy.onnx")
    assert "pip install" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_file_runs_without_mprl(tmp_path):
    path = export(trained("bounded box"), tmp_path / "policy.pt2")
    run = f"import sys, torch; policy = torch.export.load({str(path)!r}).module(); print(policy(torch.zeros(2, 4)).shape)"
    code = f"{run}; assert 'mprl' not in sys.modules"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "torch.Size([2, 3])\n", done.stderr
