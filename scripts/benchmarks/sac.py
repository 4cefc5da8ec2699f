"""SAC in Hopper beside Stable-Baselines3's: the same settings, seed and budget."""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym

from mprl.scripts.benchmarks.deep import without_preset
from mprl.scripts.benchmarks.environment import Measured
from mprl.scripts.benchmarks.report import Figure, medians

ENVIRONMENT, EVERY, EPISODES = "Hopper-v5", 10_000, 10
SETTINGS: dict[str, Any] = dict(
    learning_rate=3e-4, buffer_size=1_000_000, learning_starts=10_000, batch_size=256, tau=0.005, gamma=0.99, train_freq=1, gradient_steps=1
)


def measure(steps: int, seed: int, threads: int) -> Measured:
    """SAC from one seed with one budget: best and last return, and speed, of ours and of Stable-Baselines3's, in turn.

    Args:
        steps: environment steps of each.
        seed: of both.
        threads: of torch, for the record.
    """
    from stable_baselines3 import SAC as TheirSAC

    from mprl.agents import SAC

    with without_preset(SAC):
        ours = SAC(gym.make(ENVIRONMENT), seed=seed, **SETTINGS)
    theirs = TheirSAC("MlpPolicy", gym.make(ENVIRONMENT), seed=seed, device="cpu", **SETTINGS)
    learners: dict[str, tuple[Any, dict[str, Any]]] = {"ours": (ours, {}), "peer": (theirs, {"reset_num_timesteps": False})}
    returns: dict[str, list[float]] = {who: [] for who in learners}
    rates: dict[str, list[float]] = {who: [] for who in learners}
    for _ in range(0, steps, EVERY):
        for who, (learner, more) in learners.items():
            before, began = learner.num_timesteps, time.perf_counter()
            learner.learn(EVERY, **more)
            rates[who].append((learner.num_timesteps - before) / (time.perf_counter() - began))
            returns[who].append(_play(learner))
            print(f"{who} {learner.num_timesteps:,} steps: return {returns[who][-1]:.0f}, {rates[who][-1]:.0f} steps/s", flush=True)
    against = f"peer Stable-Baselines3, the same settings, seed and budget; {EPISODES} deterministic episodes every {EVERY:,} steps"
    learned = {who: found[1:] or found for who, found in rates.items()}  # at first actions are random and nothing is learned
    best, last = ({who: pick(found) for who, found in returns.items()} for pick in (max, lambda found: found[-1]))
    speed = medians(learned)
    figures = [
        Figure("best", "best", "return", best["ours"], best["peer"], against=against, rounds=returns),
        Figure("last", "last", "return", last["ours"], last["peer"], against=against),
        Figure("speed", "speed", "steps/s", speed["ours"], speed["peer"], against=against, rounds=rates),
    ]
    return Measured(figures, {"environment": ENVIRONMENT, "steps": steps, "seed": seed, "torch threads": threads, **SETTINGS}, None)


def _play(learner: Any) -> float:
    """Mean return of some deterministic episodes."""
    env = gym.make(ENVIRONMENT)
    total = 0.0
    for episode in range(EPISODES):
        observation, _ = env.reset(seed=10_000 + episode)
        over = False
        while not over:
            action, _ = learner.predict(observation, deterministic=True)
            observation, reward, terminated, truncated, _ = env.step(action)
            total, over = total + float(reward), terminated or truncated
    env.close()
    return total / EPISODES
