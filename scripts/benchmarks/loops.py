"""PPO as others run it, with our network and minibatches: Stable-Baselines3's, and a single loop in the manner of CleanRL."""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class Sb3:
    """Stable-Baselines3's PPO on any of its vector environments, with our network, minibatches and epochs.

    Args:
        venv: the environment.
        settings: our PPO's.
        n_steps: steps in every world before each update.
    """

    def __init__(self, venv: Any, settings: Any, n_steps: int) -> None:
        from stable_baselines3 import PPO

        s = settings
        sizes = {"n_steps": n_steps, "batch_size": min(s.batch_size, n_steps * venv.num_envs), "n_epochs": s.n_epochs}
        others = {"learning_rate": s.learning_rate, "gamma": s.gamma, "gae_lambda": s.gae_lambda, "clip_range": s.clip_range}
        network = {"net_arch": list(s.hidden), "activation_fn": torch.nn.ELU}
        self.model = PPO("MlpPolicy", venv, device="cpu", seed=0, policy_kwargs=network, **sizes, **others)

    def round(self) -> float:
        """Samples/s of one iteration."""
        before, began = self.model.num_timesteps, time.perf_counter()
        self.model.learn(1, reset_num_timesteps=False)
        return (self.model.num_timesteps - before) / (time.perf_counter() - began)


class SingleLoop:
    """PPO as one loop over a Gymnasium vector environment, in the manner of CleanRL's `ppo_continuous_action.py`.

    Tensors for the rollout, NumPy at the environment, a value with every action, advantages backwards through time, minibatches of
    shuffled indices. Written anew from the paper (arXiv 1707.06347); only its speed matters here.

    Args:
        envs: NumPy in and out, reset in the same step.
        settings: our PPO's.
        n_steps: steps in every world before each update.
    """

    def __init__(self, envs: Any, settings: Any, n_steps: int) -> None:
        self.envs, self.s, self.n_steps = envs, settings, n_steps
        observations, actions = envs.single_observation_space.shape[0], envs.single_action_space.shape[0]
        self.critic, self.actor = self._network(observations, 1), self._network(observations, actions)
        self.log_std = nn.Parameter(torch.zeros(actions))
        self.parameters = [*self.critic.parameters(), *self.actor.parameters(), self.log_std]
        self.optimizer = torch.optim.Adam(self.parameters, lr=settings.learning_rate, eps=1e-5)
        self.observation = torch.as_tensor(envs.reset(seed=0)[0])
        self.ended = torch.zeros(envs.num_envs)

    def _network(self, inputs: int, outputs: int) -> nn.Sequential:
        sizes = (inputs, *self.s.hidden)
        layers = [layer for pair in itertools.pairwise(sizes) for layer in (nn.Linear(*pair), nn.ELU())]
        return nn.Sequential(*layers, nn.Linear(sizes[-1], outputs))

    def _policy(self, observation: Tensor) -> torch.distributions.Normal:
        return torch.distributions.Normal(self.actor(observation), self.log_std.exp())

    def round(self) -> float:
        """Samples/s of one iteration."""
        began = time.perf_counter()
        rollout = self._act()
        self._learn(*rollout)
        return self.n_steps * self.envs.num_envs / (time.perf_counter() - began)

    @torch.no_grad()
    def _act(self) -> tuple[Tensor, ...]:
        steps, worlds = self.n_steps, self.envs.num_envs
        observations = torch.zeros(steps, worlds, self.observation.shape[1])
        actions = torch.zeros(steps, worlds, len(self.log_std))
        log_probs, rewards, ends, values = torch.zeros(4, steps, worlds)
        for t in range(steps):
            observations[t], ends[t] = self.observation, self.ended
            policy = self._policy(self.observation)
            action = policy.sample()
            actions[t], log_probs[t], values[t] = action, policy.log_prob(action).sum(1), self.critic(self.observation).squeeze(1)
            observation, reward, terminated, truncated, _ = self.envs.step(action.numpy())
            rewards[t] = torch.as_tensor(reward)
            self.observation = torch.as_tensor(observation, dtype=torch.float32)
            self.ended = torch.as_tensor(np.logical_or(terminated, truncated), dtype=torch.float32)
        advantages, last = torch.zeros_like(rewards), torch.zeros(worlds)
        next_value, next_end = self.critic(self.observation).squeeze(1), self.ended
        for t in reversed(range(steps)):
            delta = rewards[t] + self.s.gamma * next_value * (1 - next_end) - values[t]
            advantages[t] = last = delta + self.s.gamma * self.s.gae_lambda * (1 - next_end) * last
            next_value, next_end = values[t], ends[t]
        rows = (observations, actions, log_probs, advantages, advantages + values)
        return tuple(column.flatten(0, 1) for column in rows)

    def _learn(self, observations: Tensor, actions: Tensor, old_log_probs: Tensor, advantages: Tensor, returns: Tensor) -> None:
        indices = np.arange(len(actions))
        for _ in range(self.s.n_epochs):
            np.random.default_rng().shuffle(indices)
            for start in range(0, len(indices), self.s.batch_size):
                rows = indices[start : start + self.s.batch_size]
                policy = self._policy(observations[rows])
                ratio = (policy.log_prob(actions[rows]).sum(1) - old_log_probs[rows]).exp()
                a = (advantages[rows] - advantages[rows].mean()) / (advantages[rows].std() + 1e-8)
                policy_loss = -torch.min(ratio * a, ratio.clamp(1 - self.s.clip_range, 1 + self.s.clip_range) * a).mean()
                value_loss = (self.critic(observations[rows]).squeeze(1) - returns[rows]).square().mean()
                loss = policy_loss + self.s.vf_coef * value_loss - self.s.ent_coef * policy.entropy().sum(1).mean()
                self.optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.parameters, self.s.max_grad_norm)
                self.optimizer.step()
