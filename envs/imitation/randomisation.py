"""Physics that differs from world to world: factors drawn from ranges, so that a policy cannot rely on exact numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mprl.envs.imitation.layout import SPEED_RANGE
from mprl.errors import SettingError, named
from mprl.simulation.interface import Simulation

# what can be randomised, with ranges that suit people
RANGES = {"mass": (0.8, 1.2), "friction": (0.5, 1.25), "gain": (0.8, 1.2), "strength": (0.8, 1.2)}
_FIELDS = {
    "mass": ("body_mass", "body_inertia"),
    "friction": ("geom_friction",),
    "gain": ("actuator_gainprm", "actuator_biasprm", "dof_damping"),
    "strength": (),
}
_LARGEST = 10.0


def ranges_of(randomize: Any) -> dict[str, tuple[float, float]]:
    """The ranges that the argument `randomize` asks for: True for all of `RANGES`, or {name: (low, high)}.

    Raises:
        SettingError, UnknownNameError: a name or a range that cannot be.
    """
    if randomize is None or randomize is False:
        return {}
    if randomize is True:
        return dict(RANGES)
    found = {}
    for name, bounds in named("randomize", randomize, RANGES, "randomised quantity", "{'mass': (0.8, 1.2)}").items():
        try:
            low, high = (float(bound) for bound in bounds)
        except (TypeError, ValueError):
            low = high = math.nan
        if not 0 < low <= high <= _LARGEST:
            raise SettingError(f"randomize: {name} must be two rising factors above 0, such as {RANGES[name]}, found {str(bounds)[:60]}")
        found[name] = (low, high)
    return found


class Randomisation:
    """Factors of every world, and the model's numbers multiplied by them.

    Args:
        simulation: whose numbers; what they are now is a factor of 1.
        ranges: (low, high) of each quantity; factors are uniform.

    Attributes:
        factors: (W, 4) in the order of `RANGES`: mass (of all bodies), friction, gain (kp and kd), strength (the torque limit).
    """

    def __init__(self, simulation: Simulation, ranges: Mapping[str, tuple[float, float]]) -> None:
        self._simulation, self._names = simulation, tuple(ranges)
        self.factors = torch.ones(simulation.num_worlds, len(RANGES), device=simulation.device)
        low, high = zip(*(ranges.get(name, (1.0, 1.0)) for name in RANGES), strict=True)
        self._low, self._high = (torch.tensor(bound, device=simulation.device) for bound in (low, high))
        self._nominal = {field: simulation.expand(field).clone() for name in self._names for field in _FIELDS[name]}
        model = simulation.model
        if {"gain", "strength"} & set(ranges):
            self._force = simulation.expand("actuator_forcerange").clone()
            dofs = torch.as_tensor(model.jnt_dofadr[model.actuator_trnid[:, 0]], dtype=torch.long, device=simulation.device)
            spent = SPEED_RANGE * simulation.expand("dof_damping")[:, dofs]
            self._spent = spent.unsqueeze(-1) * torch.tensor([-1.0, 1.0], device=simulation.device)

    def draw(self, random: torch.Generator) -> None:
        """New factors for all worlds."""
        uniform = torch.rand(self.factors.shape, generator=random, device=self.factors.device)
        self.set(torch.lerp(self._low.expand_as(uniform), self._high.expand_as(uniform), uniform))

    def set(self, factors: Tensor) -> None:
        """These factors, (W, 4)."""
        self.factors.copy_(factors)
        factor = dict(zip(RANGES, self.factors.unbind(1), strict=True))
        for name in self._names:
            for field in _FIELDS[name]:
                values, nominal = self._simulation.expand(field), self._nominal[field]
                values.copy_(nominal * factor[name].to(nominal.dtype).view(-1, *[1] * (nominal.ndim - 1)))
        if {"gain", "strength"} & set(self._names):
            gain, strength = (factor[name].to(self._force.dtype).view(-1, 1, 1) for name in ("gain", "strength"))
            # what damping takes comes on top of the muscles' limit
            self._simulation.expand("actuator_forcerange").copy_((self._force - self._spent) * strength + self._spent * gain)
        self._simulation.set_constants()

    @property
    def reach(self) -> Tensor:
        """By what factor targets may lie further from the joint before the torque limit is met, (W, 1)."""
        factor = dict(zip(RANGES, self.factors.unbind(1), strict=True))
        return (factor["strength"] / factor["gain"]).unsqueeze(1)
