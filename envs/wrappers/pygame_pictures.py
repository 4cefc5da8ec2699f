"""Small pictures of what an environment draws with pygame, without the large ones in between.

Most of the time of a 600 x 400 frame goes into reading it: `render()` ends with `np.array(pygame.surfarray.pixels3d(screen))`, which
takes a picture apart pixel by pixel (CartPole: 3.8 ms of 4.6), and it must then be shrunk. Here pygame shrinks the surface first, by
area averaging too, so that `render()` reads a small one.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from mprl.envs.wrappers.resizing import Picture

_ALIKE = 4.0  # levels of 255 that the two ways may differ on average: pygame's fixed-point weights lose up to 2


class PygamePictures:
    """`render()` with pygame's surfaces shrunk before they are read, where that is the same picture.

    The first frame is made both ways. An environment that does not draw with pygame, or in another manner, is left alone.

    Args:
        picture: what is made of a frame.
    """

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self._fits: bool | None = None

    def __call__(self, render: Callable[[], Any]) -> list[Any]:
        """Pictures of the frame, or the frames, that `render` gives."""
        if self._fits is None:
            whole = [self._picture(frame) for frame in frames(render())]
            small = self._shrunk(render) if "pygame" in sys.modules else None
            self._fits = self._same(whole, small)
            return small if small is not None and self._fits else whole  # as all that follow
        if self._fits:
            small = self._shrunk(render)
            if small is not None:
                return small
        return [self._picture(frame) for frame in frames(render())]

    def _shrunk(self, render: Callable[[], Any]) -> list[Any] | None:
        """Pictures drawn the short way, or None if what came is none."""
        pygame: Any = sys.modules["pygame"]  # the environment's
        original, thread = pygame.surfarray.pixels3d, threading.get_ident()

        def pixels3d(surface: Any) -> Any:
            if threading.get_ident() != thread:  # another's
                return original(surface)
            if self._picture.crop is not None:
                left, top, right, bottom = self._picture.crop
                surface = surface.subsurface((left, top, right - left, bottom - top))
            return original(pygame.transform.smoothscale(surface, (self._picture.width, self._picture.height)))

        pygame.surfarray.pixels3d = pixels3d
        try:
            small = frames(render())
        except (ValueError, IndexError, TypeError, pygame.error):  # it does more with its picture than to give it away
            return None
        finally:
            pygame.surfarray.pixels3d = original
        if any(frame.shape[:2] != self._picture.shape[:2] for frame in small):
            return None
        return [self._picture.coloured(np.ascontiguousarray(frame)) for frame in small]

    @staticmethod
    def _same(one: list[Any], other: list[Any] | None) -> bool:
        if other is None or len(one) != len(other):
            return False
        return all(float(np.abs(a.astype(np.int16) - b).mean()) <= _ALIKE for a, b in zip(one, other, strict=True))


def frames(rendered: Any) -> list[Any]:
    """What `render()` gave, as a list: a single environment gives one frame, a batch several."""
    return list(rendered) if isinstance(rendered, tuple | list) else [rendered]
