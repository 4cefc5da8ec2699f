"""From keypoints to a body, step by step.

regressor: each step proposes a change from the keypoints and the row so far (iterative error feedback, as HMR: Kanazawa et al. 2018).
learned descent: each step sees the gradient of the reprojection error too (Song, Chen & Hilliges 2020): it knows what does not fit yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from mprl.motion.fitting.regression.figures import Figures, reprojection
from mprl.motion.fitting.regression.views import INPUTS, SIZE
from mprl.nn import precision
from mprl.perception.network import Network

_JOINTS, _REPROJECTION, _SHAPE, _CAMERA = 10.0, 0.5, 0.02, 0.5
# what ships
KINDS: dict[str, dict[str, Any]] = {"regressor": {"steps": 3}, "learned-descent": {"gradient": True, "steps": 4}}
_MOST = 1e-3  # gradients are told as sign(g) log(1 + |g| / _MOST): they span decades


class Steps(Network):
    """See the module.

    Args:
        shape: (`INPUTS`,).
        features: numbers of a row.
        gradient: whether steps see the gradient.
        steps: how many.
        shared: the same weights in each.
        hidden: numbers of each layer.
    """

    def __init__(
        self, shape: Sequence[int] = (INPUTS,), features: int = 145, gradient: bool = False, steps: int = 3, shared: bool = True,
        hidden: int = 216,
    ) -> None:  # fmt: skip
        super().__init__(shape, features)
        self.figures = Figures()
        self.steps, self.gradient = steps, gradient
        self.evidence = nn.Sequential(
            nn.Linear(self.shape[0], hidden), nn.LayerNorm(hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.LayerNorm(hidden), nn.ReLU()
        )
        self.proposals = nn.ModuleList(
            nn.Sequential(
                nn.Linear(hidden + features * (2 if gradient else 1), hidden), nn.LayerNorm(hidden), nn.ReLU(),
                nn.Linear(hidden, hidden), nn.LayerNorm(hidden), nn.ReLU(), nn.Linear(hidden, features),
            )
            for _ in range(1 if shared else steps)
        )  # fmt: skip
        self.first = nn.Parameter(self.figures.rest())

    def forward(self, inputs: Tensor) -> Tensor:
        """Rows (B, features) after the last step, of `views.View.inputs`."""
        return self.trace(inputs)[-1]

    def trace(self, inputs: Tensor) -> list[Tensor]:
        """The rows after each step."""
        fast = self.training and precision.uses_bfloat16("auto", inputs.device)
        known = precision.forward(self.evidence, inputs, fast)
        row, rows = self.first.expand(len(inputs), -1), []
        for step in range(self.steps):
            told = [known, row]
            if self.gradient:
                told.append(self.gradient_of(row, inputs))
            proposal = cast(nn.Sequential, self.proposals[min(step, len(self.proposals) - 1)])
            row = row + precision.forward(proposal, torch.cat(told, dim=1), fast)
            rows.append(row)
        return rows

    def gradient_of(self, row: Tensor, inputs: Tensor) -> Tensor:
        """Of each row's reprojection error, (B, features), as it is told; itself not differentiated."""
        with torch.enable_grad():
            row = row.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.misfit(row, inputs).sum(), row)
        return gradient.sign() * (gradient.abs() / _MOST).log1p()

    def misfit(self, row: Tensor, inputs: Tensor) -> Tensor:
        """Reprojection error of rows, (B,)."""
        told = inputs[:, :-1].unflatten(1, (-1, 3))
        confidence, size = told[..., 2], _size(inputs)
        seen = told[..., :2] / confidence.clamp(min=1e-6).unsqueeze(-1)
        figure = self.figures.figure(row)
        points = self.figures.body(figure)[1]
        return reprojection(self.figures.seen(points, figure.place(size), size), seen, confidence)

    def loss(self, batch: dict[str, Tensor], generator: torch.Generator | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Rotations, joints, camera, shape and reprojection after every step."""
        rows = self.trace(batch["input"])
        total = torch.zeros(())
        for row in rows:
            figure = self.figures.figure(row)
            joints, points = self.figures.body(figure)
            apart = (joints - batch["joints"]).norm(dim=-1).mean()
            turned = (figure.bones - batch["bones"]).square().sum((-1, -2)).mean()
            seen = self.figures.seen(points, figure.place(batch["size"]), batch["size"])
            error = reprojection(seen, batch["seen"], batch["confidence"]).clamp(max=1.0).mean()
            camera = (figure.camera - batch["camera"]).abs().mean()
            shape = (figure.betas - batch["betas"]).square().mean()
            total = total + _JOINTS * apart + turned + _REPROJECTION * error + _CAMERA * camera + _SHAPE * shape
        total = total / len(rows)
        metrics = {"millimetres": 1e3 * apart, "reprojection": error, "camera": camera}
        return total, {name: value.detach() for name, value in metrics.items()}


def _size(inputs: Tensor) -> Tensor:
    return SIZE * inputs[:, -1].exp()
