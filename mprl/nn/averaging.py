"""Averages of a network's weights over the course of learning: steadier, and often better, than the last weights.

A setting `averaging` is a text: "none"; "ema 0.995", an exponential moving average that keeps this share at each update, from the first
weights on (Polyak & Juditsky 1992); "ema 0.995 corrected", the same without a trace of the first weights, as in Adam's bias correction;
"swa 50000", the plain mean of all weights from this environment step on (stochastic weight averaging: Izmailov et al. 2018, arXiv
1803.05407), and the last weights until then.
"""

from __future__ import annotations

import copy
import functools
from typing import Any

import torch
from torch import Tensor, nn

from mprl.errors import SettingError

NONE = "none"


class Averaging(nn.Module):
    """The average of a network's parameters. Those that are not learned, and buffers such as a normaliser's statistics, it shares.

    It is a network itself, whose state for checkpoints is the average and the number of updates.

    Args:
        network: whose parameters are averaged, already on its device; `average` is a copy of it.
        setting: of the kinds above, but not "none".

    Raises:
        SettingError: another text.
    """

    average: Any  # of the network's own type
    updates: Tensor

    def __init__(self, network: nn.Module, setting: str) -> None:
        super().__init__()
        self.kind, self.number, self.corrected = parse(setting)
        learned = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
        fixed = [*network.buffers(), *(parameter for parameter in network.parameters() if not parameter.requires_grad)]
        # what is in its memo deepcopy takes for copied already
        self.average = copy.deepcopy(network, {id(tensor): tensor for tensor in fixed}).requires_grad_(False)
        # on the CPU wherever the network is: nobody waits for a device to read it
        self.register_buffer("updates", torch.zeros((), dtype=torch.float64))
        self._pair: tuple[list[Tensor], list[Tensor]] = [self.average.get_parameter(name) for name in learned], list(learned.values())

    @torch.no_grad()
    def update(self, steps: float) -> None:
        """Take the network's weights into the average, after so many environment steps; call it after each step of the optimiser."""
        average, current = self._pair
        share = self._share(steps)
        if share == 1.0:
            torch._foreach_copy_(average, current)
        else:
            torch._foreach_lerp_(average, current, share)

    def _share(self, steps: float) -> float:
        """Of the new weights in the average."""
        if self.kind == "swa":
            if steps < self.number:
                return 1.0
            self.updates += 1
            return 1.0 / float(self.updates)
        self.updates += 1
        return (1 - self.number) / (1 - self.number ** float(self.updates)) if self.corrected else 1 - self.number


def averaged(network: nn.Module, setting: str) -> Averaging | None:
    """What averages a network's weights; None if the setting is "none"."""
    return None if setting == NONE else Averaging(network, setting)


@functools.lru_cache(maxsize=64)
def parse(setting: str) -> tuple[str, float, bool]:
    """Kind ("none", "ema" or "swa"), its number, and whether the average is corrected for where it began.

    Raises:
        SettingError: no setting of these kinds.
    """
    if setting == NONE:
        return NONE, 0.0, False
    try:
        kind, number, *rest = setting.split()
        value = float(number)
    except ValueError:
        raise _error(setting) from None
    if kind == "ema" and rest in ([], ["corrected"]):
        if not 0 <= value < 1:
            raise SettingError(f"the share that an average keeps must be in [0, 1), found '{setting}'")
        return kind, value, bool(rest)
    if kind == "swa" and not rest:
        if not 0 <= value < float("inf"):
            raise SettingError(f"an average must begin at an environment step of at least 0, found '{setting}'")
        return kind, value, False
    raise _error(setting)


def _error(setting: str) -> SettingError:
    return SettingError(
        f"averaging must be 'none', 'ema 0.995', 'ema 0.995 corrected' or 'swa 50000' (from this step on), found '{setting}'"
    )
