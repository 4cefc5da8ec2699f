"""When an episode ends: by failure (terminated) or because there is no more to see (truncated). The two are never mixed."""

from __future__ import annotations

import torch
from torch import Tensor


def forbidden_contact(touching: Tensor, forbidden: Tensor) -> Tensor:
    """Whether any body touched the ground that must not, both (W, bodies) bool -> (W,) bool (DeepMimic, section 6)."""
    return (touching & forbidden).any(dim=-1)


def tracking_lost(body_error: Tensor, limit: float) -> Tensor:
    """Whether any body is more than `limit` m off its reference, (W, B) m -> (W,) bool."""
    return (body_error > limit).any(dim=-1)


def clip_ended(times: Tensor, durations: Tensor, cyclic: Tensor, control_step: float) -> Tensor:
    """Whether a clip that does not loop has no further control step to offer, (W,) bool."""
    return ~cyclic & (times + 0.5 * control_step >= durations)


def time_is_up(steps: Tensor, limit: int) -> Tensor:
    """Whether the episode has lasted `limit` control steps, (W,) bool."""
    return steps >= limit


def any_of(causes: dict[str, Tensor]) -> Tensor:
    """Whether any cause holds, (W,) bool."""
    return torch.stack(tuple(causes.values())).any(dim=0)
