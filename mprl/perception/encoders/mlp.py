"""A multi-layer perceptron of all that was observed: for vectors and height scans; of pictures it cannot make much."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from mprl.errors import SettingError
from mprl.nn.mlp import ACTIVATIONS, mlp
from mprl.perception.encoders import layers
from mprl.perception.network import Network, check_choice


class MLPEncoder(Network):
    """Linear layers with an activation between them.

    Args:
        shape: any; the numbers are taken one after the other.
        features: outputs.
        hidden: sizes of the hidden layers.
        activation: "elu", "relu", "tanh" or "silu".
        output: what comes behind the last layer, "none", "relu" or "norm".

    Raises:
        SettingError: a setting that cannot be.
    """

    def __init__(
        self, shape: Sequence[int], features: int, hidden: Sequence[int] = (256, 256), activation: str = "elu", output: str = "none"
    ) -> None:
        super().__init__(shape, features)
        check_choice("activation", activation, tuple(ACTIVATIONS))
        if hidden and min(hidden) < 1:
            raise SettingError(f"hidden layers must have positive sizes, found {tuple(hidden)}")
        self.layers = mlp(math.prod(self.shape), hidden, features, activation)
        self.output = layers.output(output, features)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.output(self.layers(inputs.flatten(1)))
