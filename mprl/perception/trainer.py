"""How every model of perception is trained: anything with a `loss`, on anything that gives batches.

    settings = TrainerSettings(epochs=20, learning_rate="cosine 1e-3 1e-5 4000", averaging="ema 0.999")
    result = Trainer(network, dataset, settings, validation=held_out, folder="runs/vae").fit()

A run that was killed goes on with `fit(resume=True)`, on the CPU bit for bit as if nothing had happened, data order included. In the
folder lie `training.safetensors` (what it goes on from), `metrics.csv`, TensorBoard events and `snapshots/`. After `fit` the network
has the weights that are to be used: the best on the validation data, or the averaged ones, or the last.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mprl.errors import CheckpointError, DivergenceError, SettingError
from mprl.files import tensor_chunks, write_atomically
from mprl.nn import averaging, schedules
from mprl.nn.schedules import Scheduled
from mprl.perception.training import averages, logs, state
from mprl.perception.training.logs import Row
from mprl.perception.training.state import Progress

Batch = dict[str, Tensor]
Batches = Iterable[Batch] | Callable[[torch.Generator], Iterable[Batch]] | Any


@dataclass(frozen=True)
class TrainerSettings:
    """How a model is trained."""

    epochs: int = 10
    """Passes over the data."""
    learning_rate: Scheduled = 1e-3
    """Of AdamW (Loshchilov & Hutter 2019); may be a schedule of updates (`mprl.nn.schedules`)."""
    weight_decay: float = 1e-4
    """Of weights with two or more axes, not of biases and scales."""
    max_gradient_norm: float = 1.0
    """To which the gradient is scaled down where it is larger; 0: never."""
    averaging: str = "none"
    """Of the weights: "ema 0.999", or "swa 3000" from this update on; of a learning rate in cycles, of those at its lowest."""
    batch_norm_batches: int = 50
    """How many batches of training data make the statistics of batch normalisation anew for averaged weights."""
    snapshots: bool = False
    """Keep the weights whenever a learning rate that goes in cycles is at its lowest, for an ensemble (`training.averages`)."""
    monitor: str = "loss"
    """The validation metric that says which weights are best; the lower the better."""
    patience: int = 0
    """End when so many epochs in a row bring nothing better on the validation data; 0: never."""
    minutes: float = math.inf
    """End with the epoch in which so much time is spent."""
    checkpoint_every: int = 0
    """Updates between checkpoints; 0: one behind each epoch."""
    pictures_every: int = 5
    """Epochs between pictures in TensorBoard."""
    seed: int = 0
    """Of the order of the data and all that a loss draws."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_norm_batches", "pictures_every"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} must be at least 1, found {getattr(self, name)}")
        for name in ("weight_decay", "max_gradient_norm", "patience", "checkpoint_every", "seed"):
            if not getattr(self, name) >= 0:
                raise SettingError(f"{name} must be at least 0, found {getattr(self, name)}")
        if not self.minutes > 0:
            raise SettingError(f"minutes must be positive, found {self.minutes:g}")
        if not schedules.bounds(self.learning_rate)[0] >= 0:
            raise SettingError(f"learning_rate must never be below 0, found {self.learning_rate}")
        if self.snapshots and not schedules.has_cycles(self.learning_rate):
            raise SettingError(
                f"snapshots are taken where the learning rate is at its lowest: expected cycles, such as 'restarts 1e-3 1e-5 500', "
                f"found {self.learning_rate}"
            )
        averaging.parse(self.averaging)


@dataclass(frozen=True)
class Result:
    """What a training came to."""

    epochs: int
    updates: int
    seconds: float
    best: float
    """Lowest monitored validation metric; infinite without validation data."""
    best_epoch: int
    """Counted from 0; −1 without validation data."""
    stopped_early: bool
    history: list[Row]
    """Metrics of each epoch: means over it, and those of the validation data as "validation_…"."""


