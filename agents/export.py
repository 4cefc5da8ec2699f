"""A trained policy as one file that runs without mprl: ONNX, or a program of `torch.export`.

The file takes flat observations `observation` (batch, n) float32, as `spaces.flatten` makes them, with any number of rows, and gives the
deterministic policy's `action` (batch, ...) in the environment's units: statistics of the observations, scaling and clipping are
inside. Whoever runs it finds the environment's id and its spaces in the file's metadata.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from mprl import __version__, extras
from mprl.agents import spaces
from mprl.agents.agent import Agent
from mprl.errors import CheckpointError, SettingError
from mprl.files import write_atomically

ONNX, TORCH = ".onnx", ".pt2"
METADATA = "metadata.json"  # its name in a .pt2


def export(agent: Agent, path: str | Path) -> Path:
    """Write an agent's deterministic policy into one file.

    Args:
        agent: any that acts by a network.
        path: of the file; .onnx for ONNX (needs the extra `export`), .pt2 for `torch.export.load`.

    Raises:
        SettingError: another suffix, or an agent whose policy cannot be written so.
        MissingPackageError: ONNX is asked for without the packages it needs.
        CheckpointError: the file cannot be written.
    """
    path = Path(path)
    check_suffix(path)
    policy, example = agent.policy_module(), torch.zeros(2, spaces.size(agent.observation_space))
    policy = policy.cpu()
    with _quiet(), torch.no_grad():
        content = (_onnx if path.suffix == ONNX else _program)(policy, example, metadata(agent))
    try:
        write_atomically(path, content)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error.strerror or error}") from None
    return path


def check_suffix(path: Path) -> None:
    """Raise a `SettingError` unless the suffix is one that is written, a `MissingPackageError` unless that can be written here."""
    if path.suffix not in (ONNX, TORCH):
        raise SettingError(f"{path}: a policy is written as {ONNX} or {TORCH}, not '{path.suffix}'")
    if path.suffix == ONNX:
        for package in ("onnx", "onnxscript"):
            extras.load(package, f"{ONNX} files need", "export")


def metadata(agent: Agent) -> dict[str, str]:
    """What an exported file says of itself."""
    known = {key: agent.config[key] for key in ("agent", "env_id", "env_kwargs", "num_timesteps", "observation_space", "action_space")}
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in known.items()} | {"mprl": __version__}


def _program(policy: nn.Module, example: torch.Tensor, about: dict[str, str]) -> bytes:
    program = torch.export.export(policy, (example,), dynamic_shapes={"observation": {0: torch.export.Dim("batch")}})
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={METADATA: json.dumps(about, indent=2)})
    return content.getvalue()


def _onnx(policy: nn.Module, example: torch.Tensor, about: dict[str, str]) -> bytes:
    program = torch.onnx.export(
        policy, (example,), dynamo=True, verbose=False,
        input_names=["observation"], output_names=["action"], dynamic_shapes={"observation": {0: "batch"}},
    )  # fmt: skip
    assert program is not None
    program.model.metadata_props.update(about)
    return program.model_proto.SerializeToString()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporters tell of their own insides."""
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)
