"""How an environment is looked at, as plain settings: for command lines, and for files that must make the same observations again."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from mprl.envs.wrappers.cameras import cameras
from mprl.envs.wrappers.images import pixels
from mprl.errors import SettingError, number


@dataclass(frozen=True)
class Source:
    """Pictures in place of, or beside, an environment's own observations."""

    camera: str | None = None
    """Of a MuJoCo environment: its name, "tracking" or "head"; None: what the environment itself renders."""
    size: int = 64
    """Side of the square picture, pixels."""
    stack: int = 1
    """Frames in one observation, so that speeds can be seen."""
    grey: bool = False
    """One channel; of an environment's own pictures only."""
    crop: tuple[int, int, int, int] | None = None
    """Left, top, right and bottom of the part of an environment's own picture that is seen, pixels before it is shrunk."""
    state: bool = False
    """Keep the environment's own observation beside the picture: as "state", the picture as "image"."""

    def __post_init__(self) -> None:
        number("size", self.size, 1, whole=True)
        number("stack", self.stack, 1, whole=True)
        if (self.grey or self.crop) and self.camera is not None:
            raise SettingError("grey and crop are for an environment's own pictures, not for a camera; leave one of them out")

    def see(self, env: Any) -> Any:
        """The environment, single or vector, looked at like this; its own pictures need `render_mode="rgb_array"`."""
        if self.camera is not None:
            return cameras(env, self.camera, size=self.size, stack=self.stack, state=self.state)
        return pixels(env, self.size, stack=self.stack, grey=self.grey, crop=self.crop, state=self.state)

    @property
    def environment_settings(self) -> dict[str, Any]:
        """What the environment has to be made with."""
        return {"render_mode": "rgb_array"} if self.camera is None else {}

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: Any) -> Source:
        """From JSON.

        Raises:
            SettingError: there is something else in it.
        """
        if not isinstance(content, dict):
            raise SettingError(f"a source of pictures is a table of settings, found {content!r}")
        fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}
        try:
            return cls(**fields)
        except TypeError:
            raise SettingError(f"a source of pictures has the settings {', '.join(cls.__dataclass_fields__)}, found {content}") from None
