"""The SMPL body: bodies a second beside smplx, and what the free body gets wrong."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mprl import extras
from mprl.motion import SmplBody
from mprl.motion.body.smpl import DEFAULT
from mprl.scripts.benchmarks.environment import Measured
from mprl.scripts.benchmarks.report import Figure, Overview, alternate, medians

BATCHES = (1, 32, 256)
COMPONENTS = (0, 1, 2, 3, 5, 10, 20, 50)


def measure(seconds: float, threads: int) -> Measured:
    """All figures of `mprl benchmark body`.

    Args:
        seconds: for each size of batch.
        threads: of torch, for the record.
    """
    body = SmplBody.default()
    smplx = _smplx(body)
    figures = [_agreement(body, smplx)]
    for size in BATCHES:
        figures += _speed(body, smplx, size, seconds)
    quality, overview = _quality()
    return Measured([*figures, *quality], {"threads": threads, "vertices": body.num_vertices}, overview)


def _smplx(body: SmplBody) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
    """smplx's layer with our body's arrays: vertices and joints of betas, pose, translation."""
    smplx = extras.load("smplx", "comparing with smplx needs", "smpl")
    arrays = smplx.utils.Struct(**body.arrays())
    layer = smplx.SMPL(model_path="", data_struct=arrays, num_betas=10)

    def run(betas: Tensor, pose: Tensor, translation: Tensor) -> tuple[Tensor, Tensor]:
        out = layer(betas=betas, global_orient=pose[:, 0], body_pose=pose[:, 1:].flatten(1), transl=translation)
        return out.vertices, out.joints[:, :24]

    return run


def _inputs(size: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(size)
    return (
        torch.randn(size, 10, generator=generator),
        0.4 * torch.randn(size, 24, 3, generator=generator),
        torch.randn(size, 3, generator=generator),
    )


@torch.no_grad()
def _agreement(body: SmplBody, smplx: Callable[..., tuple[Tensor, Tensor]]) -> Figure:
    inputs = _inputs(256)
    pairs = zip((*body(*inputs), body.joints(*inputs)), (*smplx(*inputs), smplx(*inputs)[1]), strict=True)
    furthest = max(float((ours - theirs).abs().max()) for ours, theirs in pairs)
    against = (
        "the greatest distance along an axis between our vertices or joints and those of smplx, of 256 random shapes and poses, float32"
    )
    return Figure("difference", "difference to smplx", "mm", 1e3 * furthest, against=against, less_is_better=True, target=("ours", 0.01))


def _speed(body: SmplBody, smplx: Callable[..., tuple[Tensor, Tensor]], size: int, seconds: float) -> list[Figure]:
    inputs = _inputs(size)
    vertices, joints = body(*inputs)
    matrices = torch.eye(3).expand(size, 24, 3, 3).contiguous()
    ways: dict[str, Callable[[], float]] = {
        "joints": functools.partial(_rate, size, lambda: body.joints(*inputs)),
        "joints_limit": functools.partial(_rate, size, lambda: (matrices @ matrices) @ joints.unsqueeze(-1)),
        "mesh": functools.partial(_rate, size, lambda: body(*inputs)),
        "mesh_limit": functools.partial(_rate, size, lambda: vertices + 1.0),
        "smplx": functools.partial(_rate, size, lambda: smplx(*inputs)),
    }
    rates = alternate(ways, seconds)
    m = medians(rates)
    joints_against = "peer smplx, which has no way to the joints without the mesh; limit one product of the 24 rotations, applied once"
    mesh_against = "peer smplx; limit one pass over the vertices"
    last = size == BATCHES[-1]
    return [
        Figure(
            f"joints_{size}", f"joints of {size} bodies", "1/s", m["joints"], m["smplx"], m["joints_limit"], joints_against,
            target=("ratio_to_peer", 50.0) if last else None, rounds=rates,
        ),
        Figure(
            f"mesh_{size}", f"meshes of {size} bodies", "1/s", m["mesh"], m["smplx"], m["mesh_limit"], mesh_against,
            target=("ratio_to_peer", 2.0) if last else None, rounds=rates,
        ),
    ]  # fmt: skip


@torch.no_grad()
def _rate(size: int, way: Callable[[], object], least: float = 0.02) -> float:
    """Bodies a second; repeated until it takes long enough to be timed, the first time not counted."""
    way()
    times, began = 0, time.perf_counter()
    while (took := time.perf_counter() - began) < least or times == 0:
        way()
        times += 1
    return times * size / took


def _quality() -> tuple[list[Figure], Overview]:
    """The free body's errors as they were measured when it was built, and its size."""
    with np.load(DEFAULT, allow_pickle=False) as built:
        shape, joint, pose = (built[key].tolist() for key in ("shape_error_mm", "joint_error_mm", "pose_error_mm"))
    against = "bodies and poses that were not learned from; the peer is the same body without pose corrections"
    figures = [
        Figure("pose_error", "vertices in poses, mean error", "mm", pose[2], pose[0], against=against, less_is_better=True),
        Figure("pose_error_99", "vertices in poses, 99th percentile", "mm", pose[3], pose[1], against=against, less_is_better=True),
        Figure("joint_error", "joints at rest, mean error", "mm", float(np.mean(joint)), less_is_better=True),
        Figure("file", "the free body's file", "MiB", DEFAULT.stat().st_size / 2**20, less_is_better=True, target=("ours", 8.0)),
    ]
    rows = [("mean error of vertices, mm", *(f"{shape[k]:.2f}" for k in COMPONENTS))]
    return figures, Overview(("components of shape", *(str(k) for k in COMPONENTS)), rows)
