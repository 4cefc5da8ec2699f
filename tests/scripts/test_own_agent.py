"""The example of docs/agents.md, as it stands there."""

from __future__ import annotations

import re
import sys

import gymnasium as gym
import pytest
import torch

from mprl.agents import evaluate, find_agent, load_agent

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def example(root, tmp_path, monkeypatch):
    """The example's file in an otherwise empty current folder."""
    page = (root / "docs" / "agents.md").read_text(encoding="utf-8")
    (text,) = (block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if block.startswith("# cem.py"))
    assert len(text.splitlines()) < 100
    (tmp_path / "cem.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("cem", None)


@pytest.mark.slow
def test_it_learns_to_balance_a_pole(example):
    """500 is the most there is; it starts near 10."""
    agent = find_agent("cem:CEM")(gym.make_vec("CartPole-v1", num_envs=32), seed=0).learn(60_000)
    assert evaluate(agent, gym.make_vec("CartPole-v1", num_envs=8), episodes=16)["return_mean"] > 400


@pytest.mark.slow
def test_the_command_line_trains_resumes_and_evaluates_it(example, mprl):
    words = ("--num-envs", "8", "--checkpoint-every", "500", "--agent.elite", "0.5", "--seed", "3")
    assert mprl("train", "CartPole-v1", "--agent", "cem:CEM", "--steps", "1500", "--out", "a", *words).code == 0
    assert mprl("train", "--resume", "a", "--steps", "3000").code == 0
    assert mprl("train", "CartPole-v1", "--agent", "cem:CEM", "--steps", "3000", "--out", "b", *words).code == 0
    assert torch.equal(load_agent("a").model.mean, load_agent("b").model.mean)
    done = mprl("evaluate", "a", "--episodes", "4")
    assert (done.code, done.err) == (0, "")


def test_what_is_no_agent_is_named(example, mprl):
    (example / "wrong.py").write_text("CEM = 3\n")
    (example / "broken.py").write_text("def f(:\n")
    assert "subclass of mprl.agents.Agent, found 3" in mprl("train", "CartPole-v1", "--agent", "wrong:CEM").mistake
    assert "broken.py, line 1: SyntaxError" in mprl("train", "CartPole-v1", "--agent", "broken:CEM").mistake
    assert "no module named 'missing'" in mprl("train", "CartPole-v1", "--agent", "missing:CEM").mistake