class Trainer:
    """Trains one network.

    Args:
        network: with `loss(batch, generator)`, already on its device; see `mprl.perception.network`.
        batches: for each epoch anew: an object with `batches(generator=)`, a function of a generator, or batches that can be gone through
            again and again (a list). All that is random in them must come from the generator, which is the same for an epoch of the same
            number whenever it is run; so a run goes on exactly.
        settings: how.
        validation: batches that are not learned from; those of a generator are the same ones each time.
        folder: for checkpoints and metrics; None: none.
        progress: show how it goes.
        steps: what the learning rate is a schedule of, such as the share of the time that is spent; by default updates.

    Raises:
        SettingError: settings that need a folder or validation data that is not there.
    """

    def __init__(
        self,
        network: Any,
        batches: Batches,
        settings: TrainerSettings | None = None,
        validation: Batches | None = None,
        folder: str | Path | None = None,
        progress: bool = False,
        steps: Callable[[Progress], float] | None = None,
    ) -> None:
        self.steps = steps
        self.network, self.batches, self.validation = network, batches, validation
        self.settings = settings = settings or TrainerSettings()
        self.folder = None if folder is None else Path(folder)
        self.shows_progress = progress
        if settings.patience and validation is None:
            raise SettingError("patience needs validation data: give validation, or patience=0")
        if settings.snapshots and folder is None:
            raise SettingError("snapshots need a folder to lie in")
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        if not trained:
            raise SettingError("the network has nothing to train: all its parameters are frozen")
        self.device = trained[0].device
        groups = [
            {"params": [parameter for parameter in trained if parameter.ndim >= 2], "weight_decay": settings.weight_decay},
            {"params": [parameter for parameter in trained if parameter.ndim < 2], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW([group for group in groups if group["params"]], fused=True)
        self.average = averaging.averaged(network, settings.averaging)
        self.generator = torch.Generator(self.device).manual_seed(settings.seed)
        self.at = Progress()
        self._trained = trained
        self._best: dict[str, Tensor] = {}

    def fit(self, resume: bool = False) -> Result:
        """Train until the last epoch, or until nothing gets better.

        Args:
            resume: go on from the folder's checkpoint; without one, begin.

        Raises:
            CheckpointError: the checkpoint is broken or of another architecture, or a file cannot be written.
            DivergenceError: the loss is no longer a number.
        """
        # what draws without a generator, as dropout, draws from here, and leaves the program's own numbers alone
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed)
            if resume and self.folder is not None and (self.folder / state.FILE).is_file():
                self._restore(self.folder)
            writer = None if self.folder is None else logs.Writer(self.folder, self.at.updates)
            display = logs.Display(self.settings.epochs) if self.shows_progress else None
            try:
                while not self._is_over():
                    self._epoch(display)
                    row = self.at.history[-1]
                    if writer is not None:
                        writer(self.at.history, self._pictures())
                    if display is not None:
                        display(self.at.epoch, row)
                    if self.settings.checkpoint_every == 0:
                        self._save()
            finally:
                if writer is not None:
                    writer.close()
                if display is not None:
                    display.close()
            self._take_final_weights()
        at = self.at
        return Result(at.epoch, at.updates, at.seconds, at.best, at.best_epoch, self._has_lost_patience(), at.history)

    def _epoch(self, display: logs.Display | None) -> None:
        at = self.at
        began = time.perf_counter() - at.seconds
        self.network.train()
        sums = {name: torch.tensor(value, dtype=torch.float64, device=self.device) for name, value in at.sums.items()}
        for batch in itertools.islice(self._of_epoch(at.epoch), at.batch, None):
            for name, value in self._update(batch).items():
                sums[name] = sums.get(name, 0.0) + value.detach().to(self.device, torch.float64)
            at.batch += 1
            if self.settings.checkpoint_every and at.updates % self.settings.checkpoint_every == 0:
                at.sums, at.seconds = self._numbers(sums), time.perf_counter() - began
                self._save()
        if at.batch == 0:
            raise SettingError("an epoch had no batches: is the data set empty, or an iterator that can be gone through only once?")
        row = {"epoch": float(at.epoch), "updates": float(at.updates)}
        row |= {name: value / at.batch for name, value in self._numbers(sums).items()}
        at.epoch, at.batch, at.sums = at.epoch + 1, 0, {}
        row |= self._validate()
        at.seconds = time.perf_counter() - began
        at.history.append(row | {"time_seconds": at.seconds})

    def _update(self, batch: Batch) -> dict[str, Tensor]:
        """One step of the optimiser."""
        settings, at = self.settings, self.at
        rate = schedules.value(settings.learning_rate, at.updates if self.steps is None else self.steps(at))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss, metrics = self.network.loss(batch, self.generator)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self._trained, settings.max_gradient_norm or math.inf)
        self.optimizer.step()
        if hasattr(self.network, "after_step"):
            self.network.after_step()
        is_lowest = schedules.is_lowest(settings.learning_rate, at.updates)
        if self.average is not None and (is_lowest or not self._averages_cycles()):
            self.average.update(at.updates)
        at.updates += 1
        if settings.snapshots and is_lowest:
            self._write_snapshot()
        return {"loss": loss, **metrics, "gradient_norm": norm, "learning_rate": torch.tensor(rate, dtype=torch.float64)}

    def _averages_cycles(self) -> bool:
        kind, begin, _ = averaging.parse(self.settings.averaging)
        return kind == "swa" and self.at.updates >= begin and schedules.has_cycles(self.settings.learning_rate)

    def _numbers(self, sums: dict[str, Tensor]) -> dict[str, float]:
        numbers = {name: float(value) for name, value in sums.items()}
        if not math.isfinite(numbers["loss"]):
            raise DivergenceError(
                f"the loss was no longer a number by update {self.at.updates}; lower learning_rate, or look for such numbers in the data"
            )
        return numbers

    def _of_epoch(self, epoch: int, batches: Batches | None = None) -> Iterator[Batch]:
        """The batches of an epoch on the network's device; of epoch −1 those of validation."""
        seed = int(np.random.SeedSequence([self.settings.seed, epoch + 1]).generate_state(1, np.uint64)[0] >> 1)
        source = self.batches if batches is None else batches
        generator = torch.Generator().manual_seed(seed)
        if hasattr(source, "batches"):
            source = source.batches(generator=generator)
        elif callable(source):
            source = source(generator)
        for batch in source:
            yield {name: value.to(self.device, non_blocking=True) for name, value in batch.items()}

    def _validate(self) -> Row:
        """Metrics of the validation data, and whether these weights are the best so far."""
        if self.validation is None:
            return {}
        network = self.network if self.average is None else self.average.average
        with averages.statistics_kept(network):
            self._renew_statistics()
            found = evaluate(network, self._of_epoch(-1, self.validation), self.settings.seed)
            if self.settings.monitor not in found:
                raise SettingError(f"monitor must be one of {', '.join(found)}, found '{self.settings.monitor}'")
            if found[self.settings.monitor] < self.at.best:
                self.at.best, self.at.best_epoch = found[self.settings.monitor], self.at.epoch - 1
                self._best = {name: value.clone() for name, value in network.state_dict().items()}
        return {f"validation_{name}": value for name, value in found.items()}

    def _renew_statistics(self) -> None:
        """Make those of batch normalisation the averaged weights' own."""
        if self.average is not None and averages.has_batch_norm(self.network):
            some = itertools.islice(self._of_epoch(max(self.at.epoch - 1, 0)), self.settings.batch_norm_batches)
            averages.recompute_batch_norm(self.average.average, some)

    def _is_over(self) -> bool:
        at = self.at
        return at.batch == 0 and (at.epoch >= self.settings.epochs or at.seconds >= 60 * self.settings.minutes or self._has_lost_patience())

    def _has_lost_patience(self) -> bool:
        return bool(self.settings.patience) and self.at.epoch - 1 - self.at.best_epoch >= self.settings.patience

    def _take_final_weights(self) -> None:
        if self._best:
            self.network.load_state_dict(self._best)
        elif self.average is not None:
            self._renew_statistics()
            self.network.load_state_dict(self.average.average.state_dict())
        self.network.eval()

    def _pictures(self) -> dict[str, Tensor]:
        if (self.at.epoch - 1) % self.settings.pictures_every and self.at.epoch < self.settings.epochs:
            return {}
        source = self._of_epoch(-1, self.batches if self.validation is None else self.validation)
        return logs.pictures(self.network, next(source))

    def _write_snapshot(self) -> None:
        assert self.folder is not None
        path = self.folder / "snapshots" / f"update_{self.at.updates:09d}.safetensors"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, tensor_chunks(self.network.state_dict()))
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be written: {error.strerror or error}") from None

    def _modules(self) -> dict[str, torch.nn.Module]:
        return {"network": self.network} | ({} if self.average is None else {"average": self.average})

    def _save(self) -> None:
        if self.folder is None:
            return
        others = state.prefixed("best", self._best.items())
        others |= {"generators.loss": self.generator.get_state(), "generators.torch": torch.get_rng_state()}
        state.write(self.folder, dataclasses.asdict(self.settings), self.at, self._modules(), self.optimizer, others)

    def _restore(self, folder: Path) -> None:
        settings, at, tensors = state.read(folder)
        own = dataclasses.asdict(self.settings)
        for name in ("seed", "averaging"):
            if settings.get(name) != own[name]:
                raise CheckpointError(
                    f"{folder}: was trained with {name} {settings.get(name)}, found {own[name]}; use the same or begin anew"
                )
        state.restore(tensors, self._modules(), self.optimizer, folder)
        self._best = {name.removeprefix("best."): value.to(self.device) for name, value in tensors.items() if name.startswith("best.")}
        self.generator.set_state(tensors["generators.loss"])
        torch.set_rng_state(tensors["generators.torch"])
        self.at = at


@torch.no_grad()
def evaluate(network: Any, batches: Iterable[Batch], seed: int = 0) -> dict[str, float]:
    """A network's loss and metrics over batches, each weighted by its size, in evaluation mode.

    Args:
        network: with `loss(batch, generator)`.
        batches: on the network's device.
        seed: of what the loss draws.

    Raises:
        SettingError: there are no batches.
    """
    training = network.training
    network.eval()
    sums: dict[str, float] = {}
    count, generator = 0, None
    for batch in batches:
        size = len(batch["input"])
        if generator is None:
            generator = torch.Generator(batch["input"].device).manual_seed(seed)
        loss, metrics = network.loss(batch, generator)
        for name, value in {"loss": loss, **metrics}.items():
            sums[name] = sums.get(name, 0.0) + size * float(value)
        count += size
    network.train(training)
    if not count:
        raise SettingError("there are no batches to evaluate on")
    return {name: value / count for name, value in sums.items()}
