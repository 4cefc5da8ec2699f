"""What is remembered comes back as it was; n-step transitions are what a plain loop over episodes makes of them."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

from mprl import memory
from mprl.agents.n_step import NStep, Steps
from mprl.agents.replay import PrioritizedReplay, Replay, Transitions, check_memory
from mprl.errors import MprlError


def numbered(first: int, count: int) -> Transitions:
    """Transitions that can be told apart: number i has the observation (i, -i)."""
    number = torch.arange(first, first + count)
    pair = torch.stack((number, -number), -1).float()
    return Transitions(pair, number % 3, number / 2, number / 4, pair + 0.5)


def numbers(replay: Replay) -> list[int]:
    return replay[torch.arange(replay.size)].observation[:, 0].int().tolist()


# ------------------------------------------------------------------------------------------------------------------------ the ring


def test_the_last_ones_are_remembered():
    replay = Replay(5, 2)
    assert replay.size == 0
    replay.add(numbered(0, 3))
    assert numbers(replay) == [0, 1, 2]
    replay.add(numbered(3, 4))  # over the end
    assert numbers(replay) == [5, 6, 2, 3, 4]
    replay.add(numbered(7, 12))  # more than there is room for
    assert sorted(numbers(replay)) == [14, 15, 16, 17, 18]


def test_every_field_comes_back():
    replay = Replay(8, 2)
    replay.add(numbered(0, 6))
    rows = torch.tensor([4, 0, 4])
    for found, expected in zip(replay[rows], numbered(0, 6), strict=True):
        assert torch.equal(found, expected[rows])


def test_bytes_are_kept_as_bytes():
    replay = Replay(4, 3, observation_dtype=torch.uint8)
    pixels = torch.tensor([[0.0, 7.0, 255.0]])
    replay.add(Transitions(pixels, torch.zeros(1, dtype=torch.int64), torch.ones(1), torch.ones(1), pixels))
    assert replay.get_state()["observation"].dtype == torch.uint8
    assert torch.equal(replay[torch.tensor([0])].observation, pixels) and replay[torch.tensor([0])].observation.dtype == torch.float32


def test_all_are_drawn_alike():
    replay = Replay(10, 2)
    replay.add(numbered(0, 4))
    rows = replay.sample(40_000, torch.Generator().manual_seed(0))
    assert (rows.bincount() / 40_000).tolist() == pytest.approx([0.25] * 4, abs=0.01)


# -------------------------------------------------------------------------------------------------------------------- priorities


def test_errors_decide_what_is_drawn_and_weights_make_up_for_it():
    """Schaul et al. 2016: P(i) = pᵢ^α / Σ pₖ^α (eq. 1), wᵢ = (N P(i))^-β / max w (section 3.4)."""
    replay = PrioritizedReplay(8, 2, alpha=0.5)
    replay.add(numbered(0, 4))
    errors = torch.tensor([1.0, -4.0, 9.0, 16.0])
    replay.update(torch.arange(4), errors)
    rows = torch.cat([replay.sample(50, torch.Generator().manual_seed(seed)) for seed in range(400)])
    expected = np.array([1, 2, 3, 4]) / 10
    assert (rows.bincount() / len(rows)).tolist() == pytest.approx(expected, abs=0.005)
    assert replay.importance(torch.arange(4), 1.0).tolist() == pytest.approx((1 / expected) / (1 / expected).max(), rel=1e-5)
    assert replay.importance(torch.arange(4), 0.0).tolist() == [1, 1, 1, 1]


def test_what_is_new_is_drawn_as_often_as_the_greatest_there_was():
    replay = PrioritizedReplay(4, 2, alpha=1.0)
    replay.add(numbered(0, 2))
    replay.update(torch.tensor([0, 1]), torch.tensor([3.0, 0.5]))
    replay.update(torch.tensor([0]), torch.tensor([1.0]))
    replay.add(numbered(2, 1))
    weights = replay.importance(torch.arange(3), 1.0)
    assert (weights[1] / weights).tolist() == pytest.approx([1 / 0.5, 1.0, 3 / 0.5], rel=1e-4)


def test_without_a_power_the_draw_is_uniform():
    replay = PrioritizedReplay(4, 2, alpha=0.0)
    replay.add(numbered(0, 4))
    replay.update(torch.arange(4), torch.tensor([1e-3, 1.0, 10.0, 1e5]))
    assert replay.sample(4, torch.Generator().manual_seed(0)).tolist() == [0, 1, 2, 3]


# ------------------------------------------------------------------------------------------------------------------------ memory


def test_a_memory_larger_than_the_machine_s_is_refused_before_it_is_made(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 3 * 2**30)
    monkeypatch.setattr(torch, "empty", None)
    with pytest.raises(MprlError) as caught:
        Replay(10_000_000, 100)
    # two observations of 400 bytes, an action of 8, reward and discount of 4 each: 816 bytes
    expected = "a replay memory of 10,000,000 transitions needs 7.6 GiB, 3.0 GiB are free; try buffer_size=3100000"
    assert str(caught.value) == expected
    check_memory(3_100_000, 816)


# ------------------------------------------------------------------------------------------------------------------------ n steps


def play(rng: random.Random, steps: int, worlds: int, next_step: bool) -> tuple[Steps, list[list[list[dict[str, Any]]]]]:
    """Random episodes in every world, as steps (T, W), and as a list of steps for each episode of each world.

    With `next_step` a step that only resets follows each end, as in Gymnasium's AutoresetMode.NEXT_STEP.
    """
    columns: list[list[dict[str, Any]]] = [[] for _ in range(worlds)]
    episodes: list[list[list[dict[str, Any]]]] = [[[]] for _ in range(worlds)]
    for world in range(worlds):
        state = 100.0 * world
        while len(columns[world]) < steps:
            end = rng.choice(["", "", "", "terminated", "truncated"])
            row = dict(observation=state, action=rng.randrange(5), reward=rng.random(), next_observation=state + 1, valid=True)
            row |= dict(terminated=end == "terminated", truncated=end == "truncated")
            columns[world].append(row)
            episodes[world][-1].append(row)
            state += 1
            if end:
                episodes[world].append([])
                state += 10
                if next_step and len(columns[world]) < steps:
                    columns[world].append(
                        dict(row, observation=-1.0, next_observation=-2.0, valid=False, terminated=False, truncated=False)
                    )
    tensors = {key: torch.tensor([[columns[w][t][key] for w in range(worlds)] for t in range(steps)]) for key in Steps._fields}
    tensors |= {key: tensors[key].unsqueeze(-1) for key in ("observation", "next_observation")}
    return Steps(**tensors), episodes


def by_hand(episodes: list[list[list[dict[str, Any]]]], n: int, gamma: float) -> list[tuple[float, ...]]:
    """Every transition of n steps, or fewer at an episode's end, whose steps are all there."""
    made = []
    for episode in (episode for world in episodes for episode in world):
        over = bool(episode) and (episode[-1]["terminated"] or episode[-1]["truncated"])
        for start in range(len(episode)):
            window = episode[start : start + n]
            if len(window) == n or over:
                total = sum(gamma**k * row["reward"] for k, row in enumerate(window))
                discount = 0.0 if window[-1]["terminated"] else gamma ** len(window)
                made.append((window[0]["observation"], window[0]["action"], total, discount, window[-1]["next_observation"]))
    return sorted(made)


