"""Action distributions agree with `torch.distributions`, and their samples with themselves."""

from __future__ import annotations

import math

import pytest
import torch
from torch import distributions as reference

from mprl.nn.distributions import Categorical, DiagonalGaussian


def gaussians(shared_std: bool) -> tuple[tuple[DiagonalGaussian, reference.Distribution], ...]:
    random = torch.Generator().manual_seed(0)
    made = []
    for _ in range(2):
        mean = torch.randn(5, 7, 3, generator=random)
        log_std = 0.5 * torch.randn((3,) if shared_std else (5, 7, 3), generator=random)
        made.append((DiagonalGaussian(mean, log_std), reference.Independent(reference.Normal(mean, log_std.exp()), 1)))
    return tuple(made)


def categoricals() -> tuple[tuple[Categorical, reference.Distribution], ...]:
    random = torch.Generator().manual_seed(0)
    logits = [3 * torch.randn(5, 7, 4, generator=random) for _ in range(2)]
    return tuple((Categorical(value), reference.Categorical(logits=value)) for value in logits)


PAIRS = {"gaussian": lambda: gaussians(False), "gaussian, one std for all": lambda: gaussians(True), "categorical": categoricals}


@pytest.mark.parametrize("kind", PAIRS)
def test_log_prob_entropy_and_kl_are_those_of_torch(kind):
    (ours, theirs), (our_other, their_other) = PAIRS[kind]()
    action = theirs.sample()
    torch.testing.assert_close(ours.log_prob(action), theirs.log_prob(action))
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    torch.testing.assert_close(ours.kl(our_other), reference.kl_divergence(theirs, their_other))
    torch.testing.assert_close(ours.kl(ours), torch.zeros(5, 7))


def test_the_standard_normal_by_hand():
    standard = DiagonalGaussian(torch.zeros(2), torch.zeros(2))
    assert standard.log_prob(torch.tensor([1.0, 0.0])).item() == pytest.approx(-math.log(2 * math.pi) - 0.5)
    assert standard.entropy().item() == pytest.approx(math.log(2 * math.pi * math.e))
    assert standard.kl(DiagonalGaussian(torch.tensor([1.0, 2.0]), torch.zeros(2))).item() == pytest.approx(2.5)  # |shift|² / 2


def test_even_odds_by_hand():
    even = Categorical(torch.full((4,), -7.0))  # logits mean the same after a shift
    assert even.log_prob(torch.tensor(2)).item() == pytest.approx(-math.log(4))
    assert even.entropy().item() == pytest.approx(math.log(4))


def test_samples_are_drawn_from_the_distribution():
    random = torch.Generator().manual_seed(1)
    mean, std = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0])
    drawn = DiagonalGaussian(mean.expand(100_000, 2), std.log()).sample(random)
    # 5 standard errors
    assert ((drawn.mean(0) - mean).abs() < 5 * std / 100_000**0.5).all() and ((drawn.std(0) / std - 1).abs() < 0.012).all()
    share = torch.tensor([0.1, 0.2, 0.7])
    counts = Categorical(share.log().expand(100, 1000, 3)).sample(random).flatten().bincount(minlength=3)
    assert ((counts / 100_000 - share).abs() < 5 * (share * (1 - share) / 100_000).sqrt()).all()


@pytest.mark.parametrize("kind", PAIRS)
def test_a_generator_decides_the_sample(kind):
    (ours, _), _ = PAIRS[kind]()
    draw = lambda seed: ours.sample(torch.Generator().manual_seed(seed))  # noqa: E731
    assert torch.equal(draw(3), draw(3)) and not torch.equal(draw(3), draw(4))


def test_the_mode_is_the_likeliest_action():
    for kind in PAIRS.values():
        (ours, theirs), _ = kind()
        assert (ours.log_prob(ours.mode()) >= ours.log_prob(theirs.sample())).all()


def test_a_sure_choice_has_no_nan():
    sure = Categorical(torch.tensor([0.0, 200.0]))
    assert sure.log_prob(sure.mode()).item() == 0 and sure.entropy().item() == pytest.approx(0, abs=1e-6)
