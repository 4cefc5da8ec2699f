"""The likeliest path through several guesses at each moment (Viterbi 1967)."""

from __future__ import annotations

import torch
from torch import Tensor


def likeliest(energy: Tensor, places: Tensor, steps: Tensor, speed: float = 1.5) -> list[int]:
    """Which guess to take at each moment: least in the sum of its own energies and those of the ways from one to the next.

    Args:
        energy: of each guess, (G, T) nats.
        places: of its joints, (G, T, J, 3) m.
        steps: between moments, (T − 1,) s.
        speed: at which joints usually move, m/s.
    """
    flat = places.flatten(2)
    cost, back = energy[:, 0], []
    for t in range(1, energy.shape[1]):
        apart = torch.cdist(flat[:, t - 1], flat[:, t]).square() * (0.5 / (speed * float(steps[t - 1])) ** 2)
        total, origin = (cost[:, None] + apart).min(dim=0)
        back.append(origin)
        cost = total + energy[:, t]
    path = [int(cost.argmin())]
    for origin in reversed(back):
        path.append(int(origin[path[-1]]))
    return path[::-1]
