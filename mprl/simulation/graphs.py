"""A step on a GPU as a few CUDA graphs instead of hundreds of launches.

A control step of an environment is some 370 small kernels of torch around the simulation's own graphs; launched one by one from Python
they take as long as the physics of thousands of worlds. `Captured` runs such a function a few times, captures it once, and from then on
launches what was captured: torch's kernels in graphs, and between them, in their place, what launches itself (`outside`).

What a graph reads and writes are places in memory, so whatever lives from one call to the next must stay where it is. Code need not see
to it: tensors that a call has replaced are copied back to where they were, at the end of the graph and before every launch.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from types import FunctionType, MethodType
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

_log = logging.getLogger("mprl")

WARM_UPS = 3  # calls before the capture: what is made once is made, kernels are loaded

# objects of these packages hold no state of ours
_FOREIGN = ("torch", "gymnasium", "mujoco", "mujoco_warp", "warp", "numpy", "builtins", "mprl.simulation")

_recording: list[Captured] = []  # the one that is being captured, if any


def outside(launch: Callable[[], None]) -> None:
    """Launch on the device what cannot be part of torch's graphs: now, and in its place whenever what is being captured is launched."""
    if _recording:
        _recording[-1]._cut(launch)
    else:
        launch()


class Recorder(Protocol):
    """What captures torch's kernels between `begin` and `end`, which returns what launches them again."""

    def begin(self) -> None: ...

    def end(self) -> Callable[[], None]: ...


class CudaRecorder:
    """CUDA graphs of one pool of memory, launched always in the order in which they were captured.

    Args:
        device: a GPU.
        generators: that the captured code draws from; they go on from launch to launch as without a graph.
    """

    def __init__(self, device: torch.device, generators: Sequence[torch.Generator]) -> None:
        self._generators = tuple(generators)
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream(device)  # the default one cannot be captured
        self._context: Any = None

    def begin(self) -> None:
        torch.cuda.synchronize(self._stream.device)
        self._context = torch.cuda.stream(self._stream)
        self._context.__enter__()
        self._graph = torch.cuda.CUDAGraph()
        for generator in self._generators:
            self._graph.register_generator_state(generator)
        self._graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")

    def end(self) -> Callable[[], None]:
        try:
            with warnings.catch_warnings(action="ignore"):  # nothing lies between two neighbours that launch themselves
                self._graph.capture_end()
        finally:
            self._context.__exit__(None, None, None)
        return self._graph.replay


class Captured:
    """A function of tensors, captured after some calls.

    It must do the same at every call but for the tensors' values: no question to the device, no numbers kept in Python.

    Args:
        work: takes tensors, returns tensors in tuples and dictionaries.
        owner: whose tensors, and those of the objects it is made of, live from call to call.
        recorder: what captures.
    """

    def __init__(self, work: Callable[..., Any], owner: object, recorder: Recorder) -> None:
        self._work, self._owner, self._recorder = work, owner, recorder
        self._calls, self._open = 0, False
        self._program: list[Callable[[], None]] = []
        self._homes: list[tuple[Any, Any, Any]] = []

    def __call__(self, *inputs: Tensor) -> Any:
        self._calls += 1
        if self._calls <= WARM_UPS or (not self._program and not self._capture(inputs)):
            return self._work(*inputs)
        self._bring_home()
        for mine, value in zip(self._inputs, inputs, strict=True):
            mine.copy_(value)
        for launch in self._program:
            launch()
        # what the graphs write to is theirs: the caller gets a copy, of all alike in one piece
        copies = [block.clone() for block in self._blocks]
        return tree_unflatten([copies[block][row] for block, row in self._leaves], self._spec)

    # --- capturing ----------------------------------------------------------------------------------------------------------

    def _capture(self, inputs: Sequence[Tensor]) -> bool:
        """Capture a call; nothing is computed yet. Where that cannot be, say so once and leave everything as it was."""
        self._homes = list(_state(self._owner))
        self._inputs = [value.clone() for value in inputs]
        _recording.append(self)
        try:
            self._begin()
            self._pack(self._work(*self._inputs))
            self._check_homes()
            self._bring_home()
            self._end()
        except RuntimeError as error:
            if self._open:
                with contextlib.suppress(RuntimeError):
                    self._end()
            self._program, self._calls = [], -(2**62)
            for holder, key, home in self._homes:
                _set(holder, key, home)
            _log.warning("the step could not be captured as CUDA graphs and goes on without: %s", str(error).splitlines()[0])
            return False
        finally:
            _recording.remove(self)
        return True

    def _begin(self) -> None:
        self._recorder.begin()
        self._open = True

    def _end(self) -> None:
        self._open = False
        self._program.append(self._recorder.end())

    def _cut(self, launch: Callable[[], None]) -> None:
        self._end()
        self._program.append(launch)
        self._begin()

    def _pack(self, outputs: Any) -> None:
        """The outputs, all of one shape and type as one tensor."""
        leaves, self._spec = tree_flatten(outputs)
        alike: dict[tuple[Any, ...], list[Tensor]] = {}
        self._leaves = []
        for leaf in leaves:
            group = alike.setdefault((leaf.dtype, leaf.shape), [])
            self._leaves.append((list(alike).index((leaf.dtype, leaf.shape)), len(group)))
            group.append(leaf)
        self._blocks = [torch.stack(group) for group in alike.values()]

    def _check_homes(self) -> None:
        known, found = ({(id(holder), key) for holder, key, _ in state} for state in (self._homes, _state(self._owner)))
        if strange := {str(key) for _, key in known ^ found}:
            raise RuntimeError(f"what is kept in {', '.join(sorted(strange))} is not there at every call")

    def _bring_home(self) -> None:
        """Put tensors that were replaced since the capture back to where the graphs know them."""
        for holder, key, home in self._homes:
            value = _get(holder, key)
            if value is not home:
                for mine, new in zip(tree_leaves(home), tree_leaves(value), strict=True):
                    if mine is not new and isinstance(mine, Tensor):
                        mine.copy_(new)
                _set(holder, key, home)


# --- whatever an object keeps in tensors ------------------------------------------------------------------------------------


def _state(owner: object, seen: set[int] | None = None) -> Iterator[tuple[Any, Any, Any]]:
    """Where an object, and those it is made of, keep tensors or tuples of them: holder, key, what is there."""
    seen = set() if seen is None else seen
    if id(owner) in seen:
        return
    seen.add(id(owner))
    items = enumerate(owner) if isinstance(owner, list) else (owner if isinstance(owner, dict) else vars(owner)).items()
    for key, value in list(items):
        if isinstance(value, Tensor | tuple) and any(isinstance(part, Tensor) for part in tree_leaves(value)):
            yield owner, key, value
        elif isinstance(value, list | dict) or (hasattr(value, "__dict__") and not _is_foreign(value)):
            yield from _state(value, seen)


def _is_foreign(value: object) -> bool:
    module = type(value).__module__
    return isinstance(value, type | FunctionType | MethodType) or any(module == name or module.startswith(name + ".") for name in _FOREIGN)


def _get(holder: Any, key: Any) -> Any:
    return holder[key] if isinstance(holder, list | dict) else vars(holder)[key]


def _set(holder: Any, key: Any, value: Any) -> None:
    if isinstance(holder, list | dict):
        holder[key] = value
    else:
        setattr(holder, key, value)
