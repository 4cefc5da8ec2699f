"""Autoencoders against closed forms: principal components, the best linear denoiser, the likelihood of a linear Gaussian model."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mprl.errors import SettingError
from mprl.perception.autoencoders import trunks
from mprl.perception.autoencoders.autoencoder import AutoEncoder, DenoisingAutoEncoder
from mprl.perception.autoencoders.vae import VAE, ConditionalVAE, kl_to_standard_normal

D, K = 6, 2


def data(count=2000, seed=0):
    """Gaussian, with standard deviations 3, 2, 1, ½, ¼, ⅛ along random directions; centred."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.linalg.qr(torch.randn(D, D, generator=generator))[0]
    found = torch.randn(count, D, generator=generator) * torch.tensor([3, 2, 1, 0.5, 0.25, 0.125]) @ directions.T
    return found - found.mean(0)


def set_linear(layer, weight, bias=0.0):
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.fill_(0).add_(bias)


def test_a_linear_autoencoder_learns_the_principal_components():  # Baldi & Hornik 1989
    torch.manual_seed(0)
    inputs = data()
    network = AutoEncoder((D,), K, layers=())
    optimizer = torch.optim.LBFGS(network.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss, _ = network.loss({"input": inputs})
        loss.backward()
        return loss

    optimizer.step(closure)
    _, values, components = torch.linalg.svd(inputs, full_matrices=False)
    least = values[K:].square().sum() / inputs.numel()
    assert network.loss({"input": inputs})[0].item() == pytest.approx(least.item(), rel=1e-4)
    decoder = torch.linalg.qr(network.decoder[0].weight.detach())[0]
    angles = torch.linalg.svdvals(components[:K] @ decoder)  # cosines of the angles between both planes
    assert torch.allclose(angles, torch.ones(K), atol=1e-4)


def test_the_best_linear_denoiser_shrinks_by_the_signals_share_of_the_variance():  # Wiener
    signal, noise, count = 2.0, 1.5, 200_000
    network = DenoisingAutoEncoder((1,), 1, layers=(), noise=noise, dropped=0.0).train()
    inputs = signal * torch.randn(count, 1, generator=torch.Generator().manual_seed(0))
    set_linear(network.decoder[0], torch.ones(1, 1))

    def loss(shrink):
        set_linear(network.encoder[1], torch.full((1, 1), shrink))
        return network.loss({"input": inputs}, torch.Generator().manual_seed(1))[0].item()

    best = signal**2 / (signal**2 + noise**2)
    assert loss(best) == pytest.approx(signal**2 * noise**2 / (signal**2 + noise**2), rel=0.01)
    assert loss(best) < min(loss(best - 0.1), loss(best + 0.1), loss(1.0))
    network.eval()
    assert network.loss({"input": inputs})[0].item() == pytest.approx((1 - 1.0) ** 2 * signal**2, abs=1e-9)  # nothing is corrupted


def test_pixels_are_dropped_whole_and_as_often_as_said():
    network = DenoisingAutoEncoder((3, 16, 16), 4, noise=0.0, dropped=0.25)
    found = network.corrupt(torch.ones(64, 3, 16, 16), torch.Generator().manual_seed(0))
    assert set(found.unique().tolist()) == {0.0, 1.0} and torch.equal(found[:, 0], found[:, 1])
    assert found[:, 0].mean().item() == pytest.approx(0.75, abs=4 * math.sqrt(0.25 * 0.75 / (64 * 256)))


def test_the_divergence_is_torchs():
    mean, log_variance = torch.randn(5, 3), torch.randn(5, 3)
    q = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    expected = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(-1)
    assert torch.allclose(kl_to_standard_normal(mean, log_variance), expected, atol=1e-5)


def linear_gaussian(kind, loadings, deviation, **settings):
    """x = A z + s ε, and q(z|x) its exact posterior: N(M⁻¹ Aᵀ x, s² M⁻¹), M = AᵀA + s², diagonal as the columns of A are orthogonal."""
    network = kind((D,), K, layers=(), deviation=deviation, **settings)
    precision = (loadings.T @ loadings).diagonal() + deviation**2
    set_linear(network.encoder[1], torch.cat([loadings.T / precision.unsqueeze(1), torch.zeros(K, D)]))
    with torch.no_grad():
        network.encoder[1].bias[K:] = torch.log(deviation**2 / precision)
        network.decoder[0].weight[:, :K] = loadings
        network.decoder[0].bias.zero_()
    return network


@pytest.fixture
def loadings():
    return torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(3)))[0][:, :K] * torch.tensor([2.0, 0.7])


def mean_elbo(network, batch, draws=200):
    with torch.no_grad():
        return sum(network.loss(batch, torch.Generator().manual_seed(n))[1]["elbo"].item() for n in range(draws)) / draws


