"""SMPLify over a whole sequence: keypoints of one person in, a motion of the SMPL body out (Bogo et al. 2016, and what came after).

    fitted = fit(keypoints)                          # one view; several need cameras
    fitted.clip                                      # a MotionClip in our world

All frames are fitted together, as one batch: one shape, cameras that stand still, and terms between neighbouring frames. The way there:
guesses from all sides at some moments of the sequence (`start.py`), each improved by itself; the likeliest path through them; then
these moments together, and at last all frames. A network's guess (`regression`) is one of them, or, which is faster, instead of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from mprl.errors import DivergenceError, SettingError
from mprl.motion import rotations as rot
from mprl.motion.body import skinning
from mprl.motion.body.joints import JOINTS
from mprl.motion.body.smpl import SmplBody
from mprl.motion.characters.smpl import SmplCharacter
from mprl.motion.clip import MotionClip, Provenance
from mprl.motion.fitting import balance, ground, limbs, priors, start
from mprl.motion.fitting import cameras as cams
from mprl.motion.fitting.evidence import DETECTOR, Evidence, gather
from mprl.motion.fitting.imu import pose as bones
from mprl.motion.fitting.objective import Objective, Parameters, Weights
from mprl.motion.fitting.points import BodyPoints
from mprl.motion.fitting.regression import estimate
from mprl.perception.network import check_choice
from mprl.perception.pose2d import layouts
from mprl.perception.pose2d.keypoints import Keypoints

FEET = ("left_heel", "left_big_toe", "left_small_toe", "right_heel", "right_big_toe", "right_small_toe")
Tell = Callable[[int, int], object]
Method = Literal["smplify", "regressor", "learned-descent", "both"]
Network = Literal["regressor", "learned-descent"]
_MISFIT = 0.05


@dataclass(frozen=True)
class Settings:
    """Of a fit.

    Attributes:
        method: "smplify" searches, then descends; "regressor" and "learned-descent" are networks alone, each frame by itself; "both"
            descends from what `network` says, which is faster.
        network: whose guess is one of the search's; None: of none.
        prior: "gmm", "vae" or "none", or one of your own.
        weights: of the objective's terms.
        moment: time between the moments that are fitted before all frames are, s; the search is at every other one.
        guess_steps, coarse_steps, limb_steps, moment_steps, frame_steps: of the optimiser on the guesses, on the path through them (twice),
            on limbs that are tried anew, on the moments, and on all frames.
        examples, limb_examples: poses of the prior that guesses, and limbs, are chosen from.
    """

    method: Method = "smplify"
    network: Network | None = "learned-descent"
    prior: str | priors.Prior = "gmm"
    weights: Weights = field(default_factory=Weights)
    moment: float = 0.1
    guess_steps: int = 25
    coarse_steps: int = 30
    limb_steps: int = 12
    moment_steps: int = 50
    frame_steps: int = 60
    examples: int = 600
    limb_examples: int = 1500

    def __post_init__(self) -> None:
        check_choice("method", self.method, get_args(Method))
        if self.network is not None:
            check_choice("network", self.network, get_args(Network))
        elif self.method == "both":
            raise SettingError("method 'both' starts from a network, found network=None")


@dataclass(frozen=True)
class Fitted:
    """What a fit found.

    Attributes:
        clip: in our world.
        parameters: the same as the objective has them, in the world of `cameras`.
        cameras: as given, or as estimated.
        reprojection: mean distance of keypoints from where they were seen, px.
        energy: at the end, nats a frame. still_falling: by how much it fell over the last quarter of the steps.
        misfit: the reprojection error as a share of the person's height.
        doubts: about the keypoints, a line each (`Keypoints.doubts`).
    """

    clip: MotionClip
    parameters: Parameters
    cameras: cams.Cameras
    reprojection: float
    energy: float
    still_falling: float
    misfit: float
    doubts: tuple[str, ...] = ()

    @property
    def converged(self) -> bool:
        """Whether the energy had settled, and the body lies on the keypoints."""
        return self.still_falling < 5.0 and self.misfit < _MISFIT

    def how_far(self) -> str:
        """One line for people."""
        state = "converged" if self.converged else "did not converge"
        doubts = self.doubts
        if self.misfit >= _MISFIT:
            doubts = (*doubts, "are the keypoints in the layout's order, and the cameras where they are said to be?")
        return (
            f"{state}: the body is {self.reprojection:.1f} px from the keypoints on average ({100 * self.misfit:.1f} % of the "
            f"person's height); the energy fell by {self.still_falling:.2g} nats a "
            f"frame in the last quarter of the steps, to {self.energy:.1f}{''.join(f'; {doubt}' for doubt in doubts)}"
        )


def descend(
    objective: Objective,
    p: Parameters,
    free: dict[str, float],
    steps: int,
    whole: bool = True,
    tell: Callable[[], object] | None = None,
    energies: list[float] | None = None,
) -> Parameters:
    """Adam, with a step size that falls to a twentieth.

    Args:
        objective: what to make small.
        p: where to start.
        free: which parameters move, and by how much in a step at first, in their units.
        steps: how many.
        whole: the whole energy, or that of each frame by itself.
        tell: called after each step.
        energies: where to put the energy of each step, nats a frame.

    Raises:
        DivergenceError: what was found is not a number.
    """
    moving = {name: getattr(p, name).clone().requires_grad_() for name in free}
    groups = [{"params": [value], "lr": free[name]} for name, value in moving.items()]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.98), fused=True)
    for step in range(steps):
        now = _with_focal(p, moving)
        energy = objective(now) * len(p.pose) if whole else objective.of_frames(now).sum()
        optimizer.zero_grad(set_to_none=True)
        energy.backward()
        for group, size in zip(optimizer.param_groups, free.values(), strict=True):
            group["lr"] = size * max(0.05, min(1.0, 1.6 * (1 - step / steps)))
        optimizer.step()
        if energies is not None:
            energies.append(float(energy.detach()) / len(p.pose))
        if tell is not None:
            tell()
    found = _with_focal(p, moving).settled()
    if not all(bool(torch.isfinite(value).all()) for value in found):
        name = objective.evidence.name
        raise DivergenceError(f"{name}: the fit broke down: what it found is not a number; are the cameras and the focal length right?")
    return found


def _with_focal(p: Parameters, moving: dict[str, Tensor]) -> Parameters:
    """Parameters whose camera comes nearer as its focal length shrinks, so that the person stays as large: else neither would move."""
    now = p._replace(**moving)
    if "log_focal" not in moving:
        return now
    nearer = (now.log_focal - p.log_focal).exp()
    return now._replace(place=torch.cat((now.place[:, :1] * nearer, now.place[:, 1:]), dim=1))


def between(p: Parameters, known: Tensor, wanted: Tensor) -> Parameters:
    """Parameters at some frames brought to others: along the shortest turns, and straight lines; still before the first, after the last."""
    before = (torch.searchsorted(known, wanted, right=True) - 1).clamp(0, max(len(known) - 2, 0))
    after = (before + 1).clamp(max=len(known) - 1)
    span = (known[after] - known[before]).clamp(min=1)
    share = ((wanted - known[before]) / span).float().clamp(0.0, 1.0)
    lerp = lambda x: torch.lerp(x[before], x[after], share.view(-1, *[1] * (x.ndim - 1)))  # noqa: E731
    quaternions = bones.quaternions(p.turned())
    root = bones.matrices(rot.slerp(quaternions[before], quaternions[after], share))
    place = lerp(p.place)
    return p._replace(root=root, turn=torch.zeros_like(place), pose=lerp(p.pose), place=place)


def search(
    points: BodyPoints,
    evidence: Evidence,
    cameras: cams.Cameras,
    prior: priors.Prior,
    settings: Settings,
    moments: Tensor,
    free: dict[str, float],
    tell: Callable[[], object] | None = None,
) -> Parameters:
    """A first fit at some moments: guesses, each improved by itself, and the likeliest path through them; then limbs tried anew.

    One of the guesses is a network's; of the others there is one for each side that the person may be seen from.
    """
    some, weights = evidence.at(moments), replace(settings.weights, interpenetration=0.0)
    random = torch.Generator().manual_seed(0)
    poses = prior.sample(settings.examples, random).unflatten(1, (-1, 3))
    found = start.guesses(points, some, cameras, poses, torch.zeros(points.num_betas))
    if settings.network is not None:
        told = estimate.of_views(estimate.load(settings.network), points, some, cameras)
        found = Parameters(found.betas, found.log_focal, *(torch.cat(both) for both in zip(found[2:], told[2:], strict=True)))
    times = len(found.pose) // len(moments)
    alone = Objective(points, some.repeated(times), cameras, prior, weights)
    found = descend(alone, found, {"turn": 0.06, "pose": 0.06, "place": 0.04}, settings.guess_steps, whole=False, tell=tell)
    together = Objective(points, some, cameras, prior, weights)
    found = found.at(start.best_path(alone, found, some.steps()))
    found = descend(together, found, free, settings.coarse_steps, tell=tell)
    poses = prior.sample(settings.limb_examples, random).unflatten(1, (-1, 3))

    def improve(objective: Objective, p: Parameters) -> Parameters:
        return descend(objective, p, {"pose": 0.06}, settings.limb_steps, whole=False, tell=tell)

    found = limbs.retried(together, found, poses, improve)
    return descend(together, found, free, settings.coarse_steps, tell=tell)


def fit(
    keypoints: Keypoints,
    cameras: cams.Cameras | None = None,
    settings: Settings | None = None,
    *,
    body: SmplBody | None = None,
    focal: float | None = None,
    initial: Parameters | None = None,
    tell: Tell | None = None,
) -> Fitted:
    """Fit a body to keypoints.

    Args:
        keypoints: of one person, from one view or several.
        cameras: one for each view, in a world whose z points up and whose floor is at 0. Without them a single view's camera is taken
            to stand still and about level; its focal length and the floor are estimated.
        settings: of the fit.
        body: by default the free one.
        focal: px, of a single view's camera, where it is known.
        initial: instead of searching or asking a network, where to start: parameters of all frames.
        tell: called with the steps done and to do.

    Raises:
        SettingError: several views without cameras, keypoints of which nothing can be seen, or a person whom a camera cannot see.
        DivergenceError: the fit came to numbers that are none.
    """
    settings = settings or Settings()
    if keypoints.num_frames < 2:
        raise SettingError(f"{keypoints.name}: a motion needs at least 2 frames, found {keypoints.num_frames}")
    cams.check_views(cameras, keypoints.num_views, keypoints.name)
    points, evidence, prior = BodyPoints(layouts.points(keypoints.layout), body), gather(keypoints), settings.prior
    prior = priors.load(prior) if isinstance(prior, str) else prior
    estimated = cameras is None
    cameras = cameras or cams.level(keypoints.image_size[0], focal)
    free = {"turn": 0.03, "pose": 0.03, "place": 0.02, "betas": 0.02}
    if estimated and focal is None:
        free["log_focal"] = 0.02
    weights, every = settings.weights, torch.arange(keypoints.num_frames)
    o = settings
    before = o.moment_steps + (o.guess_steps + 2 * o.coarse_steps + o.limb_steps if o.method == "smplify" else 0)
    count = _Count((before if initial is None else 0) + o.frame_steps, tell)
    if initial is None:
        coarse, fine = (_moments(keypoints, settings.moment * share) for share in (2.0, 1.0))
        if o.method == "smplify":
            coarse = _shown(evidence, coarse)
            found = between(search(points, evidence, cameras, prior, settings, coarse, free, count), coarse, fine)
        else:
            objective = Objective(points, evidence, cameras, prior, weights)
            network = estimate.load(o.network if o.method == "both" else o.method)
            told = between(*estimate.of_sequence(network, objective), every)
            if o.method != "both":
                with torch.no_grad():
                    return _finished(keypoints, objective, told, estimated, 2 * [float(objective(told))])
            found = told.at(fine)
        found = descend(Objective(points, evidence.at(fine), cameras, prior, weights), found, free, o.moment_steps, tell=count)
        initial = between(found, fine, every)
    objective, energies = Objective(points, evidence, cameras, prior, weights), []  # type: ignore[var-annotated]
    smaller = {key: 0.4 * value for key, value in free.items()}
    found = descend(objective, initial, smaller, o.frame_steps, tell=count, energies=energies)
    return _finished(keypoints, objective, found, estimated, energies)


def _moments(keypoints: Keypoints, apart: float) -> Tensor:
    """Frames about `apart` seconds from each other, evenly but for rounding, the first and the last among them."""
    frames = keypoints.num_frames
    count = max(2, round((frames - 1) / (apart * keypoints.frame_rate)) + 1)
    return torch.linspace(0, frames - 1, min(count, frames)).round().long()


def _shown(evidence: Evidence, moments: Tensor) -> Tensor:
    """Of the frames that show enough in some view to guess from, those nearest to some moments, (<= len(moments),)."""
    known = estimate.enough_shown(evidence).any(dim=0).nonzero().squeeze(1)
    return known[(moments.unsqueeze(1) - known).abs().argmin(dim=1)].unique()


def _finished(keypoints: Keypoints, objective: Objective, p: Parameters, estimated: bool, energies: list[float]) -> Fitted:
    """The clip, in our world, and how good it is."""
    with torch.no_grad():
        _, points = objective.placed(p)
        cameras = replace(objective.cameras, focal=objective.cameras.focal * p.log_focal.exp())
        pixels, depth = cameras.project(points)
        seen = objective.evidence.confidence > 0
        hidden = (depth <= 0).all(dim=-1) & seen.any(dim=-1)
        if hidden.any():
            view, frame = hidden.nonzero()[0].tolist()
            raise SettingError(f"{keypoints.name}: in frame {frame} the person is behind camera {view}: are the cameras right?")
        errors = (pixels - objective.evidence.seen).norm(dim=-1)
    if estimated:
        p, cameras = _on_the_floor(keypoints, objective, p, cameras)
    reprojection = float(errors[seen].mean())
    tail = energies[-max(2, len(energies) // 4) :]
    misfit = reprojection * DETECTOR / float(objective.evidence.deviation.mean())
    doubts = tuple(keypoints.doubts())
    return Fitted(_clip(keypoints, objective, p), p, cameras, reprojection, tail[-1], tail[0] - tail[-1], misfit, doubts)


def _on_the_floor(keypoints: Keypoints, objective: Objective, p: Parameters, cameras: cams.Cameras) -> tuple[Parameters, cams.Cameras]:
    """The same seen from outside: the floor at 0, who walks in balance, the body's first place above the origin."""
    feet, rate = BodyPoints(FEET, objective.points.body), keypoints.frame_rate

    def under(p: Parameters) -> Tensor:
        with torch.no_grad():
            points: Tensor = feet(p.betas, p.root, p.turn, p.pose, p.place)[1]
        return ground.floor(points, rate)

    rotation, height = ground.level(under(p))
    p, cameras = _moved(p, cameras, rotation, height)
    character = SmplCharacter(p.betas, body=objective.points.body)  # another's feet would not reach the floor
    lean = torch.as_tensor(balance.lean(_clip(keypoints, objective, p), character)).float()
    if lean.any():
        p, cameras = _moved(p, cameras, skinning.rotation_matrices(lean))
        plane = under(p)  # what slope there is now is not believed: its height amid the path is
        p, cameras = _moved(p, cameras, torch.eye(3), float(plane[:2] @ p.place[:, :2].mean(dim=0) + plane[2]))
    return p, cameras


