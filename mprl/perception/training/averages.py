"""Averages of weights and ensembles of networks, and what both need: the statistics of batch normalisation anew."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mprl.errors import CheckpointError
from mprl.files import read_tensors

_BatchNorm = nn.modules.batchnorm._BatchNorm


def has_batch_norm(network: nn.Module) -> bool:
    """Whether there is a layer whose statistics belong to its weights."""
    return any(isinstance(module, _BatchNorm) for module in network.modules())


@torch.no_grad()
def recompute_batch_norm(network: Any, batches: Iterable[dict[str, Tensor]]) -> None:
    """Make the statistics of batch normalisation those of a network's present weights: the plain mean over these batches.

    Averaged weights need it, as theirs are nobody's statistics (Izmailov et al. 2018, arXiv 1803.05407). All else stays as in evaluation.

    Args:
        network: with `loss(batch)`, through which the batches go.
        batches: of training data.
    """
    layers = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not layers:
        return
    training, momenta = network.training, [layer.momentum for layer in layers]
    network.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # which is a plain mean
        layer.train()
    for batch in batches:
        network.loss(batch)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    network.train(training)


@contextlib.contextmanager
def statistics_kept(network: nn.Module) -> Iterator[None]:
    """Whatever happens to the statistics of batch normalisation inside, they are as before behind it."""
    kept = [(buffer, buffer.clone()) for module in network.modules() if isinstance(module, _BatchNorm) for buffer in module.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)


class Ensemble(nn.Module):
    """Several networks of one architecture, whose outputs are averaged (snapshot ensembles: Huang et al. 2017, arXiv 1704.00109).

    For outputs that mean the same in all of them: predictions, logits, reconstructions. Features learned apart do not.

    Args:
        members: the networks.
        output: the method of theirs that is called, such as "predict" or "logits".
    """

    def __init__(self, members: Iterable[nn.Module], output: str = "forward") -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.output = output
        self.eval()

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.stack([getattr(member, self.output)(inputs) for member in self.members]).mean(0)


def snapshots(folder: str | Path) -> list[Path]:
    """The snapshots of a training folder, oldest first."""
    return sorted(Path(folder, "snapshots").glob("update_*.safetensors"))


def load_ensemble(network: nn.Module, folder: str | Path, output: str = "forward", last: int = 0) -> Ensemble:
    """The ensemble of a training folder's snapshots.

    Args:
        network: of their architecture.
        folder: what the trainer was given.
        output: the method that is averaged.
        last: only so many, the newest; 0: all.

    Raises:
        CheckpointError: there are none, or they are another architecture's.
    """
    found = snapshots(folder)[-last:]
    if not found:
        raise CheckpointError(f"{folder}: holds no snapshots; train with snapshots=True and a learning rate that goes in cycles")
    members = []
    for path in found:
        members.append(deepcopy(network))
        load_weights(members[-1], read_tensors(path), str(path))
    return Ensemble(members, output)


def load_weights(network: nn.Module, weights: dict[str, Tensor], where: str) -> None:
    """Put weights into a network.

    Raises:
        CheckpointError: they are another architecture's; names the first that differs.
    """
    own = network.state_dict()
    for name in sorted(own.keys() ^ weights.keys()):
        raise CheckpointError(f"{where}: '{name}' is only in {'the network' if name in own else 'the file'}: another architecture")
    for name, value in weights.items():
        if own[name].shape != value.shape:
            raise CheckpointError(
                f"{where}: expected '{name}' of {tuple(own[name].shape)}, found {tuple(value.shape)}: another architecture"
            )
    network.load_state_dict(weights)
