"""The sensors that an environment is asked for, by name, as further parts of its observation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from mprl.envs.imitation.height_scan import HeightScan
from mprl.envs.imitation.imu import Imu
from mprl.envs.imitation.keypoints import Keypoints2d, Keypoints3d
from mprl.envs.imitation.sensor import Sensor, Worlds, made
from mprl.errors import SettingError, unknown_name

SENSORS: dict[str, type[Any]] = {"imu": Imu, "keypoints_2d": Keypoints2d, "keypoints_3d": Keypoints3d, "height_scan": HeightScan}


def settings_of(sensors: Any) -> dict[str, Any]:
    """The settings of each sensor that the argument `sensors` asks for: names, or {name: settings}.

    Raises:
        SettingError, UnknownNameError: a sensor or a setting that cannot be.
    """
    if sensors is None:
        return {}
    if isinstance(sensors, str):
        sensors = (sensors,)
    if not isinstance(sensors, Mapping | Sequence):
        raise SettingError(f"sensors: expected names or a dictionary {{name: settings}}, found {str(sensors)[:60]!r}")
    wanted = dict(sensors) if isinstance(sensors, Mapping) else dict.fromkeys(sensors)
    for name in wanted:
        if name not in SENSORS:
            raise unknown_name("sensor", str(name), SENSORS, f"known: {', '.join(SENSORS)}")
    return {name: made(name, SENSORS[name].Settings, values) for name, values in wanted.items()}


class Sensors:
    """All sensors of all worlds.

    Args:
        settings: of each, from `settings_of`.
        worlds: what they look at.
        flat: whether observations are one vector, the readings after the state, instead of a dictionary.
    """

    def __init__(self, settings: Mapping[str, Any], worlds: Worlds, flat: bool = False) -> None:
        self._sensors: dict[str, Sensor] = {name: SENSORS[name](values, worlds) for name, values in settings.items()}
        self._flat = flat

    def space(self, state: gym.spaces.Box) -> gym.Space[Any]:
        """The space of one world's observations, with `state` that of the state alone."""
        if not self._sensors:
            return state
        if self._flat:
            length = state.shape[0] + sum(int(np.prod(sensor.shape)) for sensor in self._sensors.values())
            return gym.spaces.Box(-np.inf, np.inf, (length,), np.float32)
        parts = {name: gym.spaces.Box(-np.inf, np.inf, sensor.shape, np.float32) for name, sensor in self._sensors.items()}
        return gym.spaces.Dict({"state": state, **parts})

    def observe(self, state: Tensor, worlds: slice | Tensor) -> Any:
        """The observation of some worlds, from their state (W, n): that itself without sensors, else a dictionary or a longer vector."""
        readings = {name: sensor.read(worlds) for name, sensor in self._sensors.items()}
        if self._flat:
            return torch.cat((state, *(reading.flatten(1) for reading in readings.values())), dim=1)
        return {"state": state, **readings} if readings else state

    def reset(self, mask: Tensor, random: torch.Generator) -> None:
        """The masked worlds have begun an episode."""
        for sensor in self._sensors.values():
            sensor.reset(mask, random)

    def advance(self, random: torch.Generator) -> None:
        """All worlds have made a control step."""
        for sensor in self._sensors.values():
            sensor.advance(random)

    def state(self) -> dict[str, Tensor]:
        """What coming readings depend on; written to in place to continue from another state."""
        return {f"{name}_{key}": value for name, sensor in self._sensors.items() for key, value in sensor.state().items()}


def put(observation: Any, worlds: slice | Tensor, fresh: Any) -> Any:
    """A copy of observations in which those of some worlds are fresh ones."""
    if isinstance(observation, dict):
        return {name: put(value, worlds, fresh[name]) for name, value in observation.items()}
    copy = observation.clone()
    copy[worlds] = fresh
    return copy