def test_with_the_exact_posterior_the_bound_is_the_likelihood(loadings):  # probabilistic PCA: Tipping & Bishop 1999
    deviation = 0.5
    network = linear_gaussian(VAE, loadings, deviation)
    inputs = torch.randn(500, K, generator=torch.Generator().manual_seed(0)) @ loadings.T
    inputs += deviation * torch.randn(500, D, generator=torch.Generator().manual_seed(1))
    model = torch.distributions.MultivariateNormal(torch.zeros(D), loadings @ loadings.T + deviation**2 * torch.eye(D))
    likelihood = model.log_prob(inputs).mean().item()
    assert mean_elbo(network, {"input": inputs}) == pytest.approx(likelihood, abs=0.01)
    with torch.no_grad():
        network.encoder[1].bias[:K] += 0.3  # another posterior
    assert mean_elbo(network, {"input": inputs}) < likelihood - 0.05


def test_told_the_condition_the_bound_is_the_conditional_likelihood(loadings):
    deviation = 0.5
    effect = torch.linalg.svd(loadings)[0][:, K : K + 1]  # what the condition does is orthogonal to what the code does,
    network = linear_gaussian(ConditionalVAE, loadings, deviation, condition="c", condition_size=1)  # so that q needs no condition
    with torch.no_grad():
        network.decoder[0].weight[:, K:] = effect
    condition = torch.randn(400, 1, generator=torch.Generator().manual_seed(0))
    inputs = torch.randn(400, K, generator=torch.Generator().manual_seed(1)) @ loadings.T + condition @ effect.T
    inputs += deviation * torch.randn(400, D, generator=torch.Generator().manual_seed(2))
    model = torch.distributions.MultivariateNormal(torch.zeros(D), loadings @ loadings.T + deviation**2 * torch.eye(D))
    likelihood = model.log_prob(inputs - condition @ effect.T).mean().item()
    assert mean_elbo(network, {"input": inputs, "c": condition}) == pytest.approx(likelihood, abs=0.01)
    rendered = network.render(torch.full((4000, 1), 2.0), torch.Generator().manual_seed(0)).mean(0)
    assert torch.allclose(rendered, 2 * effect.squeeze(), atol=0.15)


def test_beta_weighs_the_divergence_alone():
    torch.manual_seed(0)
    inputs = {"input": data(64)}
    network = VAE((D,), K, deviation=0.5)
    loss, metrics = network.loss(inputs, torch.Generator().manual_seed(0))
    assert (loss * D).item() == pytest.approx(-metrics["elbo"].item(), rel=1e-5)
    network.beta = 5.0
    weighed, _ = network.loss(inputs, torch.Generator().manual_seed(0))
    assert ((weighed - loss) * D).item() == pytest.approx(4 * metrics["kl"].item(), rel=1e-4)


def test_the_fitted_deviation_is_the_best_one():  # Rybkin et al. 2021, eq. 5
    torch.manual_seed(0)
    network = VAE((D,), K)
    inputs = {"input": data(64)}
    loss, metrics = network.loss(inputs, torch.Generator().manual_seed(0))
    best = metrics["deviation"].item()
    for factor in (0.9, 1.1):
        network.deviation = factor * best
        assert network.loss(inputs, torch.Generator().manual_seed(0))[0] > loss


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 21, 30), (4, 8, 8), (7,), (12, 5)])
def test_what_is_made_has_the_shape_of_what_was_seen(shape):
    for kind in (AutoEncoder, VAE):
        network = kind(shape, 5)
        assert network.reconstruct(torch.rand(2, *shape)).shape == (2, *shape) and network(torch.rand(2, *shape)).shape == (2, 5)
    assert VAE(shape, 5).sample(3).shape == (3, *shape)


def test_a_transposed_stack_leads_back_through_every_size():
    for height in range(16, 33):
        layers = (2, 2, 2)
        maps = trunks.convolutions((1, height, 17), layers, "elu")(torch.zeros(1, 1, height, 17))
        assert maps.shape[2:] == trunks.halved((1, height, 17), layers)[-1]
        assert trunks.transposed_convolutions((1, height, 17), layers, "elu")(maps).shape == (1, 1, height, 17)


def test_pictures_are_what_a_person_can_look_at():
    images = {"input": torch.rand(2, 9, 16, 16)}  # three frames
    for network, name, wide in ((AutoEncoder((9, 16, 16), 4), "reconstruction", 2), (VAE((9, 16, 16), 4), "sample", 1)):
        picture = network.pictures(images)[name]
        assert picture.shape == (2, 3, 16, 16 * wide) and picture.min() >= 0 and picture.max() <= 1
    assert torch.equal(AutoEncoder((9, 16, 16), 4).pictures(images)["reconstruction"][..., :16], images["input"][:, -3:])


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: AutoEncoder((3, 16, 16), 4, noise=-1.0), "noise must be at least 0"),
        (lambda: AutoEncoder((3, 16, 16), 4, layers=(8,) * 5), "cannot be halved 5 times"),
        (lambda: VAE((4,), 2, beta=-1.0), "beta must be at least 0"),
        (lambda: VAE((4,), 2, deviation="best"), "deviation must be a positive number or 'learned'"),
        (lambda: ConditionalVAE((4,), 2, condition_size=0), "condition_size must be positive"),
    ],
)
def test_settings_that_cannot_be_are_one_line(make, part):
    with pytest.raises(SettingError, match=part):
        make()


def test_a_linear_network_is_one_map():
    assert [type(part) for part in AutoEncoder((3, 4, 4), 2, layers=()).encoder] == [nn.Flatten, nn.Linear]
