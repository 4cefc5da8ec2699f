"""Sparse Inertial Poser: the pose of every frame at once, by optimisation (von Marcard et al. 2017).

    E = sum over frames of   ½ |log(M^T R(θ))|² / σ_o²          bones are turned as their sensors say
                           + ρ(|a - x''(θ)| / σ_a)              sensors accelerate as they say; ρ(r) = (1 + r²)^½ - 1
                           + w_p P(θ) + limits of knees, elbows  poses are likely ones
                           + ½ |θ''|² / σ_s²                     and change smoothly

What all sensors accelerate by together is left out: it tells of the root's path, which `translation.py` finds afterwards, and not of the
pose. All frames' gradients come from one pass, and L-BFGS goes down it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mprl.errors import DivergenceError
from mprl.motion import inertial
from mprl.motion import rotations as rot
from mprl.motion.body import skinning
from mprl.motion.body.joints import JOINTS, to_smpl
from mprl.motion.fitting.imu import pose, sensors
from mprl.motion.fitting.imu.prior import Prior, shipped
from mprl.motion.fitting.imu.signals import Signals

_KNEES = tuple(JOINTS.index(f"{side}_knee") - 1 for side in ("left", "right"))
_ELBOWS = tuple(JOINTS.index(f"{side}_elbow") - 1 for side in ("left", "right"))
_BLOCK, _ENOUGH = 10, 5e-3  # iterations, and by what share the energy falls in so many when it is time to stop
_WIDTHS = (1, 3, 9, 27)  # frames between the numbers of each level of `_summed`


@dataclass(frozen=True)
class SipSettings:
    """How much each term counts."""

    orientation: float = 0.02
    """σ_o, rad"""
    acceleration: float = 3.0
    """σ_a, m/s²"""
    prior: float = 0.1
    """w_p; far below 1, as neighbouring frames are no independent draws"""
    smoothness: float = 300.0
    """σ_s, rad/s²"""
    limit: float = 10.0
    """of a knee or elbow that bends the wrong way, 1/rad²"""
    iterations: int = 120
    """of L-BFGS, at most"""


@dataclass(frozen=True)
class Solution:
    """All bones in the world, (T, 24, 3, 3), and how it went.

    Attributes:
        energy: at the end, per frame. falling: by what share it still fell in the last ten iterations. iterations: done.
        turned: root mean square of what bones are turned otherwise than their sensors say, rad.
    """

    world: Tensor
    energy: float
    falling: float
    iterations: int
    turned: float

    @property
    def converged(self) -> bool:
        """Whether more iterations would change little."""
        return self.falling < 0.03


def start(given: Signals) -> tuple[Tensor, Tensor]:
    """Angles (T, 24, 3) and root rotation (T, 4) to begin with: each chain between two sensors turns evenly.

    A missing shank or forearm is as its trunk's end, a missing head as the pelvis, a missing pelvis upright below the first sensor.
    """
    turned = dict(zip(given.sensors, given.rotation.unbind(1), strict=True))
    frames = len(given.rotation)
    angles = given.rotation.new_zeros(frames, len(JOINTS), 3)
    root = turned.get("pelvis")
    if root is None:
        first = turned[sensors.reference(given.sensors)]
        root = rot.about_vertical(2.0 * torch.atan2(first[:, 3], first[:, 0]))

    def share(chain: dict[str, float], above: Tensor, end: Tensor | None) -> None:
        if end is not None:
            vector = rot.to_rotation_vector(rot.multiply(rot.conjugate(above), end))
            for joint, part in chain.items():
                angles[:, JOINTS.index(joint)] = part * vector

    share(dict.fromkeys(("spine1", "spine2", "spine3", "neck", "head"), 0.2), root, turned.get("head"))
    chest = rot.multiply(root, rot.from_rotation_vector(3 * angles[:, JOINTS.index("spine1")]))
    for side in ("left", "right"):
        share({f"{side}_hip": 0.5, f"{side}_knee": 0.5}, root, turned.get(f"{side}_shank"))
        share({f"{side}_shoulder": 0.7, f"{side}_elbow": 0.3}, chest, turned.get(f"{side}_forearm"))
    return angles, root


def solve(
    given: Signals,
    rest: Tensor,
    begin: Sequence[tuple[Tensor, Tensor]] = (),
    settings: SipSettings | None = None,
    prior: Prior | None = None,
    tell: Callable[[int, int], object] | None = None,
) -> Solution:
    """The most likely poses.

    Args:
        given: what the sensors say.
        rest: joints in the T-pose, our frame, (24, 3) m.
        begin: angles (T, 24, 3) and root rotations (T, 4) that may be begun with, besides `start`'s: the likeliest are.
        settings: weights.
        prior: see `prior.py`; by default the shipped Gaussian.
        tell: called with the iterations that are done and how many there are at most.

    Raises:
        DivergenceError: the energy is no longer a number.
    """
    settings, prior = settings or SipSettings(), prior or shipped()
    with torch.no_grad():
        problems = [_Problem(given, rest, *one, settings, prior) for one in (start(given), *begin)]
        problem = min(problems, key=lambda one: float(one.energy(one.first)))
    levels = [torch.zeros(-(-(len(problem.first) - 1) // width) + 1, 72, requires_grad=True) for width in _WIDTHS]
    options = {"tolerance_change": 0.0, "tolerance_grad": 0.0, "line_search_fn": "strong_wolfe"}
    optimizer = torch.optim.LBFGS(levels, max_iter=_BLOCK, history_size=12, **options)  # type: ignore[arg-type]

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = problem.energy(problem.first + _summed(levels, len(problem.first)))
        value.backward()
        return value

    energies: list[float] = []
    for done in range(0, settings.iterations, _BLOCK):
        energies.append(float(optimizer.step(closure).detach()))  # before the block
        if not math.isfinite(energies[-1]):
            raise DivergenceError(f"{done} iterations: the fit's energy was no longer a number; are the readings in m/s²?")
        if tell is not None:
            tell(min(done + _BLOCK, settings.iterations), settings.iterations)
        if _fell(energies) < _ENOUGH:
            break
    with torch.no_grad():
        variables = problem.first + _summed(levels, len(problem.first))
        energies.append(float(problem.energy(variables)))
        world, _ = problem.pose(variables)
        angle = settings.orientation * variables[:, problem.sensed].norm(dim=-1)
    return Solution(world, energies[-1], _fell(energies), done + _BLOCK, float(angle.square().mean().sqrt()))


class _Problem:
    """The energy as a function of (T, 24, 3) numbers; `first` are those to begin with.

    A bone with a sensor is turned as it says, and by σ_o times its numbers more; so what holds it there is as soft as all else, and L-BFGS
    has no narrow valley to go along. All other joints' numbers are their rotation vectors, in units of how much they vary.
    """

    def __init__(self, given: Signals, rest: Tensor, angles: Tensor, root: Tensor, settings: SipSettings, prior: Prior) -> None:
        self.given, self.settings, self.prior = given, settings, prior
        self.sensed = sensors.bones(given.sensors)
        self.place = sensors.places(rest, given.sensors).float()
        self.rest = rest.float()
        measured = pose.matrices(given.rotation)
        self.anchor = dict(zip(self.sensed, measured.unbind(1), strict=True))
        self.scale = torch.full((len(JOINTS), 1), 0.1)
        self.scale[1:] = shipped().deviation.view(-1, 3).norm(dim=-1, keepdim=True).clamp(min=0.1)
        self.scale[self.sensed] = settings.orientation
        self.anchor.setdefault(0, pose.matrices(root))
        self.first = angles / self.scale
        self.first[:, [0, *self.sensed, *pose.FOLLOW]] = 0.0

    def pose(self, variables: Tensor) -> tuple[Tensor, Tensor]:
        """Bones in the world (T, 24, 3, 3), and the joints' rotation vectors (T, 23, 3) rad."""
        vectors = variables * self.scale
        turns = skinning.rotation_matrices(vectors)
        world, angles = [self.anchor[0] @ turns[:, 0]], []
        for joint, parent in enumerate(pose.PARENTS[1:], start=1):
            if joint in self.anchor:
                world.append(self.anchor[joint] @ turns[:, joint])
                angles.append(pose.vectors(world[parent].transpose(1, 2) @ world[joint]))
            elif joint in pose.FOLLOW:
                world.append(world[parent])
                angles.append(torch.zeros_like(vectors[:, 0]))
            else:
                world.append(world[parent] @ turns[:, joint])
                angles.append(vectors[:, joint])
        return torch.stack(world, dim=1), torch.stack(angles, dim=1)

    def energy(self, variables: Tensor) -> Tensor:
        """Per frame."""
        given, settings = self.given, self.settings
        world, body = self.pose(variables)
        total = 0.5 * variables[:, self.sensed].square().sum()
        if len(self.sensed) > 1 and len(world) > 2 * given.spacing:
            joints = pose.positions(world, self.rest)
            worn = joints[:, self.sensed] + (world[:, self.sensed] @ self.place.unsqueeze(-1)).squeeze(-1)
            n = given.spacing
            error = (given.acceleration - inertial.second_difference(worn, given.frame_rate, n))[n:-n] / settings.acceleration
            error = error - error.mean(dim=1, keepdim=True)
            total = total + (torch.sqrt(1.0 + error.square().sum(-1)) - 1.0).sum()  # a few are far off: a step, a clap
        total = total + settings.prior * self.prior(to_smpl(body).flatten(1)).sum() + settings.limit * _wrong_way(body).sum()
        if len(body) > 2:
            bend = (body[2:] - 2 * body[1:-1] + body[:-2]) * given.frame_rate**2
            total = total + 0.5 * bend.square().sum() / settings.smoothness**2
        return total / len(body)


