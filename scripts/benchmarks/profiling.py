"""Where the time of a training step goes, part by part, and what bounds each part.

A stopwatch hangs on the methods that an iteration of PPO calls, and a part's time is its own, without the parts that it calls. In one
more iteration, which is not timed, every torch operation is counted: how many, how many bytes they read and write, how much arithmetic.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from mprl.nn.distributions import DiagonalGaussian
from mprl.scripts.benchmarks import physics
from mprl.scripts.benchmarks.environment import Measured
from mprl.scripts.benchmarks.learning import Learner
from mprl.scripts.benchmarks.report import Figure, Overview

ACT, LEARN = "acting", "learning"
# Within these all belongs to them.
CLOSED = ("resets",)
REST = {ACT: "storage, values, the rest", LEARN: "losses, minibatches, the rest"}
_WINDOW = 8


class Stopwatch:
    """Hangs on functions, and keeps what each part took itself, in seconds by (phase, part)."""

    def __init__(self) -> None:
        self.spent: dict[tuple[str, str], float] = defaultdict(float)
        self._stack: list[tuple[str, str]] = []
        self._since = 0.0
        self._undo: list[Callable[[], None]] = []

    @property
    def current(self) -> tuple[str, str] | None:
        """The part that runs now."""
        return self._stack[-1] if self._stack else None

    def watch(self, owner: Any, name: str, part: str, phase: str | None = None) -> None:
        """Time `owner.name` as a part: of a phase, or of the one that it is called in; outside of phases it is not timed."""
        original, own = getattr(owner, name), name in vars(owner)

        @functools.wraps(original)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if (phase is None and not self._stack) or (self._stack and self._stack[-1][1] in CLOSED):
                return original(*args, **kwargs)
            self._switch()
            self._stack.append((phase or self._stack[-1][0], part))
            try:
                return original(*args, **kwargs)
            finally:
                self._switch()
                self._stack.pop()

        setattr(owner, name, timed)
        self._undo.append(functools.partial(setattr, owner, name, original) if own else functools.partial(delattr, owner, name))

    def _switch(self) -> None:
        now = time.perf_counter()
        if self._stack:
            self.spent[self._stack[-1]] += now - self._since
        self._since = now

    def remove(self) -> None:
        """Leave everything as it was."""
        while self._undo:
            self._undo.pop()()


@contextlib.contextmanager
def watched(agent: Any) -> Iterator[Stopwatch]:
    """A stopwatch on an agent's iteration and on its environment's step."""
    watch, envs = Stopwatch(), agent.batch.unwrapped
    try:
        watch.watch(agent, "_act", REST[ACT], ACT)
        watch.watch(agent, "_improve", REST[LEARN], LEARN)
        for part, owner, names in (
            ("networks", agent.model, ("features", "policy", "standard_value")),
            ("networks", type(agent.explicit), ("__call__",)),
            ("simulation", envs.simulation, ("step",)),
            ("observation", envs, ("_sense", "_observe")),
            ("reward", envs, ("_synchronised", "_character", "_as_motion")),
            ("reward", envs.library, ("sample",)),
            ("reward", type(envs._reward), ("__call__",)),
            ("resets", envs, ("_reset_worlds",)),
            ("action to PD targets", envs, ("_checked", "_targets", "_within_torque_limits")),
            ("terminations and info", envs, ("step",)),
            ("statistics", agent.statistics, ("add", "add_info", "take")),
            ("hand-over to the agent", agent.batch, ("step",)),
            ("sampling", DiagonalGaussian, ("sample",)),
            ("gradient", agent.explicit, ("backward",)),
            ("gradient's norm", agent.parameters, ("clip_gradient",)),
            ("Adam", agent.optimizer, ("descend",)),
        ):
            for name in names:
                watch.watch(owner, name, part)
        yield watch
    finally:
        watch.remove()


class Traffic(TorchDispatchMode):
    """Counts torch operations, the bytes that they read and write, and their arithmetic, by the stopwatch's part."""

    def __init__(self, watch: Stopwatch) -> None:
        super().__init__()
        self._watch = watch
        self.calls: dict[tuple[str, str], int] = defaultdict(int)
        self.bytes: dict[tuple[str, str], int] = defaultdict(int)
        self.flops: dict[tuple[str, str], int] = defaultdict(int)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        part = self._watch.current
        if part is not None:
            self.calls[part] += 1
            if not func.is_view:
                self.bytes[part] += sum(leaf.nbytes for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor))
            count = flop_registry.get(func._overloadpacket)
            if count is not None:
                self.flops[part] += count(*args, **(kwargs or {}), out_val=out)
        return out


