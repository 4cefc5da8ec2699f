"""Action values of every discrete action, by one network or by two streams that are added."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mprl.agents.eyes import Eyes
from mprl.nn.explicit import ExplicitMLP
from mprl.nn.mlp import ACTIVATIONS, mlp


class QNetwork(nn.Module):
    """Q(s, ·), (N, actions), of observations (N, n).

    Args:
        observation_size: n.
        actions: how many.
        hidden: sizes of the hidden layers.
        activation: between them.
        eyes: what observations are seen through, where that is learned along.
        dueling: a value V and advantages A, each by an own stream from the last hidden layer on, Q = V + A - mean A (Wang et al.
            2016, arXiv 1511.06581, eq. 9).
    """

    def __init__(
        self, observation_size: int, actions: int, hidden: Sequence[int], activation: str, dueling: bool, eyes: Eyes | None = None
    ) -> None:
        super().__init__()
        self.dueling, self.eyes = dueling, eyes
        observation_size = observation_size if eyes is None else eyes.size
        if not dueling:
            self.values = mlp(observation_size, hidden, actions, activation)
            return
        *shared, own = hidden
        self.shared = nn.Sequential()
        if shared:
            self.shared.extend([*mlp(observation_size, shared[:-1], shared[-1], activation), ACTIVATIONS[activation]()])
            observation_size = shared[-1]
        self.value, self.advantage = (mlp(observation_size, (own,), outputs, activation) for outputs in (1, actions))

    def forward(self, observation: Tensor) -> Tensor:
        if self.eyes is not None:
            observation = self.eyes(observation)
        if not self.dueling:
            return self.values(observation)
        features = self.shared(observation)
        advantage = self.advantage(features)
        return self.value(features) + advantage - advantage.mean(-1, keepdim=True)


class ExplicitQ:
    """Runs a `QNetwork` and its gradient without autograd (see `ExplicitMLP`), but for its eyes."""

    def __init__(self, network: QNetwork, bfloat16: bool) -> None:
        names = ("shared", "value", "advantage") if network.dueling else ("values",)
        self.eyes = network.eyes
        self.parts = [ExplicitMLP(getattr(network, name), bfloat16) for name in names]

    def __call__(self, observation: Tensor, learn: bool = True) -> Tensor:
        """Q(s, ·), (N, actions). `backward` goes back from the last call, for eyes too if that was with `learn`."""
        if self.eyes is not None:
            with torch.set_grad_enabled(learn):
                self._seen = self.eyes(observation)
            observation = self._seen.detach()
        if len(self.parts) == 1:
            return self.parts[0](observation)
        shared, value, advantage = self.parts
        features = shared(observation)
        q = advantage(features)
        return q.sub_(q.mean(-1, keepdim=True)).add_(value(features))

    def backward(self, gradient: Tensor) -> None:
        """Write the gradients of a loss for the weights, given its gradient for Q (N, actions) of the last call.

        Those of eyes are added to what is there: make it 0 before.
        """
        sees = self.eyes is not None
        if len(self.parts) == 1:
            of_inputs = self.parts[0].backward(gradient, inputs=sees)
        else:
            shared, value, advantage = self.parts
            features = advantage.backward(gradient - gradient.mean(-1, keepdim=True), inputs=True)
            of_inputs = shared.backward(features.add_(value.backward(gradient.sum(-1, keepdim=True), inputs=True)), inputs=sees)
        if sees:
            self._seen.backward(of_inputs)
