"""A deterministic policy on finitely many states as a network without weights, for exports."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class LookUp(nn.Module):
    """From one-hot codes side by side, (B, sum of the sizes), to actions (B,).

    Args:
        sizes: of the codes; states are numbered in the order of `np.ravel_multi_index`.
        action: for each state, (S,).
    """

    action: Tensor

    def __init__(self, sizes: tuple[int, ...], action: NDArray[Any]) -> None:
        super().__init__()
        self.sizes = sizes
        self.register_buffer("action", torch.as_tensor(action, dtype=torch.int64))

    def forward(self, observation: Tensor) -> Tensor:
        state: Any = 0
        for size, code in zip(self.sizes, observation.split(list(self.sizes), dim=-1), strict=True):
            state = state * size + code.argmax(dim=-1)
        return self.action[state]
