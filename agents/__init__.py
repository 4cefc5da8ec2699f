"""Learning algorithms.

    from mprl.agents import PPO, evaluate, load_agent
"""

from mprl.agents.agent import Agent
from mprl.agents.ppo import PPO

AGENTS: dict[str, type[Agent]] = {agent.name: agent for agent in (PPO,)}

__all__ = ["AGENTS", "PPO", "Agent"]
