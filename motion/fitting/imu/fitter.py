"""From readings to a clip of SMPL's joints: `fit(readings)`.

from mprl.motion.fitting.imu import fit, read
fitted = fit(read("readings.csv"))
fitted.clip, fitted.converged
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from mprl import files
from mprl.errors import SettingError
from mprl.motion import rotations as rot
from mprl.motion.body.joints import from_smpl
from mprl.motion.body.smpl import SmplBody
from mprl.motion.clip import MotionClip, Provenance
from mprl.motion.fitting.imu import pose, sensors, sip
from mprl.motion.fitting.imu.network import RATE, ImuNetwork, full_rotations, inputs_of, reference_numbers
from mprl.motion.fitting.imu.prior import Prior
from mprl.motion.fitting.imu.readings import Readings
from mprl.motion.fitting.imu.signals import Signals, resampled, signals
from mprl.motion.fitting.imu.translation import translate

log = logging.getLogger("mprl")

Method = Literal["sip", "network", "both"]
WEIGHTS = Path(__file__).with_name("weights")
_SHAPE = 20.0  # standard deviations of people's shapes; nobody is further from the mean


@dataclass(frozen=True)
class Fitted:
    """A fit.

    Attributes:
        clip: the motion, on the floor z = 0, beginning at x = y = 0; the T-pose is still in it, so that its times are the recording's.
        converged: whether it can be relied on.
        told: how it went, in a line.
    """

    clip: MotionClip
    converged: bool
    told: str


def fit(
    readings: Readings,
    method: Method = "sip",
    *,
    betas: Sequence[float] | None = None,
    body: SmplBody | None = None,
    prior: Prior | None = None,
    settings: sip.SipSettings | None = None,
    tell: Callable[[int, int], object] | None = None,
) -> Fitted:
    """The motion that a recording tells of.

    Args:
        readings: of any of the six sensors.
        method: "sip", optimisation; "network", less exact and faster; "both": optimisation that may start from the network's.
        betas: shape of the person; by default the body's mean.
        body: whose joints; by default the free body.
        prior: see `prior.py`. settings: of the optimisation.
        tell: called with iterations done and how many there are at most.

    Raises:
        SettingError: no such method, or betas that the body does not have.
        DivergenceError: the optimisation came to numbers that are none.
    """
    if method not in get_args(Method):
        raise SettingError(f"method must be one of sip, network, both, found '{method}'")
    body = body or SmplBody.default()
    shape = None if betas is None else torch.as_tensor(betas, dtype=body.v_template.dtype)[None]
    if shape is not None and not bool((shape.abs() <= _SHAPE).all()):
        raise SettingError(f"betas must be within {-_SHAPE:g} and {_SHAPE:g}, found {', '.join(f'{x:g}' for x in shape[0].tolist())[:80]}")
    rest = from_smpl(body.rest_joints(shape))[0].float()
    sole = float(from_smpl(body(shape).vertices)[0, :, 2].min())
    given = signals(readings)
    contact = velocity = None
    begin = []
    if method != "sip":
        if len(readings.sensors) < 3:
            log.warning("%s: the network has learned from three sensors and more, and has %d here", readings.name, len(readings.sensors))
        given = resampled(given, RATE)
        world, contact, velocity = infer(given)
        begin.append((rot.to_rotation_vector(pose.quaternions(pose.local(world))), pose.quaternions(world[:, 0])))
    converged, told = True, f"{len(given.rotation)} frames"
    if method != "network":
        found = sip.solve(given, rest, begin, settings, prior, tell)
        world = found.world
        told, converged = _told(found)
    root = translate(given, world, rest, sole, contact, velocity)
    clip = MotionClip(
        readings.name, body.skeleton(shape), given.frame_rate, root.numpy(), rot.unit(pose.quaternions(pose.local(world)).double()).numpy(),
        betas=None if shape is None else shape[0].double().numpy(), provenance=Provenance(source=f"{readings.name}, inertial sensors"),
    )  # fmt: skip
    return Fitted(clip, converged, told)


@torch.no_grad()
def infer(given: Signals, network: ImuNetwork | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """What the network makes of signals at `RATE`: all bones in the world (T, 24, 3, 3), contact probabilities (T, 2), velocity (T, 3)."""
    network = network or shipped_network()
    frames = len(given.rotation)
    rotation, acceleration = torch.eye(3).expand(frames, 6, 3, 3).clone(), torch.zeros(frames, 6, 3)
    at = [sensors.NAMES.index(name) for name in given.sensors]
    rotation[:, at], acceleration[:, at] = pose.matrices(given.rotation), given.acceleration
    worn = torch.zeros(6, dtype=torch.bool)
    worn[at] = True
    shown = worn.expand(frames, -1)
    first = reference_numbers(shown)
    found = network.sequence(inputs_of(rotation, acceleration, shown, first)[None])
    frame = rotation[:, int(first[0])]
    velocity = (frame @ found.velocity[0, :, :, None]).squeeze(-1)
    return full_rotations(found.bones[0], rotation, shown, first), found.contact[0].sigmoid(), velocity


@lru_cache(maxsize=2)
def shipped_network(causal: bool = False) -> ImuNetwork:
    """The network that comes with the package; `causal`: the one that goes step by step."""
    network = ImuNetwork(causal=causal)
    weights = files.read_tensors(WEIGHTS / ("causal.safetensors" if causal else "network.safetensors"))
    network.load_state_dict({name: value.float() for name, value in weights.items()})
    return network.eval().requires_grad_(False)


def _told(found: sip.Solution) -> tuple[str, bool]:
    degrees = math.degrees(found.turned)
    told = f"{found.iterations} iterations, bones turned {degrees:.1f} degrees otherwise than their sensors say"
    if not found.converged:
        return f"did not converge: the energy still fell by {found.falling:.1%} in ten iterations; {told}", False
    return told, True
