"""Blackjack as in Sutton & Barto, Example 5.1: cards from an infinite deck, so that all that counts is in the state."""

from __future__ import annotations

import functools
from collections import defaultdict
from itertools import product

import numpy as np

from mprl.envs.tabular.tabular import Outcome, TabularEnv
from mprl.envs.tabular.vector import batched

STICK, HIT = 0, 1
CARDS = {card: (4 if card == 10 else 1) / 13 for card in range(1, 11)}
"""Probability of each card; an ace is 1, and court cards are tens."""
NATURAL, END = 200, 210
Hand = tuple[int, bool]
"""Sum, and whether an ace in it counts as 11."""


class BlackjackEnv(TabularEnv):
    """Blackjack against a dealer who sticks on 17 (Sutton & Barto, Example 5.1, Figures 5.1 and 5.2).

    | | |
    |---|---|
    | states | 100 x usable ace + 10 x (player's sum - 12) + dealer's card - 1: 200, so `values[:200].reshape(2, 10, 10)` has the axes of Figure 5.2; 200 + dealer's card - 1: a natural; 210: terminal |
    | actions | 0 stick, 1 hit |
    | reward | at the end: +1 won, 0 drawn, -1 lost; no discount |
    | start | two cards each; below a sum of 12, where a card can only help, the player draws more |
    | end | terminated when the player sticks or goes bust |

    A natural (an ace and a ten in the first two cards) wins by sticking unless the dealer has one too, which is a draw; the book
    ends the game at once. A hit makes an ordinary 21 of it. Cards are dealt with replacement: 2 to 9 and ace with probability
    1/13, tens with 4/13. The dealer hits below 17 and sticks from there on, with or without usable ace.

    Args:
        render_mode: "ansi" or "rgb_array".

    ## Versions
    v0: first.
    """  # noqa: E501

    def __init__(self, render_mode: str | None = None) -> None:
        start = np.zeros(END + 1)
        for dealer, first, second in product(CARDS, repeat=3):
            probability = CARDS[dealer] * CARDS[first] * CARDS[second]
            if {first, second} == {1, 10}:
                start[NATURAL + dealer - 1] += probability
                continue
            for hand, p_hand in _drawn_up_to(12, _with(_with((0, False), first), second)).items():
                start[_state(hand, dealer)] += probability * p_hand
        super().__init__(END + 1, 2, terminal=(END,), start=start, render_mode=render_mode)

    def outcomes(self, state: int, action: int) -> list[Outcome]:
        hand, dealer, natural = _read(state)
        if action == HIT:
            hands = [(probability, _with(hand, card)) for card, probability in CARDS.items()]
            return [
                (probability, END, -1.0, True) if new[0] > 21 else (probability, _state(new, dealer), 0.0, False)
                for probability, new in hands
            ]
        rewards: dict[float, float] = defaultdict(float)
        if natural:
            rewards[0.0] = {1: CARDS[10], 10: CARDS[1]}.get(dealer, 0.0)
            rewards[1.0] = 1.0 - rewards[0.0]
        else:
            for total, probability in _dealers_sums(dealer).items():
                rewards[float(np.sign(hand[0] - total))] += probability
        return [(probability, END, reward, True) for reward, probability in sorted(rewards.items()) if probability]

    def describe(self) -> str:
        if self.s == END:
            return "the game is over\n"
        (total, usable), dealer, natural = _read(self.s or 0)
        ace = ", a natural" if natural else ", usable ace" if usable else ""
        return f"player: {total}{ace}\ndealer shows: {'ace' if dealer == 1 else dealer}\n"


BlackjackVectorEnv = batched(BlackjackEnv)


def _state(hand: Hand, dealer: int) -> int:
    return 100 * hand[1] + 10 * (hand[0] - 12) + dealer - 1


def _read(state: int) -> tuple[Hand, int, bool]:
    """Player's hand, dealer's card, and whether the hand is a natural."""
    if state >= NATURAL:
        return (21, True), state - NATURAL + 1, True
    usable, rest = divmod(state, 100)
    return (12 + rest // 10, bool(usable)), rest % 10 + 1, False


def _with(hand: Hand, card: int) -> Hand:
    """A hand with one more card; an ace counts as 11 as long as that is not too much."""
    total, usable = hand[0] + card, hand[1]
    if card == 1 and total + 10 <= 21:
        return total + 10, True
    return (total - 10, False) if total > 21 and usable else (total, usable)


@functools.cache
def _drawn_up_to(least: int, hand: Hand) -> dict[Hand, float]:
    """The hands, and their probabilities, when cards are drawn until the sum is at least `least`."""
    if hand[0] >= least:
        return {hand: 1.0}
    hands: dict[Hand, float] = defaultdict(float)
    for card, probability in CARDS.items():
        for final, p_final in _drawn_up_to(least, _with(hand, card)).items():
            hands[final] += probability * p_final
    return dict(hands)


@functools.cache
def _dealers_sums(card: int) -> dict[int, float]:
    """Probabilities of the sums that the dealer ends with, from the card that is shown; 0 for a bust, which loses to every sum."""
    sums: dict[int, float] = defaultdict(float)
    for (total, _), probability in _drawn_up_to(17, _with((0, False), card)).items():
        sums[total if total <= 21 else 0] += probability
    return dict(sums)
