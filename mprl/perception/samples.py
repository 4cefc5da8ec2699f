"""Recorded observations as what a model trains on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mprl.errors import DatasetError, unknown_name
from mprl.perception.datasets import Dataset
from mprl.perception.spec import Spec


@dataclass(frozen=True)
class Samples:
    """Batches of a data set in which `column` has gone through a model's preprocessing and is called "input".

    Numbers of the true state, where they are wanted, are standardised by their own mean and deviation.

    Raises:
        UnknownNameError: a column that is not there.
        DatasetError: observations that the model does not read.
    """

    dataset: Dataset
    spec: Spec
    batch_size: int = 128
    column: str = "image"
    state: str | None = None
    """A column of the true state; None: none is used."""
    state_mean: tuple[float, ...] = (0.0,)
    state_std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        columns = self.dataset.columns
        for name in (self.column, self.state):
            if name is not None and name not in columns:
                raise unknown_name("column", name, columns, f"of {self.dataset.folder}: {', '.join(columns)}")
        (dtype, shape), spec = columns[self.column], self.spec
        if shape != spec.shape or (dtype == "uint8") != (spec.dtype == "uint8"):
            wanted = f"{spec.dtype} {spec.shape}"
            raise DatasetError(f"{self.dataset.folder}: '{self.column}' is {dtype} {shape}, the perception model reads {wanted}")

    def batches(self, generator: torch.Generator | None = None) -> Iterator[dict[str, Tensor]]:
        """All samples once, in an order that follows from the generator."""
        seed = 0 if generator is None else int(torch.randint(2**31 - 1, (), generator=generator))
        columns = [self.column, *([] if self.state is None else [self.state])]
        for raw in self.dataset.batches(self.batch_size, columns=columns, seed=seed):
            batch = {"input": self.spec.prepare(raw[self.column])}
            if self.state is not None:
                batch["state"] = (_rows(raw[self.state]) - torch.tensor(self.state_mean)) / torch.tensor(self.state_std)
            yield batch

    def with_statistics(self) -> Samples:
        """The same, with the state standardised by the first few thousand samples."""
        if self.state is None:
            return self
        found = _rows(next(iter(self.dataset.batches(8192, columns=[self.state])))[self.state])
        std = found.std(0).clamp(min=1e-6)
        return dataclasses.replace(self, state_mean=tuple(found.mean(0).tolist()), state_std=tuple(std.tolist()))

    def of(self, dataset: Dataset) -> Samples:
        """Another part of the data, treated alike."""
        return dataclasses.replace(self, dataset=dataset)


def _rows(values: Tensor) -> Tensor:
    """States as (N, m); a single number is one of them."""
    return values.float().reshape(len(values), -1)


@torch.no_grad()
def features_and_states(perception: Any, samples: Samples, most: int = 4096) -> tuple[Tensor, Tensor]:
    """Features (N, n) of some samples and their true states (N, m)."""
    features, states, count = [], [], 0
    for batch in samples.batches():
        features.append(perception.network(batch["input"]))
        states.append(batch["state"])
        count += len(features[-1])
        if count >= most:
            break
    return torch.cat(features), torch.cat(states)
