"""Critics of poses and shapes, as in HMR (Kanazawa et al. 2018, 3.2): one for each joint, one for the whole pose, one for the shape.

They learn to tell true from found ones by least squares (Mao et al. 2017), and the network to be taken for true. Both learn in one step:
the critics from figures that are cut off the network, the network through critics that are held still.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mprl.motion.fitting.points import BODY_JOINTS

Judged = tuple[Tensor, Tensor]  # rotations (B, 21, 3, 3) relative to the parents, and betas (B, S)


class Critics(nn.Module):
    """Scores of figures, about 1 where they are taken for true, (B, 23)."""

    def __init__(self, betas: int, hidden: int = 32, whole: int = 128) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(9, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.joints = nn.Parameter(torch.randn(BODY_JOINTS, hidden) / hidden**0.5)
        self.biases = nn.Parameter(torch.zeros(BODY_JOINTS))
        self.whole = nn.Sequential(
            nn.Linear(BODY_JOINTS * hidden, whole), nn.ReLU(), nn.Linear(whole, whole), nn.ReLU(), nn.Linear(whole, 1)
        )
        self.shape = nn.Sequential(nn.Linear(betas, 10), nn.ReLU(), nn.Linear(10, 5), nn.ReLU(), nn.Linear(5, 1))

    def forward(self, rotations: Tensor, betas: Tensor) -> Tensor:
        known = self.embed((rotations - torch.eye(3)).flatten(2))
        each = (known * self.joints).sum(dim=-1) + self.biases
        return torch.cat((each, self.whole(known.flatten(1)), self.shape(betas)), dim=1)

    def losses(self, found: Judged, true: Judged) -> tuple[Tensor, Tensor]:
        """What the network makes small, which moves it alone, and what the critics do, which moves them alone."""
        still = {name: value.detach() for name, value in self.named_parameters()}
        fooled = (functional_call(self, still, found) - 1).square().mean()
        judged = self(*(one.detach() for one in found)).square().mean() + (self(*true) - 1).square().mean()
        return fooled, judged
