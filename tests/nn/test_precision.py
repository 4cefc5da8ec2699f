"""bfloat16 has 8 bits of mantissa: hidden layers computed in it are right to some thousandths, weights and gradients are float32."""

from __future__ import annotations

import torch

from mprl.nn import precision
from mprl.nn.mlp import mlp

CPU = torch.device("cpu")


def test_the_output_is_float32_and_right_to_the_resolution_of_bfloat16() -> None:
    torch.manual_seed(0)
    network, inputs = mlp(30, (256, 256), 8), torch.randn(100, 30)
    exact, rounded = network(inputs), precision.forward(network, inputs, bfloat16=True)
    assert rounded.dtype == torch.float32
    error = (rounded - exact).abs().max()
    assert 0 < error < 2**-8 * exact.abs().max() * 4


def test_gradients_reach_float32_weights() -> None:
    torch.manual_seed(0)
    network, inputs = mlp(30, (64,), 3), torch.randn(100, 30)
    gradients = []
    for bfloat16 in (False, True):
        network.zero_grad()
        precision.forward(network, inputs, bfloat16).square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
    assert gradients[1].dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.999


def test_float32_is_bitwise_the_plain_network() -> None:
    network, inputs = mlp(5, (16,), 2), torch.randn(4, 5)
    assert torch.equal(precision.forward(network, inputs, bfloat16=False), network(inputs))


def test_auto_is_what_the_processor_has() -> None:
    assert precision.uses_bfloat16("bfloat16", CPU)
    assert not precision.uses_bfloat16("float32", CPU)
    assert not precision.uses_bfloat16("auto", torch.device("cuda"))
    capable = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    assert precision.uses_bfloat16("auto", CPU) == capable
