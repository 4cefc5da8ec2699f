"""Recurrent networks over a history: what they know of the past is their state, so that they can go step by step as well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mprl.nn.recurrent import Recurrent, State
from mprl.perception.encoders import layers as named
from mprl.perception.network import Network, check_history


class RecurrentHistory(Network):
    """Recurrent layers on top of each other; features are the last one's output.

    Args:
        shape: (steps, numbers); fewer or more steps do as well.
        features: numbers of an output, and of each layer's state.
        layers: how many.
        kind: "rnn", "lstm" or "gru".

    Raises:
        SettingError: a setting that cannot be.
    """

    layers: Any  # a ModuleList of Recurrent

    def __init__(self, shape: Sequence[int], features: int, layers: int = 1, kind: str = "gru") -> None:
        super().__init__(shape, features)
        _, numbers = check_history(self.shape, f"a {kind}")
        named.positive("layers", layers)
        self.layers = nn.ModuleList(Recurrent(kind, features if at else numbers, features) for at in range(layers))

    def initial_state(self, count: int) -> list[State]:
        """Of so many histories, before their first step: zeros."""
        return [layer.initial_state(count) for layer in self.layers]

    def step(self, inputs: Tensor, state: list[State]) -> tuple[Tensor, list[State]]:
        """Features (B, features) after one more observation (B, n), and the state to go on with."""
        after = []
        for layer, before in zip(self.layers, state, strict=True):
            inputs, now = layer.step(inputs, before)
            after.append(now)
        return inputs, after

    def sequence(self, history: Tensor) -> Tensor:
        """Features after each step: (B, T, features) of (B, T, n)."""
        values = history.transpose(0, 1)
        start = torch.zeros(values.shape[:2], dtype=torch.bool, device=history.device)
        for layer in self.layers:
            values, _ = layer(values, layer.initial_state(len(history)), start)
        return values.transpose(0, 1)

    def forward(self, history: Tensor) -> Tensor:
        return self.sequence(history)[:, -1]


class RNN(RecurrentHistory):
    """A plain recurrent network (Elman 1990)."""

    def __init__(self, shape: Sequence[int], features: int, layers: int = 1) -> None:
        super().__init__(shape, features, layers, "rnn")


class LSTM(RecurrentHistory):
    """A long short-term memory (Hochreiter & Schmidhuber 1997)."""

    def __init__(self, shape: Sequence[int], features: int, layers: int = 1) -> None:
        super().__init__(shape, features, layers, "lstm")


class GRU(RecurrentHistory):
    """A gated recurrent unit (Cho et al. 2014)."""

    def __init__(self, shape: Sequence[int], features: int, layers: int = 1) -> None:
        super().__init__(shape, features, layers, "gru")
