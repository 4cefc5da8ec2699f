"""What the processes that learn together tell each other: known answers, through gloo, with a thread in place of each process."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mprl.errors import MprlError, SettingError
from mprl.nn.normalizer import RunningNormalizer
from mprl.ranks import ALONE, Ranks, dealt

PARTS = ([1.0, 2.0, 6.0], [10.0], [])  # of three ranks; of all the mean is 19/4


def test_sums_and_moments_are_those_of_all_ranks(in_ranks):
    def ask(ranks: Ranks) -> dict[str, Any]:
        values = torch.tensor(PARTS[ranks.rank])
        return {
            "total": ranks.total(torch.full((2,), 10.0**ranks.rank)).tolist(),
            "count": ranks.count(len(values)),
            "counts": ranks.counts(len(values)),
            "any": [ranks.any(ranks.rank == 2), ranks.any(False)],
            "mean": float(ranks.mean(values)),
            "variance": float(ranks.variance(values)),
            "std": float(ranks.std(values)),
            "totals": ranks.totals({"a": 1.5, f"of {ranks.rank}": 1.0}),
        }

    everything = torch.tensor([value for part in PARTS for value in part])
    for found in in_ranks(3, ask):
        assert found["total"] == [111.0, 111.0]
        assert (found["count"], found["counts"], found["any"]) == (4, [3, 1, 0], [True, False])
        assert found["mean"] == 4.75
        assert found["variance"] == pytest.approx(float(everything.var(correction=0)), rel=1e-6)
        assert found["std"] == pytest.approx(float(everything.std(correction=0)), rel=1e-6)
        assert found["totals"] == {"a": 4.5, "of 0": 1.0, "of 1": 1.0, "of 2": 1.0}


def test_means_are_weighed_by_samples_and_a_rank_without_any_counts_nothing(in_ranks):
    """Of (1, 3) with 1 sample, (5, 7) with 3 and nothing: ((1 + 15) / 4, (3 + 21) / 4)."""

    def ask(ranks: Ranks) -> tuple[Any, Any]:
        means, samples = (([1.0, 3.0], 1), ([5.0, 7.0], 3), ([float("nan"), 0.0], 0))[ranks.rank]
        gradient = torch.tensor(means).nan_to_num()
        ranks.average_gradient(gradient, samples)
        return gradient.tolist(), ranks.average(torch.tensor([means]), [samples]).tolist()

    assert in_ranks(3, ask) == [([4.0, 6.0], [[4.0, 6.0]])] * 3


def test_a_normaliser_of_many_ranks_is_that_of_one_with_everything(in_ranks):
    values = torch.randn(60, 3, generator=torch.Generator().manual_seed(0)) * 5 + 2
    alone = RunningNormalizer((3,))
    for batch in values.split(20):
        alone.update(batch)

    def watch(ranks: Ranks) -> RunningNormalizer:
        own = RunningNormalizer((3,))
        for batch in values.split(20):
            own.update(batch[(0, 13)[ranks.rank] : (13, 20)[ranks.rank]], ranks)
        return own

    one, other = in_ranks(2, watch)
    for name in ("mean", "variance", "count"):
        torch.testing.assert_close(getattr(one, name), getattr(alone, name), rtol=1e-5, atol=1e-6)
        assert torch.equal(getattr(one, name), getattr(other, name))


def test_bytes_and_texts_go_where_they_should(in_ranks):
    def ask(ranks: Ranks) -> tuple[Any, ...]:
        weight = torch.full((2,), float(ranks.rank + 1))
        ranks.from_first([weight, torch.zeros(3)])
        return (
            ranks.tell({"from": ranks.rank}),
            ranks.collect(bytes([ranks.rank]) * 3),
            ranks.hand_out([b"one", b"second"]),
            weight.tolist(),
        )

    said, first = {"from": 0}, [1.0, 1.0]
    assert in_ranks(3, ask) == [(said, [b"\1\1\1", b"\2\2\2"], b"", first), (said, [], b"one", first), (said, [], b"second", first)]


def test_worlds_are_shared_out_to_the_last():
    sizes = []
    for rank in range(3):
        ranks = Ranks()
        ranks.rank, ranks.size = rank, 3
        sizes.append(ranks.share(8))
    assert sizes == [3, 3, 2]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(any), st.integers(1, 12))
def test_minibatches_are_dealt_from_all_ranks_evenly(counts, size):
    """All are as large as asked for but the last, everything is dealt, and no rank gets ahead of its share."""
    parts = torch.tensor(list(dealt(counts, size)))
    whole, rest = divmod(sum(counts), size)
    assert parts.sum(1).tolist() == [size] * whole + [rest] * (rest > 0)
    assert parts.sum(0).tolist() == counts and (parts >= 0).all()
    share = torch.tensor(counts) / sum(counts)
    assert ((parts.cumsum(0) - parts.cumsum(0).sum(1, keepdim=True) * share).abs() < 1.5).all()


def test_one_process_is_not_asked_anything():
    values = torch.tensor([1.0, 2.0])
    assert ALONE.total(values) is values and ALONE.count(3) == 3 and ALONE.totals({"a": 1.0}) == {"a": 1.0}


# --------------------------------------------------------------------------------------------------------------------- mistakes


def test_a_mistake_of_one_rank_is_told_by_the_first_and_ends_all(in_ranks):
    def ask(ranks: Ranks) -> Any:
        try:
            with ranks.agreed():
                if ranks.rank == 1:
                    raise SettingError("no such file")
        except MprlError as error:
            return str(error)
        except SystemExit as end:
            return end.code

    assert in_ranks(3, ask) == ["rank 1 of 3: no such file", 2, 2]


def test_a_mistake_of_all_is_told_once_as_it_is(in_ranks):
    def ask(ranks: Ranks) -> Any:
        try:
            with ranks.agreed():
                raise SettingError("no such file")
        except MprlError as error:
            return str(error)
        except SystemExit as end:
            return end.code

    assert in_ranks(2, ask) == ["no such file", 2]


def test_the_first_setting_that_differs_is_named(in_ranks):
    def ask(ranks: Ranks) -> Any:
        try:
            ranks.require_same({"env_id": "CartPole-v1", "settings.gamma": (0.99, 0.9)[ranks.rank]})
        except MprlError as error:
            return str(error)
        except SystemExit as end:
            return end.code

    assert in_ranks(2, ask) == ["rank 1 has settings.gamma 0.9, rank 0 has 0.99; all processes need the same command", 2]


def test_a_rank_that_is_gone_is_one_line(in_ranks):
    def ask(ranks: Any) -> Any:
        if ranks.rank == 1:
            return None  # its connections are closed with it
        try:
            ranks.count(1)
        except MprlError as error:
            return str(error)

    line = in_ranks(2, ask)[0]
    assert line.startswith("rank 0 of 2: the other processes cannot be reached any more (") and "\n" not in line
