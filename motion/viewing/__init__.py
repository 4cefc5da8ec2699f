"""Clips in the browser: a page in one file (`page.py`), or live (`live.py`). What is drawn is in `scene.py`."""

from mprl.motion.viewing.live import LiveView
from mprl.motion.viewing.page import write
from mprl.motion.viewing.scene import Actor, Mesh, Scene, scene_of

__all__ = ["Actor", "LiveView", "Mesh", "Scene", "scene_of", "write"]
