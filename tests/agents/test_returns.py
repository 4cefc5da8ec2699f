"""Generalised advantage estimation (Schulman et al. 2016, arXiv 1506.02438), worked out by hand.

Three steps, discount .5, decay .5: what a later error is worth now shrinks by a quarter a step. All numbers are exact in binary.
"""

from __future__ import annotations

import torch

from mprl.agents.returns import generalized_advantage

REWARD = [1.0, 2.0, 4.0]
VALUE = [8.0, 4.0, 2.0]
NEXT = [4.0, 2.0, 16.0]  # the value of the following observation
# errors without an end: 1 + .5 * 4 - 8 = -5;  2 + .5 * 2 - 4 = -1;  4 + .5 * 16 - 2 = 10


def advantage(terminated=(), truncated=(), discount=0.5, decay=0.5, next_value=NEXT) -> list[float]:
    flags = [torch.tensor([[t in ends] for t in range(3)]) for ends in (terminated, truncated)]
    column = lambda values: torch.tensor(values).unsqueeze(1)  # noqa: E731
    return generalized_advantage(column(REWARD), column(VALUE), column(next_value), *flags, discount, decay).flatten().tolist()


def test_no_end():
    assert advantage() == [-5 + 0.25 * (-1 + 0.25 * 10), -1 + 0.25 * 10, 10]


def test_a_terminated_step_has_no_future():
    # at the end of step 1: 2 - 4 = -2, whatever the next value says; step 2 belongs to another episode
    assert advantage(terminated=(1,)) == [-5 + 0.25 * -2, -2, 10]
    assert advantage(terminated=(1,), next_value=[4.0, 1e6, 16.0]) == [-5.5, -2, 10]


def test_a_truncated_step_has_the_value_of_what_it_saw_last_and_nothing_of_the_next_episode():
    final = [4.0, 32.0, 16.0]  # of the final observation: 2 + .5 * 32 - 4 = 14
    assert advantage(truncated=(1,), next_value=final) == [-5 + 0.25 * 14, 14, 10]


def test_the_last_step_of_a_rollout_ends_nothing_by_itself():
    assert advantage()[2] == 10 and advantage(terminated=(2,))[2] == 4 - 2 and advantage(truncated=(2,))[2] == 10


def test_decay_0_is_the_one_step_error():
    assert advantage(decay=0.0) == [-5, -1, 10]
    assert advantage(decay=0.0, terminated=(0,)) == [-7, -1, 10]


def test_decay_1_is_the_discounted_return_less_the_value():
    # returns: 4 + .5 * 16 = 12;  2 + .5 * 12 = 8;  1 + .5 * 8 = 5
    assert advantage(decay=1.0) == [5 - 8, 8 - 4, 12 - 2]
    # terminated at step 1: returns 2 and 1 + .5 * 2 = 2
    assert advantage(decay=1.0, terminated=(1,)) == [2 - 8, 2 - 4, 10]


def test_no_discount_and_full_decay_sum_the_rewards():
    assert advantage(discount=1.0, decay=1.0, terminated=(2,)) == [7 - 8, 6 - 4, 4 - 2]


def test_worlds_do_not_mix():
    random = torch.Generator().manual_seed(0)
    reward, value, following = torch.randn(3, 6, 4, generator=random)
    terminated, truncated = torch.rand(2, 6, 4, generator=random) < 0.2
    together = generalized_advantage(reward, value, following, terminated, truncated, 0.9, 0.8)
    for world in range(4):
        column = [x[:, world : world + 1] for x in (reward, value, following, terminated, truncated)]
        torch.testing.assert_close(generalized_advantage(*column, 0.9, 0.8), together[:, world : world + 1])
