"""Self-distillation without labels (DINO: Caron et al. 2021, arXiv 2104.14294).

A student that sees parts of a picture is to say the same of it as a teacher that sees it whole, or nearly so. The teacher is the student's
moving average. Two things keep both from saying the same of everything: the teacher's outputs are centred, so that no answer wins
everywhere, and sharpened by a low temperature, so that not all answers are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mprl.errors import SettingError
from mprl.perception import models
from mprl.perception.encoders.vit import ViT
from mprl.perception.network import Batch, Metrics, Network
from mprl.perception.selfsupervised.attention import attention_picture
from mprl.perception.selfsupervised.augmentation import random_crop, random_light, random_shift
from mprl.perception.selfsupervised.contrastive import follow


def targets(logits: Tensor, centre: Tensor, temperature: float) -> Tensor:
    """The teacher's answer: softmax((logits − centre) / temperature)."""
    return ((logits - centre) / temperature).softmax(-1)


def cross_entropy(answers: Tensor, logits: Tensor, temperature: float) -> Tensor:
    """Of the student's softmax(logits / temperature) under the teacher's answers, nats; mean over the batch."""
    return -(answers * (logits / temperature).log_softmax(-1)).sum(-1).mean()


def entropy(answers: Tensor) -> Tensor:
    """Of distributions (..., K), nats."""
    return torch.special.entr(answers).sum(-1)


class Head(nn.Module):
    """A perceptron, a unit vector, its cosines with K unit prototypes."""

    def __init__(self, features: int, hidden: int, bottleneck: int, prototypes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(features, hidden), nn.GELU(), nn.Linear(hidden, bottleneck))
        self.prototypes = nn.Parameter(torch.randn(prototypes, bottleneck))

    def forward(self, features: Tensor) -> Tensor:
        return functional.normalize(self.layers(features), dim=-1) @ functional.normalize(self.prototypes, dim=-1).T


class DINO(Network):
    """A student, its teacher, and views of pictures; features are the teacher's, which are the better ones throughout learning.

    Args:
        shape: of a picture.
        features: of the encoder.
        encoder: its name (`models.NAMES`).
        prototypes: how many answers there are.
        local: views of smaller parts, besides two of nearly the whole.
        local_side: least side of a local part over the whole's; they go up to the least of the two others, `global_side`.
        global_side: least side of the two large parts.
        student_temperature, teacher_temperature: the latter lower.
        momentum: share of its weights that the teacher keeps in an update.
        centre_momentum: share of the centre that is kept; 1: no centring.
        settings: further ones of the encoder.

    Raises:
        SettingError: a setting that cannot be.
    """

    centre: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        features: int,
        encoder: str = "vit",
        prototypes: int = 256,
        local: int = 2,
        local_side: float = 0.5,
        global_side: float = 0.8,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        momentum: float = 0.99,
        centre_momentum: float = 0.9,
        **settings: Any,
    ) -> None:
        super().__init__(shape, features)
        if not 0 < local_side <= global_side <= 1:
            raise SettingError(f"expected 0 < local_side <= global_side <= 1, found {local_side:g} and {global_side:g}")
        if not (student_temperature > 0 and teacher_temperature > 0):
            raise SettingError(f"temperatures must be positive, found {student_temperature:g} and {teacher_temperature:g}")
        if not (0 <= momentum < 1 and 0 <= centre_momentum <= 1 and prototypes >= 2 and local >= 0):
            raise SettingError("expected momentum in [0, 1), centre_momentum in [0, 1], at least 2 prototypes and 0 local views")
        self.local, self.local_side, self.global_side = local, local_side, global_side
        self.student_temperature, self.teacher_temperature = student_temperature, teacher_temperature
        self.momentum, self.centre_momentum = momentum, centre_momentum
        self.student = nn.Sequential(models.build(encoder, shape, features, **settings), Head(features, 128, 64, prototypes))
        self.teacher = deepcopy(self.student).requires_grad_(False)
        self.register_buffer("centre", torch.zeros(prototypes))

    def forward(self, images: Tensor) -> Tensor:
        return self.teacher[0](images)

    def views(self, images: Tensor, generator: torch.Generator | None = None) -> list[Tensor]:
        """Two of nearly the whole, then the local ones; all of the pictures' size, shifted and lit at random."""
        sides = [(self.global_side, 1.0)] * 2 + [(self.local_side, self.global_side)] * self.local
        found = [random_crop(images, least, most, generator) for least, most in sides]
        return [random_light(random_shift(view, 2, generator), 0.2, generator) for view in found]

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Metrics]:
        """Cross-entropy of each view by the student under each other, large view by the teacher.

        Args:
            batch: "input" (B, *shape).
            generator: of the views.

        Returns:
            The loss; "entropy" of an answer (log K: the student can learn nothing) and "marginal_entropy" of all answers' mean (0: the same
            is said of everything), nats.
        """
        views = self.views(batch["input"], generator)
        said = self.student(torch.cat(views)).chunk(len(views))
        with torch.no_grad():
            logits = self.teacher(torch.cat(views[:2]))
            answers = targets(logits, self.centre, self.teacher_temperature)
            if self.training:
                self.centre.lerp_(logits.mean(0), 1 - self.centre_momentum)
        pairs = [(answer, view) for at, answer in enumerate(answers.chunk(2)) for other, view in enumerate(said) if other != at]
        loss = torch.stack([cross_entropy(answer, view, self.student_temperature) for answer, view in pairs]).mean()
        return loss, {"entropy": entropy(answers).mean(), "marginal_entropy": entropy(answers.mean(0))}

    def after_step(self) -> None:
        """Let the teacher follow."""
        follow(self.teacher, self.student, self.momentum)

    @torch.no_grad()
    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Where the teacher's class token looks, if it has one."""
        return {"attention": attention_picture(self.teacher[0], batch["input"])} if isinstance(self.teacher[0], ViT) else {}
