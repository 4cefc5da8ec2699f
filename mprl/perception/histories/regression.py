"""State estimation: a history is to tell what no single observation shows, such as velocities from positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mprl.errors import SettingError
from mprl.perception import models
from mprl.perception.encoders import layers
from mprl.perception.network import Batch, Metrics, Network


class HistoryRegression(Network):
    """Any model of histories with a linear layer on top, which is trained to tell the target; features are the model's.

    Args:
        shape: (steps, numbers).
        features: of the model.
        targets: numbers to be told.
        history: the model's name: "rnn", "lstm", "gru", "tcn" or "causal_transformer"; or "mlp", which sees the history as one vector and
            tells the target of the last step only.
        settings: further ones of that model.

    Raises:
        SettingError: a setting that cannot be.
    """

    history: Any  # any of these models

    def __init__(self, shape: Sequence[int], features: int, targets: int = 1, history: str = "gru", **settings: Any) -> None:
        super().__init__(shape, features)
        layers.positive("targets", targets)
        self.history = models.build(history, shape, features, **settings)
        self.head = nn.Linear(features, targets)

    def forward(self, history: Tensor) -> Tensor:
        return self.history(history)

    def predict(self, history: Tensor) -> Tensor:
        """The target (B, m) at the last step of (B, T, n)."""
        return self.head(self.history(history))

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Metrics]:
        """Mean squared error, and the share of the targets' variance that is told: R² = 1 − error / variance.

        Args:
            batch: "input" (B, T, n) and "target" (B, m), of the last step, or (B, T, m), of each.
            generator: not used.

        Raises:
            SettingError: targets of each step, of a model that has only one output.
        """
        target = batch["target"]
        if target.ndim == 2:
            found = self.predict(batch["input"])
        elif hasattr(self.history, "sequence"):
            found = self.head(self.history.sequence(batch["input"]))
        else:
            raise SettingError("this model tells the target of the last step only: expected targets (B, m), found (B, T, m)")
        loss = (found - target).square().mean()
        axes = tuple(range(target.ndim - 1))
        variance = (target - target.mean(axes)).square().mean()
        return loss, {"mse": loss.detach(), "r2": (1 - loss / variance.clamp(min=1e-12)).detach()}