def rows_of(transitions: list[Transitions]) -> list[tuple[float, ...]]:
    columns = [torch.cat([getattr(t, key) for t in transitions]).flatten().tolist() for key in Transitions._fields]
    return sorted(zip(*columns, strict=True))


@pytest.mark.parametrize("next_step", [False, True])
@pytest.mark.parametrize(("n", "block"), [(1, 7), (2, 40), (3, 1), (3, 2), (5, 2), (5, 7)])
def test_n_step_transitions_are_those_made_by_hand(n, block, next_step):
    for seed in range(2):
        steps, episodes = play(random.Random(seed), 40, 3, next_step)
        windows = NStep(n, 0.9)
        found = [windows.add(Steps(*(field[at : at + block] for field in steps))) for at in range(0, 40, block)]
        for row, expected in zip(rows_of(found), by_hand(episodes, n, 0.9), strict=True):
            assert row == pytest.approx(expected, rel=1e-5)
        # when the open episodes are given up, they count as truncated
        for world in episodes:
            if world[-1]:
                world[-1][-1]["truncated"] = world[-1][-1]["truncated"] or not world[-1][-1]["terminated"]
        left = windows.cut()
        for row, expected in zip(rows_of(found + ([left] if left else [])), by_hand(episodes, n, 0.9), strict=True):
            assert row == pytest.approx(expected, rel=1e-5)
        assert windows.cut() is None
