"""A trained policy alone, without all that it learned by: what is exported."""

from __future__ import annotations

import copy
from collections.abc import Callable

from torch import Tensor, nn


class DeterministicPolicy(nn.Module):
    """From flat observations (B, n) float32 to actions (B, ...) in the environment's units. A copy: learning does not change it.

    Args:
        network: from observations to what the policy is made of: means, logits or values.
        choose: the action that is taken for it.
        to_environment: that action in the environment's units.
    """

    def __init__(self, network: nn.Module, choose: Callable[[Tensor], Tensor], to_environment: nn.Module) -> None:
        super().__init__()
        self.network, self.choose, self.to_environment = copy.deepcopy(network), choose, copy.deepcopy(to_environment)
        self.requires_grad_(False).eval()

    def forward(self, observation: Tensor) -> Tensor:
        return self.to_environment(self.choose(self.network(observation)))
