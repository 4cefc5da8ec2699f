"""Action distributions agree with `torch.distributions`, and their samples with themselves."""

from __future__ import annotations

import math

import pytest
import torch
from torch import distributions as reference

from mprl.nn.distributions import Bernoulli, Categorical, DiagonalGaussian, MultiCategorical, SquashedGaussian


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


class Independent:
    """Categoricals of torch, one for each choice."""

    def __init__(self, choices: list[reference.Categorical]) -> None:
        self.choices = choices

    def sample(self) -> torch.Tensor:
        return torch.stack([choice.sample() for choice in self.choices], dim=-1)

    def log_prob(self, action: torch.Tensor) -> torch.Tensor:
        return sum(choice.log_prob(action[..., i]) for i, choice in enumerate(self.choices))

    def entropy(self) -> torch.Tensor:
        return sum(choice.entropy() for choice in self.choices)


@reference.register_kl(Independent, Independent)
def _kl(p: Independent, q: Independent) -> torch.Tensor:
    return sum(reference.kl_divergence(a, b) for a, b in zip(p.choices, q.choices, strict=True))


def multi_categoricals(*nvec: int) -> tuple[tuple[MultiCategorical, Independent], ...]:
    random = torch.Generator().manual_seed(0)
    logits = [3 * torch.randn(5, 7, sum(nvec), generator=random) for _ in range(2)]
    choices = [[reference.Categorical(logits=part) for part in value.split(nvec, dim=-1)] for value in logits]
    return tuple((MultiCategorical(value, nvec), Independent(each)) for value, each in zip(logits, choices, strict=True))


def bernoullis() -> tuple[tuple[Bernoulli, reference.Distribution], ...]:
    random = torch.Generator().manual_seed(0)
    logits = [3 * torch.randn(5, 7, 4, generator=random) for _ in range(2)]
    return tuple((Bernoulli(value), reference.Independent(reference.Bernoulli(logits=value), 1)) for value in logits)


PAIRS = {"gaussian": lambda: gaussians(False), "gaussian, one std for all": lambda: gaussians(True), "categorical": categoricals,
    "choices of 2, 4 and 3": lambda: multi_categoricals(2, 4, 3), "two choices of 3": lambda: multi_categoricals(3, 3),
    "yes or no": bernoullis}  # fmt: skip


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


# --- samples of a Categorical -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [16, 1000])  # a race of clocks below 128 numbers, a search in the cumulative distribution above
def test_both_ways_to_draw_are_fair(rows):
    random = torch.Generator().manual_seed(2)
    share = torch.tensor([0.05, 0.0, 0.25, 0.3, 0.4])
    policy = Categorical(share.log().expand(rows, 5) - 3.0)
    draws = 100_000 // rows
    counts = torch.stack([policy.sample(random) for _ in range(draws)]).flatten().bincount(minlength=5)
    expected = share * rows * draws
    assert counts[1] == 0
    chi_squared = ((counts - expected).square() / expected.clamp(min=1)).sum()
    assert chi_squared < 18.5  # 99.9 % quantile with 4 - 1 degrees of freedom is 16.3


@pytest.mark.parametrize("rows", [4, 4000])
def test_an_action_without_probability_is_never_drawn(rows):
    logits = torch.tensor([0.0, -math.inf, 0.0, -math.inf]).expand(rows, 4)
    random = torch.Generator().manual_seed(0)
    assert {0, 2} == set(torch.cat([Categorical(logits).sample(random) for _ in range(50)]).tolist())


