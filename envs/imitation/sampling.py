"""Where episodes begin: which clip of a library, and when in it. By weights, and more often where the character fails.

Adaptive sampling follows BeyondMimic (Liao et al. 2025, arXiv 2508.08241, section III-F): clips are cut into bins of about a second, how
often the character fails in each is counted with an exponential decay, and episodes begin in proportion to how often it fails there or
soon after, with a share that begins as if nothing were known. That favours hard clips over easy ones as well, as PHC does with its
hard negative mining (Luo et al. 2023, arXiv 2305.06456). All of it are tensors on the device; nothing waits for a GPU.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mprl.errors import SettingError, named, number
from mprl.motion import MotionLibrary

_PRIOR = 100.0  # control steps, over all worlds, that a bin is taken to have been seen at the mean rate before it was seen at all


@dataclass(frozen=True)
class AdaptiveSampling:
    """Settings of adaptive sampling."""

    bin_seconds: float = 1.0
    """About how long a bin of a clip is, s."""
    decay: float = 0.001
    """Share of what is known that is forgotten at each control step: the rates are those of about the last 1 / decay steps."""
    lookahead: int = 2
    """Bins over which failures count that come after an episode's beginning, the one where it begins included."""
    discount: float = 0.8
    """By how much less a failure counts for each bin that it is further ahead."""
    uniform: float = 0.1
    """Share of the episodes that begin as without adaptive sampling."""

    def __post_init__(self) -> None:
        wrong = [
            ("bin_seconds", "above 0 s", 0 < self.bin_seconds < math.inf),
            ("decay", "in (0, 1)", 0 < self.decay < 1),
            ("lookahead", "a whole number of at least 1", float(self.lookahead).is_integer() and self.lookahead >= 1),
            ("discount", "in (0, 1]", 0 < self.discount <= 1),
            ("uniform", "in (0, 1]", 0 < self.uniform <= 1),
        ]
        for name, what, fits in wrong:
            if not fits:
                raise SettingError(f"adaptive_sampling: {name} must be {what}, found {getattr(self, name)}")


def adaptive_of(wanted: Any) -> AdaptiveSampling | None:
    """The settings that the argument `adaptive_sampling` asks for: True for the defaults, or {name: value}; None without it.

    Raises:
        SettingError, UnknownNameError: a name or a value that cannot be.
    """
    if wanted is None or wanted is False:
        return None
    if wanted is True:
        return AdaptiveSampling()
    known = [field.name for field in dataclasses.fields(AdaptiveSampling)]
    wanted = named("adaptive_sampling", wanted, known, "setting of adaptive_sampling", "{'uniform': 0.2}")
    return AdaptiveSampling(**{name: number(f"adaptive_sampling: {name}", value) for name, value in wanted.items()})


def shares_of(weights: Sequence[float] | None, library: MotionLibrary) -> Tensor:
    """The share of the episodes that begins in each clip, (C,), summing to 1: by weights, or without them by the clips' lengths.

    Raises:
        SettingError: not one weight for each clip, a negative one, or only zeros.
    """
    if weights is None:
        return library.durations / library.durations.sum()
    values = [number("clip_weights", weight) for weight in (weights if isinstance(weights, list | tuple) else [weights])]
    if len(values) != len(library):
        raise SettingError(f"clip_weights: expected a weight for each of the {len(library)} clips, found {len(values)}")
    if not all(0 <= value < math.inf for value in values) or not any(values):
        raise SettingError(f"clip_weights must be numbers of at least 0, and one above it, found {', '.join(f'{v:g}' for v in values)}")
    share = torch.tensor(values, dtype=torch.float32, device=library.durations.device)
    return share / share.sum()


class Starts:
    """Draws where episodes begin.

    Args:
        library: of the clips.
        weights: of the clips, as of `shares_of`.
        adaptive: settings; None: each clip by its share, and all of it alike.

    Attributes:
        shares: of the clips without adaptive sampling, (C,).
        bins: how many each clip has, (C,) int64; one each without adaptive sampling. They lie one clip's after the other's.
        visits: control steps spent in each bin, (S,), and failures in it, (S,), both forgotten with time.
    """

    def __init__(self, library: MotionLibrary, weights: Sequence[float] | None = None, adaptive: AdaptiveSampling | None = None) -> None:
        self.shares, self.adaptive = shares_of(weights, library), adaptive
        device = self.shares.device
        seconds = math.inf if adaptive is None else adaptive.bin_seconds
        self.bins = (library.durations / seconds).round().long().clamp(min=1)
        self._first = self.bins.cumsum(0) - self.bins
        # how many there are is known from the clips, without waiting for the device more than this once
        self._clip = torch.arange(len(library), device=device).repeat_interleave(self.bins)
        self._within = torch.arange(len(self._clip), device=device) - self._first[self._clip]
        self._usual = (self.shares / self.bins)[self._clip]
        self.visits, self.failures = torch.zeros(2, len(self._clip), device=device).unbind(0)
        if adaptive is not None:
            self._ahead, self._counts = self._bins_ahead(library.cyclic, int(adaptive.lookahead), adaptive.discount)

    def _bins_ahead(self, cyclic: Tensor, lookahead: int, discount: float) -> tuple[Tensor, Tensor]:
        """The bins that follow each one, itself included, (S, K), and how much each counts: what lies behind a clip's end does not."""
        further = torch.arange(lookahead, device=cyclic.device)
        place, count = self._within.unsqueeze(1) + further, self.bins[self._clip].unsqueeze(1)
        there = (place < count) | cyclic[self._clip].unsqueeze(1)
        weight = torch.where(there, discount**further, 0.0)
        return self._first[self._clip].unsqueeze(1) + place % count, weight / weight.sum(dim=1, keepdim=True)

    @property
    def chances(self) -> Tensor:
        """How likely an episode begins in each bin, (S,), summing to 1."""
        if self.adaptive is None:
            return self._usual
        mean = (self.failures.sum() + 1e-6) / (self.visits.sum() + 1e-6)
        rate = (self.failures + _PRIOR * mean) / (self.visits + _PRIOR)
        hard = self._usual * (rate[self._ahead] * self._counts).sum(dim=1)
        return torch.lerp(hard / hard.sum(), self._usual, self.adaptive.uniform)

    def draw(self, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Clips (W,) int64 and phases (W,) in [0, 1) for uniform numbers (2, W)."""
        until = self.chances.cumsum(0)
        chosen = torch.searchsorted(until / until[-1], uniform[0].contiguous(), right=True).clamp(max=len(until) - 1)
        clip = self._clip[chosen]
        return clip, (self._within[chosen] + uniform[1]) / self.bins[clip]

    def record(self, clip: Tensor, phase: Tensor, failed: Tensor, counted: Tensor) -> None:
        """Take a control step of all worlds into account.

        Args:
            clip: of each world, (W,). phase: in [0, 1], (W,).
            failed: whether its episode ended by failure, (W,) bool.
            counted: whether it took a step at all, (W,) bool.
        """
        if self.adaptive is None:
            return
        bins = self.bins[clip]
        where = self._first[clip] + torch.minimum((phase * bins).long(), bins - 1)
        for tally, new in ((self.visits, counted), (self.failures, failed & counted)):
            # whole numbers are added up first, so that their order does not matter
            tally.mul_(1 - self.adaptive.decay).add_(torch.zeros_like(tally).index_add_(0, where, new.to(tally.dtype)))

    def state(self) -> dict[str, Tensor]:
        """What future episodes depend on; live tensors, none without adaptive sampling."""
        return {} if self.adaptive is None else {"visits": self.visits, "failures": self.failures}
