"""A variational autoencoder over poses (as VPoser: Pavlakos et al. 2019): a pose is as likely as its code, and as well as it is made again.

E(θ) = ½ |θ − decoder(μ(θ))|² / s² + ½ |μ(θ)|², the evidence lower bound's two terms at the encoder's mean.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mprl.perception.autoencoders.vae import VAE

LAYERS = (128, 128)


class PoseCodes:
    """The energy of poses under an autoencoder.

    Args:
        network: of poses (B, D) rad.
        deviation: s, rad.
    """

    def __init__(self, network: VAE, deviation: float) -> None:
        self.network, self.deviation = network.requires_grad_(False).eval(), deviation

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> PoseCodes:
        """What `tensors` wrote."""
        weights = {key: value for key, value in tensors.items() if key != "deviation"}
        last = [value for key, value in weights.items() if key.startswith("encoder") and key.endswith("bias")][-1]
        first = next(value for key, value in weights.items() if key.startswith("encoder") and key.endswith("weight"))
        network = VAE((first.shape[1],), len(last) // 2, LAYERS)
        network.load_state_dict(weights)
        return cls(network, float(tensors["deviation"]))

    def tensors(self) -> dict[str, Tensor]:
        """All that must be kept."""
        return {**self.network.state_dict(), "deviation": torch.tensor(self.deviation)}

    def __call__(self, pose: Tensor) -> Tensor:
        """(B, J, 3) rad -> (B,) nats."""
        flat = pose.flatten(1)
        code = self.network(flat)
        return 0.5 * ((flat - self.network.decode(code)) / self.deviation).square().sum(dim=1) + 0.5 * code.square().sum(dim=1)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Poses, (count, D) rad."""
        with torch.no_grad():
            return self.network.sample(count, generator)
