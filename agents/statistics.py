"""How episodes go while an agent acts, gathered without waiting for the device."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mprl.agents.environments import Step
from mprl.ranks import ALONE, Ranks


class EpisodeStatistics:
    """Mean return and length of the episodes that end, and means of every number the environment reports.

    Args:
        num_worlds: W.
        device: of the steps.
    """

    def __init__(self, num_worlds: int, device: torch.device) -> None:
        self._return = torch.zeros(num_worlds, dtype=torch.float64, device=device)
        self._length = torch.zeros(num_worlds, dtype=torch.float64, device=device)
        self._last = {"return": math.nan, "episode_length": math.nan}
        self._clear()

    def _clear(self) -> None:
        # episodes, their returns, their lengths; rewards of all steps, how many those are
        self._sums = self._return.new_zeros(5)
        self._info: dict[str, Tensor] = {}

    def get_state(self) -> dict[str, Tensor]:
        """What goes on over an iteration's end: the open episodes, and the means last told."""
        return {"return": self._return, "length": self._length, "last": torch.tensor(list(self._last.values()), dtype=torch.float64)}

    def set_state(self, state: dict[str, Tensor]) -> None:
        """Go on from what `get_state` returned."""
        self._return.copy_(state["return"])
        self._length.copy_(state["length"])
        self._last = dict(zip(self._last, state["last"].tolist(), strict=True))

    def cut(self) -> None:
        """Forget the open episodes: they will not go on."""
        self._return.zero_()
        self._length.zero_()

    def add(self, reward: Tensor, terminated: Tensor, truncated: Tensor, valid: Tensor) -> None:
        """Count T steps of all worlds; all (T, W)."""
        valid = valid.to(self._length.dtype)
        returns = self._return + reward.double().cumsum(0)  # of the episode that was open, and of all that follow it
        lengths = self._length + valid.cumsum(0)
        self._sums += torch.stack((*self._sums.new_zeros(3), (valid * reward).sum(), valid.sum()))
        world, time = (terminated | truncated).T.nonzero(as_tuple=True)  # the ends, world by world
        self._return, self._length = returns[-1].clone(), lengths[-1].clone()
        if not len(world):
            return
        again = world[1:] == world[:-1]  # ends of episodes that began after another one's end
        last = torch.cat((~again, again.new_ones(1)))
        ended = []
        for totals, still_open in ((returns, self._return), (lengths, self._length)):
            until = totals[time, world]
            still_open[world[last]] -= until[last]
            until[1:] -= torch.where(again, until[:-1].clone(), 0.0)
            ended.append(until)
        self._sums[:3] += torch.stack((self._sums.new_tensor(len(world)), ended[0].sum(), ended[1].sum()))

    def add_info(self, step: Step) -> None:
        """Add up the numbers that the environment reports with a step of a `TorchBatch`."""
        steps = step.valid.float()
        for key, value in step.info.items():
            total = (steps * value.float()).sum()
            self._info[key] = self._info[key] + total if key in self._info else total

    def take(self, ranks: Ranks = ALONE) -> dict[str, float]:
        """Metrics since the last call: `return`, `episode_length` (the previous ones where no episode ended), `reward`, `env_…`.

        The last two are means over all steps, of all ranks; those that only reset a world are none.
        """
        episodes, returns, lengths, rewards, steps = ranks.total(self._sums).tolist()
        if episodes:
            self._last = {"return": returns / episodes, "episode_length": lengths / episodes}
        steps = max(steps, 1.0)
        metrics = {**self._last, "episodes": episodes, "reward": rewards / steps}
        if ranks.size > 1:  # what is reported now and then may be so on one rank only
            metrics |= {f"env_{name}": value / steps for name, value in ranks.totals(_numbers(self._info)).items()}
        elif self._info:
            metrics |= {f"env_{name}": value for name, value in _numbers(self._info, steps).items()}
        self._clear()
        return metrics


def _numbers(tensors: dict[str, Tensor], divisor: float = 1.0) -> dict[str, float]:
    """Numbers of a device, fetched at once."""
    return dict(zip(tensors, (torch.stack(list(tensors.values())) / divisor).tolist(), strict=True)) if tensors else {}
