"""Clips in the browser: a page in one file (`page.py`), or live (`live.py`, on a `stage.py`). What is drawn is in `scene.py`."""

from mprl.motion.viewing.live import LiveView
from mprl.motion.viewing.meshes import Mesh
from mprl.motion.viewing.page import write
from mprl.motion.viewing.puppet import Puppet, puppet_of
from mprl.motion.viewing.scene import Actor, Curve, Scene, scene_of

__all__ = ["Actor", "Curve", "LiveView", "Mesh", "Puppet", "Scene", "puppet_of", "scene_of", "write"]
