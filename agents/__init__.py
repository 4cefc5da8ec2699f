"""Learning algorithms.

from mprl import files
from mprl.agents import PPO, evaluate, load_agent
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from mprl import files
from mprl.agents import checkpoints
from mprl.agents.a2c import A2C
from mprl.agents.agent import Agent
from mprl.agents.dqn import DQN
from mprl.agents.evaluation import evaluate
from mprl.agents.ppo import PPO
from mprl.agents.reinforce import REINFORCE
from mprl.agents.sac import SAC
from mprl.agents.tabular import ModifiedPolicyIteration, PolicyEvaluation, PolicyIteration, TabularMDP, ValueIteration
from mprl.agents.tabular.eligibility_traces import TDLambda
from mprl.agents.tabular.monte_carlo import MonteCarlo
from mprl.agents.tabular.n_step import NStepSarsa, NStepTD
from mprl.agents.tabular.planning import DynaQ, PrioritizedSweeping
from mprl.agents.tabular.temporal_difference import TD0, DoubleQLearning, ExpectedSarsa, QLearning, Sarsa
from mprl.errors import SettingError, unknown_name
from mprl.imports import user_module
from mprl.ranks import ALONE, Ranks

AGENTS: dict[str, type[Agent]] = {
    agent.name: agent
    for agent in (
        *(A2C, PPO, REINFORCE, DQN, SAC),
        *(MonteCarlo, TD0, NStepTD, TDLambda),
        *(Sarsa, ExpectedSarsa, NStepSarsa, QLearning, DoubleQLearning),
        *(DynaQ, PrioritizedSweeping),
    )
}
PLANNERS = ("value-iteration", "policy-iteration", "modified-policy-iteration", "policy-evaluation")


def find_agent(name: str) -> type[Agent]:
    """The algorithm of this name, or of `module:Class` for one of your own, whose module may lie in the current folder.

    Raises:
        UnknownNameError: there is none.
        SettingError: its module cannot be imported, or it is no `Agent`.
    """
    module, colon, own = (name := str(name)).rpartition(":")
    if not colon:
        if name in PLANNERS:
            raise SettingError(f"{name} plans in a known model and does not learn: mprl plot ENV_ID --planner {name}, or solve() in Python")
        if name not in AGENTS:
            raise unknown_name("agent", name, AGENTS, "mprl list agents")
        return AGENTS[name]
    kind = getattr(user_module(module), own, None)
    if not (isinstance(kind, type) and issubclass(kind, Agent)):
        raise SettingError(f"expected '{own}' in the module '{module}' to be a subclass of mprl.agents.Agent, found {kind!r}")
    kind.name = name  # by which a saved one is found again
    return kind


def load_agent(
    folder: str | Path,
    env: Any = None,
    device: torch.device | str = "cpu",
    training: bool = True,
    network: Any = None,
    ranks: Ranks = ALONE,
) -> Agent:
    """Load a saved agent of any kind, or a shipped one by its name; see `Agent.load`."""
    return find_agent(checkpoints.read_config(files.as_folder(folder))["agent"]).load(folder, env, device, training, network, ranks)


__all__ = [
    "AGENTS",
    "Agent",
    "evaluate",
    "find_agent",
    "load_agent",
    "A2C",
    "PPO",
    "REINFORCE",
    "DQN",
    "SAC",
    "TabularMDP",
    "PolicyEvaluation",
    "PolicyIteration",
    "ValueIteration",
    "ModifiedPolicyIteration",
    "MonteCarlo",
    "TD0",
    "NStepTD",
    "TDLambda",
    "Sarsa",
    "ExpectedSarsa",
    "NStepSarsa",
    "QLearning",
    "DoubleQLearning",
    "DynaQ",
    "PrioritizedSweeping",
]
