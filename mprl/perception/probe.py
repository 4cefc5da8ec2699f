"""What features tell of the true state: a linear map from one to the other, judged where it was not fitted."""

from __future__ import annotations

import torch
from torch import Tensor

from mprl.errors import SettingError


def linear_probe(features: Tensor, state: Tensor, held_out: Tensor, held_out_state: Tensor, ridge: float = 1e-4) -> Tensor:
    """Share of each state variable's variance that a linear map of the features tells, R² on held-out samples, (m,), at most 1.

    Of a variable that is the same in all held-out samples there is nothing to tell: NaN.

    Args:
        features, state: (N, n) and (N, m), to fit the map on by ridge regression, both standardised by their own mean and deviation.
        held_out, held_out_state: (K, n) and (K, m).
        ridge: weight of the map's squared norm, per sample.

    Raises:
        SettingError: fewer than two samples on either side.
    """
    if len(features) < 2 or len(held_out) < 2:
        raise SettingError(f"a probe needs samples to fit and others to judge, found {len(features)} and {len(held_out)}")
    inputs, mean, scale = _standardised(features.double())
    targets, target_mean, target_scale = _standardised(state.double())
    gram = inputs.T @ inputs + ridge * len(inputs) * torch.eye(inputs.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(gram, inputs.T @ targets)
    told = (held_out.double() - mean) / scale @ weights * target_scale + target_mean
    truth = held_out_state.double()
    varies = (truth != truth[0]).any(0)
    r2 = 1 - (told - truth).square().mean(0) / (truth - truth.mean(0)).square().mean(0)
    return torch.where(varies, r2, torch.nan)


def _standardised(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    mean, scale = values.mean(0), values.std(0).clamp(min=1e-8)
    return (values - mean) / scale, mean, scale
