"""Estimates of what an action was worth."""

from __future__ import annotations

import torch
from torch import Tensor


def generalized_advantage(
    reward: Tensor, value: Tensor, next_value: Tensor, terminated: Tensor, truncated: Tensor, discount: float, decay: float
) -> Tensor:
    """Generalised advantage estimation (Schulman et al. 2016, eq. 16).

    A terminated step has no future; a truncated one has a future that is not seen, and `next_value` holds its value: that of
    the episode's final observation, never of the next episode's first.

    Args:
        reward, value, terminated, truncated: of steps t = 0 ... T - 1, (T, W).
        next_value: value of the observation that step t led to, (T, W).
        discount, decay: gamma and lambda.

    Returns:
        Advantages, (T, W).
    """
    delta = reward + discount * next_value * ~terminated - value
    carry = discount * decay * ~(terminated | truncated)
    advantage = torch.empty_like(delta)
    running = torch.zeros_like(delta[0])
    for t in range(len(delta) - 1, -1, -1):
        running = delta[t] + carry[t] * running
        advantage[t] = running
    return advantage


def discounted_return(reward: Tensor, next_value: Tensor, terminated: Tensor, truncated: Tensor, discount: float) -> Tensor:
    """Returns of whole episodes: G_t = R_{t+1} + gamma G_{t+1} (Sutton & Barto, 3.9), the value where an episode was truncated.

    Args:
        reward, terminated, truncated: of steps t = 0 ... T - 1, (T, W).
        next_value: value of the observation that step t led to, (T, W); looked at where an episode was truncated.
        discount: gamma.

    Returns:
        G_t, (T, W).
    """
    gain = reward + discount * next_value * (truncated & ~terminated)
    carry = discount * ~(terminated | truncated)
    returns = torch.empty_like(gain)
    running = torch.zeros_like(gain[0])
    for t in range(len(gain) - 1, -1, -1):
        running = gain[t] + carry[t] * running
        returns[t] = running
    return returns
