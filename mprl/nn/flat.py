"""All parameters of a network as one vector, so that an optimiser's step is one operation and not one for each tensor."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class FlatParameters:
    """Lays parameters one after the other into one vector; they and their gradients become views of it.

    Make it when the network has its device, and before its optimiser: `FlatAdam(flat.vector, lr=1e-3)`.

    Args:
        parameters: of one dtype and device; those that need no gradient are left out.

    Attributes:
        vector: what an optimiser steps, (n,); `vector.grad` is the gradient of all.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        self.vector = nn.Parameter(torch.cat([parameter.detach().flatten() for parameter in trained]))
        self.gradient = torch.zeros_like(self.vector)
        self.vector.grad = self.gradient
        at = 0
        for parameter in trained:
            part = slice(at, at + parameter.numel())
            parameter.data = self.vector.data[part].view_as(parameter)
            parameter.grad = self.gradient[part].view_as(parameter)
            at = part.stop

    def zero_gradient(self) -> None:
        """Before a backward pass, which adds to it."""
        self.gradient.zero_()

    def clip_gradient(self, max_norm: float) -> Tensor:
        """Scale the gradient down to a norm of at most `max_norm`; returns the norm that it had."""
        norm = self.gradient.norm()
        if norm.is_cuda:  # without waiting for it
            self.gradient.mul_((max_norm / (norm + 1e-6)).clamp_(max=1.0))
        elif norm > max_norm:
            self.gradient.mul_(max_norm / (norm + 1e-6))
        return norm


class FlatAdam(torch.optim.Adam):
    """Adam (Kingma & Ba 2015) of one vector. `descend` is `step` without what torch does around it, which takes 20 µs a step.

    Moments below 1e-30, which change no step, become 0: those of weights whose gradient has vanished (dead ReLU units) would come to
    1e-45 and stay there, and processors take twice the time for such numbers.
    """

    _SWEEP = 128  # steps between two looks for them; β₁ = .9 takes 175 from 1e-30 to where it gets slow

    def __init__(self, vector: nn.Parameter, lr: float, eps: float = 1e-8) -> None:
        super().__init__([vector], lr=lr, eps=eps, fused=True)

    @torch.no_grad()
    def descend(self) -> None:
        """One step."""
        group = self.param_groups[0]
        vector = group["params"][0]
        if vector.device.type != "cpu":
            self.step()
            return
        state = self.state[vector]
        if not state:
            state |= {"step": torch.zeros(()), "exp_avg": torch.zeros_like(vector.data), "exp_avg_sq": torch.zeros_like(vector.data)}
        first, second, count = state["exp_avg"], state["exp_avg_sq"], state["step"]
        count += 1
        beta1, beta2 = group["betas"]
        torch._fused_adam_(
            [vector], [vector.grad], [first], [second], [], [count],
            lr=group["lr"], beta1=beta1, beta2=beta2, weight_decay=0.0, eps=group["eps"], amsgrad=False, maximize=False,
        )  # fmt: skip
        if count % self._SWEEP == 0:
            for moment in (first, second):
                torch.hardshrink(moment, 1e-30, out=moment)


class FlatRMSprop(torch.optim.RMSprop):
    """RMSprop (Tieleman & Hinton 2012) of one vector. `descend` is `step` without what torch does around it."""

    def __init__(self, vector: nn.Parameter, lr: float, alpha: float = 0.99, eps: float = 1e-8) -> None:
        super().__init__([vector], lr=lr, alpha=alpha, eps=eps)

    @torch.no_grad()
    def descend(self) -> None:
        """One step."""
        group = self.param_groups[0]
        vector = group["params"][0]
        state = self.state[vector]
        if not state:
            state |= {"step": torch.zeros(()), "square_avg": torch.zeros_like(vector)}
        state["step"] += 1
        square = state["square_avg"]
        square.mul_(group["alpha"]).addcmul_(vector.grad, vector.grad, value=1 - group["alpha"])
        vector.addcdiv_(vector.grad, square.sqrt().add_(group["eps"]), value=-group["lr"])


class FlatSGD(torch.optim.SGD):
    """Plain gradient descent of one vector. `descend` is `step` without what torch does around it."""

    def __init__(self, vector: nn.Parameter, lr: float) -> None:
        super().__init__([vector], lr=lr)

    @torch.no_grad()
    def descend(self) -> None:
        """One step."""
        vector = self.param_groups[0]["params"][0]
        vector.add_(vector.grad, alpha=-self.param_groups[0]["lr"])
