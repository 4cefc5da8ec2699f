"""Learning algorithms.

from mprl.agents import PPO, evaluate, load_agent
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from mprl.agents.a2c import A2C
from mprl.agents.agent import Agent
from mprl.agents.checkpoints import read_config
from mprl.agents.dqn import DQN
from mprl.agents.evaluation import evaluate
from mprl.agents.ppo import PPO
from mprl.agents.reinforce import REINFORCE
from mprl.agents.tabular import ModifiedPolicyIteration, PolicyEvaluation, PolicyIteration, TabularMDP, ValueIteration
from mprl.agents.tabular.temporal_difference import TD0, DoubleQLearning, ExpectedSarsa, QLearning, Sarsa
from mprl.errors import unknown_name

AGENTS: dict[str, type[Agent]] = {
    agent.name: agent
    for agent in (
        *(A2C, PPO, REINFORCE, DQN),
        *(TD0, Sarsa, ExpectedSarsa, QLearning, DoubleQLearning),
    )
}


def load_agent(folder: str | Path, env: Any = None, device: torch.device | str = "cpu", training: bool = True) -> Agent:
    """Load a saved agent of any kind; see `Agent.load`."""
    name = read_config(Path(folder))["agent"]
    if name not in AGENTS:
        raise unknown_name("agent", str(name), AGENTS, "mprl list agents")
    return AGENTS[name].load(folder, env, device, training)


__all__ = [
    "AGENTS",
    "Agent",
    "evaluate",
    "load_agent",
    "A2C",
    "PPO",
    "REINFORCE",
    "DQN",
    "TabularMDP",
    "PolicyEvaluation",
    "PolicyIteration",
    "ValueIteration",
    "ModifiedPolicyIteration",
    "TD0",
    "Sarsa",
    "ExpectedSarsa",
    "QLearning",
    "DoubleQLearning",
]
