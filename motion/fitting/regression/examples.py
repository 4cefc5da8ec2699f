"""What the networks learn from: poses of the clips we ship and what is made of them, seen from anywhere.

Batches are {"input": rows, see `views.View.inputs`, (B, INPUTS); "seen", "confidence", "size" of the view; "bones", "betas", "camera" of
the true figure, see `figures.Figure`; "joints": the true ones relative to the pelvis, (B, 24, 3) m}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from mprl.motion.body import skinning
from mprl.motion.body.joints import PARENTS
from mprl.motion.fitting.priors import learn
from mprl.motion.fitting.regression import figures as fig
from mprl.motion.fitting.regression import views
from mprl.perception.pose2d import layouts

Batch = dict[str, Tensor]
Draw = Callable[..., Tensor]
_TREE = skinning.Tree(PARENTS[: fig.BONES])
# how often networks see each layout
_LAYOUTS = {"body_25": 0.5, "coco_17": 0.2, "coco_18": 0.1, "smpl_24": 0.2}
_VARIED = 8192  # poses made anew for each epoch
_OWN = 0.5  # share of poses that are the clips' own, a little shaken
_SHAPE = 0.7  # standard deviation of betas
_NOISE = (0.01, 0.04)  # of detectors, of a person's size: 1 to 4 px for one 400 px tall


def batches(frames: Tensor, figures: fig.Figures, count: int, size: int) -> Callable[[torch.Generator], Iterator[Batch]]:
    """For the trainer: an epoch of `count` batches of `size` examples, of frames (N, 22, 3) rad as `learn.clip_frames` gives them."""

    def epoch(generator: torch.Generator) -> Iterator[Batch]:
        varied = learn.varied(frames[:, 1:], _VARIED, generator)
        for _ in range(count):
            yield examples(frames, varied, figures, size, generator)

    return epoch


def examples(frames: Tensor, varied: Tensor, figures: fig.Figures, count: int, generator: torch.Generator) -> Batch:
    """So many examples, see above, of frames (N, 22, 3) and of poses made of them (M, 21, 3), rad."""

    def normal(*shape: int) -> Tensor:
        return torch.randn(count, *shape, generator=generator)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    bones = _bones(frames, varied, count, generator, normal, uniform)
    betas = _SHAPE * normal(figures.points.num_betas)
    figure = fig.Figure(bones, betas, torch.zeros(count, 3))
    joints, points = figures.body(figure)
    middle = points.mean(dim=1)
    distance = uniform(0.45, 2.6).exp()  # 1.6 to 13 m
    place = torch.stack((distance, *(0.05 * distance * normal() - middle[:, axis] for axis in (1, 2))), dim=-1)
    there = points + place.unsqueeze(1)
    flat = -there[..., 1:] / there[..., :1].clamp(min=0.2)
    shown = _shown(count, generator, uniform)
    confidence = shown * torch.where(uniform(0, 1, 1) < 0.7, torch.ones_like(shown), uniform(0.4, 1.0, shown.shape[1]))
    noise = uniform(*_NOISE, 1) * flat.sub(flat.mean(dim=1, keepdim=True)).square().sum(-1).mean(dim=1, keepdim=True).sqrt()
    flat = flat + (noise / confidence.clamp(min=0.4)).unsqueeze(-1) * normal(*flat.shape[1:])
    view = views.look_at(flat, confidence, 1.0, torch.zeros(2))
    # the camera has been turned to the person: so is the truth
    turn = (torch.tensor(views.LEVEL).T @ view.turn).transpose(1, 2)
    place = (turn @ place.unsqueeze(-1)).squeeze(-1)
    return {
        "input": view.inputs(), "seen": view.seen, "confidence": view.confidence, "size": view.size,
        "bones": turn.unsqueeze(1) @ bones, "betas": betas, "camera": fig.camera_of(place, view.size),
        "joints": joints @ turn.transpose(1, 2),
    }  # fmt: skip


def _bones(frames: Tensor, varied: Tensor, count: int, generator: torch.Generator, normal: Draw, uniform: Draw) -> Tensor:
    """Rotations of bones before a level camera, (count, 22, 3, 3)."""
    some, made = (of[torch.randint(len(of), (count,), generator=generator)] for of in (frames, varied))
    pose = torch.where(uniform(0, 1, 1, 1) < _OWN, some[:, 1:] + 0.05 * normal(fig.BONES - 1, 3), made)
    root = skinning.rotation_matrices(some[:, 0])
    lean = skinning.rotation_matrices(torch.where(uniform(0, 1, 1) < 0.85, 0.15 * normal(3), 1.5 * normal(3)))
    nothing = torch.zeros(count)
    heading = skinning.rotation_matrices(torch.stack((nothing, nothing, uniform(-torch.pi, torch.pi)), dim=-1))
    elevation = torch.where(uniform(0, 1) < 0.8, 0.1 - 0.2 * normal(), uniform(-1.0, 0.6))
    camera = skinning.rotation_matrices(torch.stack((0.05 * normal(), elevation, nothing), dim=-1))
    local = torch.cat(((camera @ heading @ lean @ root).unsqueeze(1), skinning.rotation_matrices(pose)), dim=1)
    return skinning.forward_kinematics(local, torch.zeros(count, fig.BONES, 3), _TREE)[0]


def _shown(count: int, generator: torch.Generator, uniform: Draw) -> Tensor:
    """Which points are seen, (count, K) in {0, 1}: those of a layout, less some, and here and there less all of a half."""
    has = torch.zeros(len(_LAYOUTS), len(views.POINTS))
    for row, layout in enumerate(_LAYOUTS):
        has[row, [views.POINTS.index(name) for name in layouts.points(layout)]] = 1.0
    which = torch.multinomial(torch.tensor(list(_LAYOUTS.values())), count, replacement=True, generator=generator)
    shown = has[which]
    kept = shown * (uniform(0, 1, shown.shape[1]) >= uniform(0.0, 0.3, 1))
    lower = torch.tensor([any(part in name for part in ("knee", "ankle", "toe", "heel", "foot")) for name in views.POINTS])
    hidden = lower * (uniform(0, 1, 1) < 0.05)
    kept = kept * (1 - hidden.float())
    enough = kept.sum(dim=1, keepdim=True) >= 6
    return torch.where(enough, kept, shown)