def _summed(levels: list[Tensor], frames: int) -> Tensor:
    """Numbers of every frame, (T, 24, 3): the sum of piecewise linear functions of time (a hierarchical basis, Szeliski 1990).

    What is to change slowly is one number of a coarse level instead of very many that must change alike; with it 40 iterations come
    further than 120 without.
    """
    total = torch.zeros(frames, 72)
    for level, width in zip(levels, _WIDTHS, strict=True):
        size = (len(level) - 1) * width + 1
        finer = torch.nn.functional.interpolate(level.T[None], size=size, mode="linear", align_corners=True)[0].T
        total = total + finer[:frames]
    return total.view(frames, len(JOINTS), 3)


def _fell(energies: list[float]) -> float:
    """By what share the energy fell in the last block; 1 before there is one."""
    return 1.0 if len(energies) < 2 else 1.0 - energies[-1] / max(energies[-2], 1e-12)


def _wrong_way(body: Tensor) -> Tensor:
    """Squares of how far knees and elbows bend the wrong way, (T,) rad², of angles (T, 23, 3) in our frame.

    At rest legs hang along -z and knees bend about +y; arms lie along y, the left elbow bends about -z and the right one about +z.
    """
    knees = body[:, list(_KNEES), 1].clamp(max=0.0)
    elbows = (body[:, list(_ELBOWS), 2] * body.new_tensor([1.0, -1.0])).clamp(min=0.0)
    return knees.square().sum(-1) + elbows.square().sum(-1)
