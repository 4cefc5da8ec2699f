"""`mprl export` writes the policy of a run folder."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch

from mprl.agents import PPO


@pytest.fixture
def run_folder(tmp_path):
    agent = PPO(gym.make("Pendulum-v1"), n_steps=16, batch_size=16, hidden=(8,)).learn(32)
    agent.save(tmp_path / "run")
    return agent


@pytest.mark.slow
def test_the_file_acts_as_the_agent(mprl, run_folder, tmp_path):
    done = mprl("export", "run", "policy.pt2")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("wrote policy.pt2: observation (batch, 3) float32 to action (batch, ...) of Pendulum-v1")
    observation = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    expected = run_folder.predict(observation, deterministic=True)[0]
    found = torch.export.load(tmp_path / "policy.pt2").module()(torch.as_tensor(observation)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "missing: DIR"),
        (("run", "policy.bin"), "policy.bin: a policy is written as .onnx or .pt2, not '.bin'"),
        (("nowhere", "policy.pt2"), "nowhere: no such run folder"),
        (("run", "nowhere/policy.pt2"), "nowhere/policy.pt2: the folder nowhere does not exist; make it first"),
    ],
)
def test_a_mistake_is_told_in_one_line(mprl, run_folder, tmp_path, words, says):
    assert mprl("export", *words).mistake.startswith(says)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
