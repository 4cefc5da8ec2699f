"""VQ-VAE: nearest codes, gradients straight through, a codebook that is k-means', codes that come back to life."""

from __future__ import annotations

import pytest
import torch

from mprl.errors import SettingError
from mprl.perception.autoencoders.quantizer import Quantizer, perplexity
from mprl.perception.autoencoders.vq_vae import VQVAE


def test_perplexity_by_hand():
    assert perplexity(torch.tensor([5.0, 5.0, 5.0, 5.0])).item() == pytest.approx(4)
    assert perplexity(torch.tensor([7.0, 0.0])).item() == 1
    assert perplexity(torch.tensor([3.0, 1.0])).item() == pytest.approx(4 / 3**0.75)


def test_the_code_is_the_nearest_and_its_gradient_the_vectors():
    torch.manual_seed(0)
    quantizer = Quantizer(16, 3)
    vectors = torch.randn(50, 3, requires_grad=True)
    found, indices = quantizer(vectors)
    assert torch.equal(indices, torch.cdist(vectors, quantizer.codebook).argmin(1))
    assert torch.equal(found, quantizer.codebook[indices])  # to the last bit
    weights = torch.randn(50, 3)
    (found * weights).sum().backward()
    assert torch.equal(vectors.grad, weights)


def test_the_codebook_goes_to_the_means_of_its_vectors():
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
    clusters = (centres.unsqueeze(1) + torch.randn(4, 100, 2, generator=generator)).flatten(0, 1)
    quantizer = Quantizer(4, 2, decay=0.5)
    quantizer.codebook.copy_(centres + 1)
    quantizer.counts.fill_(100)
    quantizer.sums.copy_(quantizer.codebook * 100)
    for _ in range(40):
        quantizer.update(clusters, quantizer.nearest(clusters), generator)
    assert torch.allclose(quantizer.codebook, clusters.view(4, 100, 2).mean(1), atol=1e-4)


def test_one_update_is_the_moving_average_of_the_paper():  # van den Oord et al. 2017, eq. 6–8
    quantizer = Quantizer(2, 1, decay=0.9)
    quantizer.codebook.copy_(torch.tensor([[0.0], [4.0]]))
    quantizer.counts.copy_(torch.tensor([2.0, 2.0]))
    quantizer.sums.copy_(torch.tensor([[0.0], [8.0]]))
    vectors = torch.tensor([[1.0], [-0.5], [1.5], [5.0]])
    quantizer.update(vectors, quantizer.nearest(vectors))
    assert torch.allclose(quantizer.counts, torch.tensor([0.9 * 2 + 0.1 * 3, 0.9 * 2 + 0.1 * 1]))
    assert torch.allclose(quantizer.codebook, torch.tensor([[0.1 * 2 / 2.1], [(0.9 * 8 + 0.1 * 5) / 1.9]]))


def test_a_dead_code_comes_back_onto_a_vector_and_the_others_stay():
    quantizer = Quantizer(3, 2, decay=0.5)
    quantizer.codebook.copy_(torch.tensor([[0.0, 0.0], [1.0, 1.0], [1e6, 1e6]]))
    quantizer.counts.fill_(10)
    quantizer.sums.copy_(quantizer.codebook * 10)
    vectors = torch.tensor([[0.0, 0.0], [1.0, 1.0]]).repeat(15, 1)
    revived = 0
    for _ in range(10):
        revived += int(quantizer.update(vectors, quantizer.nearest(vectors), torch.Generator().manual_seed(0)))
    assert revived > 0
    assert torch.allclose(quantizer.codebook[:2], torch.tensor([[0.0, 0.0], [1.0, 1.0]]), atol=1e-5)
    assert quantizer.codebook[2].tolist() in ([0.0, 0.0], [1.0, 1.0])


def test_words_say_all_that_the_decoder_knows():
    torch.manual_seed(0)
    network = VQVAE((3, 32, 32), 32, layers=(8, 8, 8), codes=16).eval()
    images = torch.rand(2, 3, 32, 32)
    words = network.words(images)
    assert words.shape == (2, 4, 4) and torch.allclose(network.decode(words), network.reconstruct(images), atol=1e-6)
    assert torch.equal(network(images).view(2, 4, 4, 2), network.quantizer.codebook[words])


def test_learning_moves_the_codebook_and_evaluation_does_not():
    torch.manual_seed(0)
    network = VQVAE((1, 16, 16), 16, layers=(8, 8), codes=8)
    batch = {"input": torch.rand(8, 1, 16, 16)}
    network.eval().loss(batch)
    assert not network.quantizer.counts.any()
    loss, metrics = network.train().loss(batch, torch.Generator().manual_seed(0))
    loss.backward()
    assert network.quantizer.counts.sum() == pytest.approx(8 * 16, rel=1e-5) and "revived" in metrics
    assert network.encoder[0].weight.grad.abs().sum() > 0  # through the quantiser
    before = network.quantizer.codebook.clone()
    network.loss(batch, torch.Generator().manual_seed(1))
    assert not torch.equal(before, network.quantizer.codebook)
    assert 1 <= network.perplexity([batch["input"]]) <= 8


def test_features_that_do_not_fit_the_grid_are_refused_with_some_that_do():
    with pytest.raises(SettingError, match="4 x 4 cells: expected a multiple of 16, found 50; 48 is the nearest"):
        VQVAE((3, 64, 64), 50)
    with pytest.raises(SettingError, match="at least one layer"):
        VQVAE((3, 64, 64), 48, layers=())