def measure(motion: str, num_envs: int | None, threads: int, seconds: float) -> Measured:
    """All figures of `mprl benchmark profile`.

    Args:
        motion: what is learned.
        num_envs: worlds; by default the preset's.
        threads: of the simulation and of torch.
        seconds: for which is learned while the time is taken, after a fifth as long that does not count.
    """
    learner = Learner(motion, num_envs, threads, seconds)
    agent, envs = learner.agent, learner.envs
    try:
        agent.learn(max_seconds=seconds / 5)
        iterations, total = 0, 0.0
        with watched(agent) as watch:

            def count(*_: Any) -> None:
                nonlocal iterations
                iterations += 1

            began = time.perf_counter()
            agent.learn(max_seconds=seconds, callback=count)
            total = time.perf_counter() - began
            spent = {part: 1e3 * value / iterations for part, value in watch.spent.items()}
            with Traffic(watch) as traffic:
                agent.learn(1)
        spent[LEARN, "between iterations"] = 1e3 * total / iterations - sum(spent.values())
        samples = agent.settings.n_steps * envs.num_envs
        bare = _bare_physics(learner, threads, samples)
    finally:
        envs.close()
    speed = {"GFLOP/s": _arithmetic(agent), "GB/s": _bandwidth(), "µs a call": _call()}
    figures, rows = [], []
    whole = sum(spent.values())
    for (phase, part), own in sorted(spent.items(), key=lambda item: (item[0][0], -item[1])):
        key = (phase, part)
        bounds = {
            "arithmetic": traffic.flops[key] / speed["GFLOP/s"] / 1e6,
            "memory": traffic.bytes[key] / speed["GB/s"] / 1e6,
            "torch's calls": traffic.calls[key] * speed["µs a call"] / 1e3,
        }
        if part == "simulation":
            bounds = {"Batch.step": bare}
        by = max(bounds, key=lambda name: bounds[name])
        rows.append(
            (
                f"{phase}: {part}", f"{own:.2f}", f"{own / whole:.1%}", f"{traffic.calls[key]:,}", f"{traffic.bytes[key] / 2**20:,.1f}",
                f"{traffic.flops[key] / 1e9:.2f}", f"{bounds[by]:.2f}", by if bounds[by] > 0 else "",
            )
        )  # fmt: skip
        against = f"limit the greatest of {', '.join(bounds)}" if part != "simulation" else "limit the bare Batch.step from the same states"
        name = f"{phase}_{part}".replace(" ", "_").replace(",", "").replace("'", "")
        figures.append(
            Figure(name, f"{phase}: {part}", "ms an iteration", own, limit=bounds[by] or None, against=against, less_is_better=True)
        )
    first = Figure("iteration", "an iteration", "ms", whole, limit=sum(figure.limit or 0 for figure in figures), less_is_better=True)
    columns = ("part", "ms", "share", "torch calls", "MiB", "GFLOP", "bound, ms", "bound by")
    settings = {"motion": Path(motion).name, "worlds": envs.num_envs, "threads": threads, "samples an iteration": samples}
    settings["hidden layers"] = "bfloat16" if agent.model.reduced else "float32"
    settings |= {"iterations": iterations} | {name: f"{value:.3g}" for name, value in speed.items()}
    return Measured([first, *figures], settings, Overview(columns, rows))


def _bare_physics(learner: Learner, threads: int, samples: int) -> float:
    """Milliseconds of the bare physics for so many samples, from states that the learner has come to."""
    envs, agent = learner.envs, learner.agent
    assert agent.observation is not None
    with torch.no_grad():
        window = physics.record(envs, agent.observation, agent.act, _WINDOW)
    bare = physics.BarePhysics(envs.model, envs.num_envs, threads)
    return 1e3 * samples / max(bare.replay(window.states) for _ in range(3))


def _best(work: Callable[[], Any], repeats: int, tries: int = 7) -> float:
    """Seconds of one call, in the fastest of some tries."""
    found = []
    for _ in range(tries):
        began = time.perf_counter()
        for _ in range(repeats):
            work()
        found.append((time.perf_counter() - began) / repeats)
    return min(found)


@torch.no_grad()
def _arithmetic(agent: Any) -> float:
    """GFLOP/s of the matrix product that a minibatch and a hidden layer make, in the precision of the hidden layers."""
    rows, width = agent.settings.batch_size, agent.settings.hidden[0]
    dtype = torch.bfloat16 if agent.model.reduced else torch.float32
    a, b, out = torch.randn(rows, width).to(dtype), torch.randn(width, width).to(dtype), torch.empty(rows, width, dtype=dtype)
    return 2e-9 * rows * width * width / _best(lambda: torch.mm(a, b, out=out), 20)


def _bandwidth(mebibytes: int = 2) -> float:
    """GB/s read and written by a copy of a tensor about as large as those of a minibatch."""
    a = torch.ones(mebibytes * 2**18)
    b = torch.empty_like(a)
    return 2e-9 * a.nbytes / _best(lambda: b.copy_(a), 50)


@torch.no_grad()
def _call() -> float:
    """Microseconds of the smallest torch operation."""
    a = torch.ones(1)
    return 1e6 * _best(lambda: a.neg(), 2000)