@pytest.mark.parametrize("rows", [3, 300])
def test_drawing_needs_no_gradient_and_spoils_none(rows):
    logits = torch.randn(rows, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    policy = Categorical(logits)
    action = policy.sample()
    with torch.no_grad():
        policy.log_prob(action)
    assert not action.requires_grad and policy.log_prob(action).requires_grad


# --- the squashed Gaussian --------------------------------------------------------------------------------------------------


def squashed() -> tuple[SquashedGaussian, reference.Distribution]:
    random = torch.Generator().manual_seed(0)
    mean, log_std = torch.randn(5, 7, 3, generator=random).double(), 0.5 * torch.randn(5, 7, 3, generator=random).double()
    normal = reference.Independent(reference.Normal(mean, log_std.exp()), 1)
    return SquashedGaussian(mean, log_std), reference.TransformedDistribution(normal, reference.TanhTransform())


def test_the_density_of_a_squashed_gaussian_is_that_of_torch():
    ours, theirs = squashed()
    action = theirs.sample().clamp(-0.999, 0.999)
    torch.testing.assert_close(ours.log_prob(action), theirs.log_prob(action), rtol=1e-9, atol=1e-9)
    drawn, log_prob = ours.rsample(torch.Generator().manual_seed(1))
    assert torch.equal(drawn, ours.sample(torch.Generator().manual_seed(1)))
    inside = (drawn.abs() < 0.9999).all(dim=-1)  # nearer to the bounds an action no longer tells where it came from
    assert inside.sum() > 20
    torch.testing.assert_close(log_prob[inside], ours.log_prob(drawn)[inside], rtol=1e-8, atol=1e-8)


def test_a_squashed_gaussian_s_density_sums_to_one():
    action = torch.linspace(-1, 1, 200_001, dtype=torch.float64)[1:-1, None]
    density = SquashedGaussian(torch.tensor([0.3], dtype=torch.float64), torch.tensor([-0.2], dtype=torch.float64)).log_prob(action).exp()
    assert float(density.sum() * (action[1] - action[0])) == pytest.approx(1, abs=1e-6)


def test_far_in_the_tails_the_squashed_density_is_finite_and_so_is_its_gradient():
    """log(1 - tanh²u) rounds to log 0 from u = 9 on in float32; its value is 2 log 2 - 2|u| there."""
    mean = torch.tensor([20.0, -40.0], requires_grad=True)
    action, log_prob = SquashedGaussian(mean, torch.tensor([-20.0, -20.0])).rsample(torch.Generator().manual_seed(0))
    assert action.tolist() == [1.0, -1.0]
    noise = torch.randn(2, generator=torch.Generator().manual_seed(0))
    normal = -0.5 * noise.square() + 20 - 0.5 * math.log(2 * math.pi)
    assert log_prob.item() == pytest.approx(float(normal.sum()) + 2 * (20 + 40) - 4 * math.log(2), rel=1e-6)
    log_prob.backward()
    torch.testing.assert_close(mean.grad, torch.tensor([2.0, -2.0]))  # d/du of 2 |u|
    assert torch.isfinite(SquashedGaussian(mean, torch.zeros(2)).log_prob(torch.tensor([1.0, -1.0])))


def test_the_reparametrised_gradient_is_that_of_the_expectation():
    """d E[tanh(m + s ε)] / dm by quadrature."""
    mean, log_std = torch.tensor([0.4], requires_grad=True), torch.tensor([-0.5])
    action, _ = SquashedGaussian(mean.expand(200_000, 1), log_std).rsample(torch.Generator().manual_seed(0))
    action.mean().backward()
    noise = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    weight = torch.exp(-0.5 * noise**2) / math.sqrt(2 * math.pi) * (noise[1] - noise[0])
    expected = float((weight * (1 - torch.tanh(0.4 + math.exp(-0.5) * noise) ** 2)).sum())
    assert mean.grad.item() == pytest.approx(expected, abs=0.003)


def test_squashing_changes_no_kl_and_goes_with_the_mode():
    ours, theirs = squashed()
    other = SquashedGaussian(ours.normal.mean + 0.5, ours.normal.log_std - 0.1)
    torch.testing.assert_close(ours.kl(other), ours.normal.kl(other.normal))
    torch.testing.assert_close(ours.mode(), theirs.base_dist.mean.tanh())


def test_what_an_export_traces_leaves_no_trace():
    """The table of columns is remembered between calls, but not one of the tensors without numbers that tracing is done with."""

    class Mode(torch.nn.Module):
        def forward(self, logits):
            return MultiCategorical(logits, (2, 5, 1)).mode()

    torch.export.export(Mode(), (torch.zeros(3, 8),))
    assert MultiCategorical(torch.arange(8.0), (2, 5, 1)).mode().tolist() == [1, 4, 0]


@pytest.mark.parametrize("entropy_weight", [0.0, 0.3])
@pytest.mark.parametrize(
    ("make", "outputs"),
    [
        (lambda o, s: DiagonalGaussian(o, s), 3),
        (lambda o, s: Categorical(o), 3),
        (lambda o, s: MultiCategorical(o, (2, 3)), 5),
        (lambda o, s: Bernoulli(o), 3),
    ],
)
def test_slopes_are_those_of_autograd(make, outputs, entropy_weight):
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(6, outputs, generator=generator).requires_grad_()
    log_std = torch.tensor([-0.5, 0.1, 0.4], requires_grad=True)
    weight = torch.randn(6, generator=generator)
    distribution = make(output, log_std)
    action = distribution.sample(generator).detach()
    ((weight * distribution.log_prob(action)).sum() + entropy_weight * distribution.entropy().sum()).backward()
    of_output, of_log_std = make(output.detach(), log_std.detach()).slopes(action, weight, entropy_weight)
    torch.testing.assert_close(of_output, output.grad)
    assert (of_log_std is None) == (log_std.grad is None)
    if of_log_std is not None:
        torch.testing.assert_close(of_log_std, log_std.grad)