def _moved(p: Parameters, cameras: cams.Cameras, rotation: Tensor, height: float = 0.0) -> tuple[Parameters, cams.Cameras]:
    """A body and cameras turned as a whole, let down by a height, the first place above the origin: the pictures stay as they are."""
    place = p.place @ rotation.T
    shift = torch.tensor([-float(place[0, 0]), -float(place[0, 1]), -height])
    # a camera sees R (Gᵀ (x − shift)) + t
    turned = cameras.rotation @ rotation.T
    moved = replace(cameras, rotation=turned, translation=cameras.translation - torch.einsum("vij,j->vi", turned, shift))
    return p._replace(root=rotation @ p.root, place=place + shift), moved


def _clip(keypoints: Keypoints, objective: Objective, p: Parameters) -> MotionClip:
    betas = p.betas.double()
    vectors = torch.cat((p.pose, p.pose.new_zeros(len(p.pose), len(JOINTS) - 1 - p.pose.shape[1], 3)), dim=1)
    rotations = torch.cat((bones.quaternions(p.root).unsqueeze(1), rot.from_rotation_vector(vectors)), dim=1)
    return MotionClip(
        Path(keypoints.name).stem, objective.points.body.skeleton(betas[None]), keypoints.frame_rate, p.place.double().numpy(),
        rot.unit(rotations.double()).numpy(), betas=betas.numpy(), gender=objective.points.body.gender,
        provenance=Provenance(source=f"fitted to the keypoints of {keypoints.name}"),
    )  # fmt: skip


class _Count:
    """Steps of all stages, as one count."""

    def __init__(self, total: int, tell: Tell | None) -> None:
        self._total, self._done, self._tell = total, 0, tell

    def __call__(self) -> None:
        self._done += 1
        if self._tell is not None:
            self._tell(self._done, self._total)
