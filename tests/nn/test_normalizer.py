"""The running statistics are those of everything seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mprl.nn.normalizer import RunningNormalizer


def batches(offset: float = 5.0, scale: float = 3.0) -> list[torch.Tensor]:
    random = np.random.default_rng(0)
    return [
        torch.tensor(offset + k + scale * random.standard_normal((n, 2, 3)), dtype=torch.float32) for k, n in enumerate((1, 50, 7, 1000))
    ]


@pytest.mark.parametrize("offset", [0.0, 5.0, -300.0])
def test_mean_and_variance_are_numpy_s_over_all_batches_together(offset):
    normalizer, seen = RunningNormalizer((2, 3)), batches(offset)
    for batch in seen:
        normalizer.update(batch)
    together = torch.cat(seen).double().numpy()
    np.testing.assert_allclose(normalizer.mean, together.mean(axis=0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(normalizer.variance, together.var(axis=0), rtol=1e-4)
    assert normalizer.count == 1058


def test_the_order_of_batches_does_not_matter():
    forwards, backwards = RunningNormalizer((2, 3)), RunningNormalizer((2, 3))
    for one, other in zip(batches(), reversed(batches()), strict=True):
        forwards.update(one), backwards.update(other)
    torch.testing.assert_close(forwards.variance, backwards.variance)


def test_what_was_seen_comes_out_standardised():
    normalizer = RunningNormalizer((2, 3), clip=100.0)
    seen = torch.cat(batches())
    normalizer.update(seen)
    out = normalizer(seen)
    torch.testing.assert_close(out.mean(0), torch.zeros(2, 3), atol=1e-4, rtol=0)
    torch.testing.assert_close(out.std(0, correction=0), torch.ones(2, 3), atol=1e-4, rtol=0)


def test_values_are_clipped_and_constant_ones_are_no_danger():
    normalizer = RunningNormalizer((1,), clip=10.0)
    normalizer.update(torch.full((20, 1), 4.0))
    assert normalizer(torch.tensor([[4.0], [5.0], [-1e9]])).flatten().tolist() == [0.0, 10.0, -10.0]


def test_before_it_has_seen_anything_it_passes_values_on():
    normalizer = RunningNormalizer((2,))
    normalizer.update(torch.empty(0, 2))
    torch.testing.assert_close(normalizer(torch.tensor([[1.0, -2.0]])), torch.tensor([[1.0, -2.0]]))


def test_the_hundred_millionth_value_still_counts():
    """The count is a whole number in float64: in float32 it stops at 2**24."""
    normalizer = RunningNormalizer(())
    normalizer.update(torch.zeros(10))
    normalizer.count.fill_(1e8)
    normalizer.update(torch.ones(3))
    assert normalizer.count == 1e8 + 3


def test_it_is_part_of_the_weights_and_has_no_gradient():
    normalizer = RunningNormalizer((2,))
    assert set(normalizer.state_dict()) == {"mean", "variance", "count"} and not list(normalizer.parameters())
    normalizer.update(torch.ones(4, 2, requires_grad=True))
    assert not normalizer.mean.requires_grad
