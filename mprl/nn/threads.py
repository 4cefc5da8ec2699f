"""How many of torch's threads a network is worth."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

# Multiplications in one layer for one minibatch below which a second thread costs more, by waking it up, than it saves.
WORTH_A_THREAD = 8_000_000


def worth(network: nn.Module, rows: int) -> int:
    """Torch's threads for minibatches of so many rows: one for small networks, else as many as are allowed (`torch.set_num_threads`)."""
    if any(parameter.ndim == 4 for parameter in network.parameters()):
        return torch.get_num_threads()  # a convolution multiplies its weights by every pixel
    largest = max((parameter.numel() for parameter in network.parameters() if parameter.ndim == 2), default=0)
    return 1 if rows * largest < WORTH_A_THREAD else torch.get_num_threads()


@contextlib.contextmanager
def limited(count: int) -> Iterator[None]:
    """Within, torch works with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
