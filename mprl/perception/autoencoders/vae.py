"""Variational autoencoders: an encoder that says how sure it is, and a space of codes without gaps.

log p(x) ≥ E_q(z|x)[log p(x|z)] − KL(q(z|x) ‖ p(z)), the evidence lower bound (Kingma & Welling 2014, arXiv 1312.6114), with
q(z|x) = N(μ(x), diag σ²(x)), p(z) = N(0, 1) and p(x|z) = N(decoder(z), s²). β weighs the second term (Higgins et al. 2017); s is given,
or the one that fits best, the root of the mean squared error (σ-VAE: Rybkin et al. 2021, arXiv 2006.13202), which balances both terms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mprl.errors import SettingError
from mprl.perception.autoencoders import trunks
from mprl.perception.network import Batch, Metrics, Network

LEARNED = "learned"
_LEAST = 1e-3  # of s, so that no density grows without bound


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(μ, diag σ²) ‖ N(0, 1)) = ½ Σ (σ² + μ² − 1 − log σ²), nats; (B,) of (B, n)."""
    return 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum(-1)


def reparametrize(mean: Tensor, log_variance: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """A draw from N(μ, diag σ²) through which the gradient goes: μ + σ ε."""
    return mean + (0.5 * log_variance).exp() * torch.randn(mean.shape, generator=generator, device=mean.device)


def gaussian_nll(squared_error: Tensor, count: int, deviation: Tensor | float) -> Tensor:
    """−log N(x; x̂, s²) of `count` numbers with this sum of squared errors, nats."""
    variance = torch.as_tensor(deviation, dtype=squared_error.dtype, device=squared_error.device).square()
    return 0.5 * (squared_error / variance + count * torch.log(2 * math.pi * variance))


class VAE(Network):
    """A variational autoencoder; features are the mean μ(x).

    Args:
        shape: (channels, height, width) of pictures, or any other.
        features: numbers of the code.
        layers: channels of the convolutions, or hidden sizes; () is linear, None `trunks.layers_for`.
        activation: between layers.
        beta: weight of the divergence; 1 is the bound itself.
        deviation: s, in the unit of the observations; "learned": fitted in each batch.

    Raises:
        SettingError: a setting that cannot be.
    """

    def __init__(
        self,
        shape: Sequence[int],
        features: int,
        layers: Sequence[int] | None = None,
        activation: str = "elu",
        beta: float = 1.0,
        deviation: float | str = LEARNED,
    ) -> None:
        super().__init__(shape, features)
        if not beta >= 0:
            raise SettingError(f"beta must be at least 0, found {beta}")
        if deviation != LEARNED and not (isinstance(deviation, float | int) and deviation > 0):
            raise SettingError(f"deviation must be a positive number or '{LEARNED}', found '{deviation}'")
        self.beta, self.deviation = beta, deviation
        layers = trunks.layers_for(self.shape, layers)
        self.encoder = trunks.encoder(self.shape, 2 * features, layers, activation)
        self.decoder = trunks.decoder(features, self.shape, layers, activation)

    def posterior(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x), each (B, features)."""
        mean, log_variance = self.encoder(inputs).chunk(2, -1)
        return mean, log_variance.clamp(-20, 20)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.posterior(inputs)[0]

    def decode(self, codes: Tensor, batch: Batch | None = None) -> Tensor:
        """Mean of p(x|z), (B, *shape), for codes (B, features)."""
        return self.decoder(codes)

    def reconstruct(self, inputs: Tensor) -> Tensor:
        """What can be made again of observations (B, *shape) from their features alone."""
        return self.decode(self(inputs))

    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Observations made up: (count, *shape), the decoder's means for codes drawn from p(z)."""
        device = next(self.parameters()).device
        return self.decode(torch.randn(count, self.features, generator=generator, device=device))

    def bound(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Both terms of the bound by one draw of z: "nll" = −log p(x|z) and "kl", nats, and "squared_error", each (B,); "deviation" s."""
        inputs = batch["input"]
        mean, log_variance = self.posterior(inputs)
        error = (self.decode(reparametrize(mean, log_variance, generator), batch) - inputs).square().flatten(1).sum(1)
        count = inputs[0].numel()
        if self.deviation == LEARNED:
            deviation = (error.detach().mean() / count).sqrt().clamp(min=_LEAST)
        else:
            deviation = error.new_tensor(float(self.deviation))
        return {
            "nll": gaussian_nll(error, count, deviation),
            "kl": kl_to_standard_normal(mean, log_variance),
            "squared_error": error,
            "deviation": deviation,
        }

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Metrics]:
        """−log p(x|z) + β KL, nats a number of the observation.

        Args:
            batch: "input" (B, *shape).
            generator: of the draws from q(z|x).

        Returns:
            The loss; "mse" a number of the observation, "kl" and "elbo" in nats an observation, and "deviation" s.
        """
        terms = self.bound(batch, generator)
        nll, kl, count = terms["nll"].mean(), terms["kl"].mean(), batch["input"][0].numel()
        metrics = {
            "mse": terms["squared_error"].detach().mean() / count,
            "kl": kl.detach(),
            "elbo": -(nll + kl).detach(),
            "deviation": terms["deviation"],
        }
        return (nll + self.beta * kl) / count, metrics

    @torch.no_grad()
    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Pictures and what is made of them; and made-up ones."""
        images = batch["input"]
        made = {"reconstruction": trunks.side_by_side(images, self.decode(self(images), batch))}
        if type(self) is VAE:
            made["sample"] = trunks.side_by_side(self.sample(len(images), torch.Generator(images.device).manual_seed(0)))
        return made


class ConditionalVAE(VAE):
    """A variational autoencoder whose decoder is told something, as the state: the code need only hold the rest (Sohn et al. 2015).

    The encoder sees the observation alone, so that an agent has features without knowing the condition. The bound, now on
    log p(x|c), is one for every q.

    Args:
        shape, features, layers, activation, beta, deviation: as of `VAE`.
        condition: the name in a batch of what the decoder is told, (B, condition_size).
        condition_size: how many numbers that are.

    Raises:
        SettingError: a setting that cannot be.
    """

    def __init__(
        self,
        shape: Sequence[int],
        features: int,
        layers: Sequence[int] | None = None,
        activation: str = "elu",
        beta: float = 1.0,
        deviation: float | str = LEARNED,
        condition: str = "state",
        condition_size: int = 4,
    ) -> None:
        if condition_size < 1:
            raise SettingError(f"condition_size must be positive, found {condition_size}")
        super().__init__(shape, features, layers, activation, beta, deviation)
        self.condition, self.condition_size = condition, condition_size
        layers = trunks.layers_for(self.shape, layers)
        self.decoder = trunks.decoder(features + condition_size, self.shape, layers, activation)

    def decode(self, codes: Tensor, batch: Batch | None = None) -> Tensor:
        """Mean of p(x|z, c); without a batch, of the condition 0, the mean of one that is standardised."""
        condition = codes.new_zeros(len(codes), self.condition_size) if batch is None else batch[self.condition]
        return self.decoder(torch.cat([codes, condition], -1))

    def render(self, condition: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Observations made up for conditions (B, condition_size): (B, *shape)."""
        codes = torch.randn(len(condition), self.features, generator=generator, device=condition.device)
        return self.decode(codes, {self.condition: condition})
