"""The processes that learn together, and what they tell each other.

    ranks.total(gradient)              # summed over all of them, in place
    ranks.mean(advantage)              # over the samples of all
    with ranks.agreed():               # a user's mistake in one of them ends all, and is told once
        env = make()

An algorithm is written for any number of processes: `ALONE` is the one that is all there is, and answers at once, with the same
operations on the same numbers as if nobody had asked. `Group` asks the others through a process group of torch.distributed (gloo or
NCCL). Whatever a decision depends on comes from there, so that all processes decide the same. In Python:

    agent = PPO(envs, seed=0).join(ranks, num_worlds=1024).learn(1e6)       # in each of them; `mprl.torchrun.joined()` gives the ranks
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from mprl.errors import DistributedError, MprlError, SettingError


class Ranks:
    """One process, which is all there is; and the interface of many.

    Attributes:
        rank: which one this is, from 0.
        size: how many there are.
    """

    rank, size = 0, 1

    def total(self, values: Tensor) -> Tensor:
        """The sum over all ranks, in place and returned: the same bits on each."""
        return values

    def count(self, number: int) -> int:
        """The sum of a whole number over all ranks."""
        return number

    def counts(self, number: int) -> list[int]:
        """A whole number of each rank."""
        return [number]

    def any(self, flag: bool) -> bool:
        """Whether it is true on some rank."""
        return flag

    def moments(self, values: Tensor) -> tuple[int | Tensor, Tensor, Tensor]:
        """Number, mean and variance of the values (N, ...) of all ranks."""
        variance, mean = torch.var_mean(values, dim=0, correction=0)
        return len(values), mean, variance

    def mean(self, values: Tensor) -> Tensor:
        """Over the values (N,) of all ranks."""
        return values.mean()

    def variance(self, values: Tensor) -> Tensor:
        """Over the values (N,) of all ranks, without Bessel's correction."""
        return values.var(correction=0)

    def std(self, values: Tensor) -> Tensor:
        """Over the values (N,) of all ranks, without Bessel's correction."""
        return values.std(correction=0)

    def average(self, means: Tensor, samples: Sequence[int]) -> Tensor:
        """Means (M, ...) over all samples, of the means over each rank's own.

        Args:
            means: of M things, each over this rank's samples of it.
            samples: how many those are, (M,).
        """
        return means

    def average_gradient(self, gradient: Tensor, samples: int) -> None:
        """Make the gradient (n,) of a mean over this rank's samples that of the mean over all, in place."""

    def totals(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """Sums over all ranks, by name; a name that a rank does not know counts 0 there."""
        return dict(numbers)

    def from_first(self, tensors: Iterable[Tensor]) -> None:
        """Give all ranks the values of rank 0, in place."""

    def tell(self, content: Any) -> Any:
        """What rank 0 says: something that JSON can hold."""
        return content

    def collect(self, content: bytes) -> list[bytes]:
        """The bytes of the ranks after 0, on rank 0; nothing elsewhere."""
        return []

    def hand_out(self, contents: Iterable[bytes]) -> bytes:
        """Give the ranks after 0 their bytes, which rank 0 has, one after the other; what this rank was given."""
        return b""

    @contextlib.contextmanager
    def agreed(self) -> Iterator[None]:
        """A user's mistake within, on any rank, is raised on rank 0, and ends the others with exit code 2. Nothing is asked within."""
        yield

    def require_same(self, settings: Mapping[str, Any]) -> None:
        """Check that all ranks were told the same.

        Raises:
            SettingError: they were not; the first difference is named.
        """

    def seconds(self) -> float:
        """Spent in asking and waiting since the last call."""
        return 0.0

    def share(self, number: int) -> int:
        """This rank's part of so many worlds; the parts differ by one at most."""
        return number // self.size + (self.rank < number % self.size)


ALONE = Ranks()


def dealt(counts: Sequence[int], size: int) -> Iterator[list[int]]:
    """Deal out what the ranks have, `size` at a time and the rest at last: how many of each rank's are in turn, as even as can be.

    Args:
        counts: how many each rank has.
    """
    total, taken = sum(counts), [0] * len(counts)
    for end in (*range(size, total, size), total):
        owed = [end * count - total * had for count, had in zip(counts, taken, strict=True)]  # in parts of 1 / total
        part = [max(0, each // total) for each in owed]
        while missing := end - sum(taken) - sum(part):
            step = 1 if missing > 0 else -1
            at = max(
                (rank for rank in range(len(part)) if part[rank] + step >= 0), key=lambda rank: step * (owed[rank] - total * part[rank])
            )
            part[at] += step
        taken = [had + more for had, more in zip(taken, part, strict=True)]
        yield part


class Group(Ranks):
    """Many processes.

    Args:
        group: a process group of torch.distributed. What is in a CPU's memory goes through its backend for the CPU.
    """

    def __init__(self, group: dist.ProcessGroup) -> None:
        self.group = group
        self.rank, self.size = group.rank(), group.size()
        self._seconds = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def total(self, values: Tensor) -> Tensor:
        self._do(lambda: self.group.allreduce([values]), values)
        return values

    def count(self, number: int) -> int:
        return int(self.total(torch.tensor([number])))

    def counts(self, number: int) -> list[int]:
        return self._gathered(torch.tensor([number])).flatten().tolist()

    def any(self, flag: bool) -> bool:
        return self.count(int(flag)) > 0

    def moments(self, values: Tensor) -> tuple[int | Tensor, Tensor, Tensor]:
        numbers = values.new_full((1,), len(values), dtype=torch.float64)
        own = values.double() if len(values) else values.new_zeros((1, *values.shape[1:]), dtype=torch.float64)  # those count 0 times
        variance, mean = torch.var_mean(own, dim=0, correction=0)
        found = self._gathered(torch.cat((numbers, mean.flatten(), variance.flatten())))
        number, (means, variances) = found[:, :1], found[:, 1:].chunk(2, dim=1)
        share = number / number.sum()
        mean = (share * means).sum(0)
        variance = (share * (variances + (means - mean).square())).sum(0)
        shape, kind = values.shape[1:], values.dtype
        return number.sum(), mean.view(shape).to(kind), variance.view(shape).to(kind)

    def mean(self, values: Tensor) -> Tensor:
        return self.moments(values)[1]

    def variance(self, values: Tensor) -> Tensor:
        return self.moments(values)[2]

    def std(self, values: Tensor) -> Tensor:
        return self.moments(values)[2].sqrt()

    def average(self, means: Tensor, samples: Sequence[int]) -> Tensor:
        numbers = means.new_tensor(samples).view(-1, *(1,) * (means.ndim - 1))
        sums = torch.where(numbers > 0, means * numbers, 0.0)  # a mean over nothing is not a number
        found = self.total(torch.cat((sums.flatten(), numbers.flatten())))
        return found[: means.numel()].view(means.shape) / found[means.numel() :].view(numbers.shape).clamp(min=1)

    def average_gradient(self, gradient: Tensor, samples: int) -> None:
        weighed = gradient * samples if samples else torch.zeros_like(gradient)  # over nothing it is not a number
        found = self.total(torch.cat((weighed, gradient.new_tensor([samples]))))
        torch.div(found[:-1], found[-1].clamp(min=1), out=gradient)

    def totals(self, numbers: Mapping[str, float]) -> dict[str, float]:
        sums: dict[str, float] = {}
        for told in self._exchange(dict(numbers)):
            for name, value in told.items():
                sums[name] = sums.get(name, 0.0) + value
        return sums

    def from_first(self, tensors: Iterable[Tensor]) -> None:
        known = list(tensors)
        packed = torch.cat([tensor.detach().double().flatten() for tensor in known])
        self._do(lambda: self.group.broadcast([packed]), packed)
        for tensor, values in zip(known, packed.split([tensor.numel() for tensor in known]), strict=True):
            tensor.copy_(values.view(tensor.shape))

    def tell(self, content: Any) -> Any:
        return self._exchange(content if self.rank == 0 else None)[0]

    def collect(self, content: bytes) -> list[bytes]:
        sizes = self.counts(len(content))
        if self.rank:
            self._send(content, 0)
            return []
        return [self._receive(sizes[rank], rank) for rank in range(1, self.size)]

    def hand_out(self, contents: Iterable[bytes]) -> bytes:
        if self.rank:
            return self._receive(int.from_bytes(self._receive(8, 0)), 0)
        for rank, content in enumerate(contents, start=1):
            self._send(len(content).to_bytes(8), rank)
            self._send(content, rank)
        return b""

    @contextlib.contextmanager
    def agreed(self) -> Iterator[None]:
        mistake: MprlError | None = None
        try:
            yield
        except MprlError as error:
            mistake = error
        if not self.any(mistake is not None):
            return
        told = self._exchange(None if mistake is None else str(mistake))
        if self.rank:
            raise SystemExit(2)
        if mistake is not None:
            raise mistake
        rank, text = next((rank, text) for rank, text in enumerate(told) if text is not None)
        raise SettingError(f"rank {rank} of {self.size}: {text}")

    def require_same(self, settings: Mapping[str, Any]) -> None:
        told = self._exchange({name: str(value) for name, value in settings.items()})
        with self.agreed():
            for rank, found in enumerate(told):
                for name in told[0] | found:
                    first, other = (each.get(name, "nothing")[:80] for each in (told[0], found))
                    if first != other:
                        raise SettingError(f"rank {rank} has {name} {other}, rank 0 has {first}; all processes need the same command")

    def seconds(self) -> float:
        if self._events:
            torch.cuda.synchronize()
            self._seconds += sum(begin.elapsed_time(end) for begin, end in self._events) / 1000
            self._events.clear()
        spent, self._seconds = self._seconds, 0.0
        return spent

    # --- what it is made of --------------------------------------------------------------------------------------------------

    def _do(self, begin: Callable[[], Any], values: Tensor) -> None:
        """Begin something with the others, and wait for it; a GPU waits by itself."""
        start = time.perf_counter()
        events = (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) if values.is_cuda else None
        try:
            if events:
                events[0].record()
            begin().wait()
            if events:
                events[1].record()
                self._events.append(events)
        except RuntimeError as error:
            why = " ".join(str(error).split()).rpartition("] ")[2][:80]
            raise DistributedError(
                f"rank {self.rank} of {self.size}: the other processes cannot be reached any more ({why}): one of them has ended or was "
                "killed, or the network failed"
            ) from None
        if not events:
            self._seconds += time.perf_counter() - start

    def _gathered(self, values: Tensor) -> Tensor:
        """Values (n,) of all ranks, (ranks, n)."""
        found = [torch.empty_like(values) for _ in range(self.size)]
        self._do(lambda: self.group.allgather([found], [values]), values)
        return torch.stack(found)

    def _exchange(self, content: Any) -> list[Any]:
        """What each rank says, as JSON."""
        text = torch.frombuffer(bytearray(json.dumps(content).encode()), dtype=torch.uint8)
        sizes = self.counts(len(text))
        padded = torch.zeros(max(sizes), dtype=torch.uint8)
        padded[: len(text)] = text
        return [json.loads(row[:size].numpy().tobytes()) for row, size in zip(self._gathered(padded), sizes, strict=True)]

    def _send(self, content: bytes, rank: int) -> None:
        values = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        self._do(lambda: self.group.send([values], rank, 0), values)

    def _receive(self, size: int, rank: int) -> bytes:
        values = torch.empty(size, dtype=torch.uint8)
        self._do(lambda: self.group.recv([values], rank, 0), values)
        return values.numpy().tobytes()
