"""From a sketch to a clip: made roughly consistent and then strictly, at 30 frames a second and again at 60."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mprl.motion.characters.humanoid import HUMANOID
from mprl.motion.clip import MotionClip
from mprl.motion.clips.keyposes import to_clip
from mprl.motion.clips.optimize import optimize, refined
from mprl.motion.clips.sketch import Sketch
from mprl.motion.clips.supports import feet_bear, schedule
from mprl.motion.contacts import body_clearance

COARSE, FINE = 30.0, 60.0  # Hz
# Weights of mechanics and contacts: lenient first, so that the motion stays near its sketch on the way.
LENIENT = {"force": 40.0, "moment": 15.0, "slide": 0.003, "sink": 0.01}
STRICT = {"force": 2.0, "moment": 0.75, "sink": 0.0007}


def construct(name: str, draw: Callable[[float], Sketch], verbose: bool = False) -> MotionClip:
    """The clip of a sketch, 60 Hz; the same on every call.

    Args:
        draw: makes the sketch at a frame rate.
        verbose: print how the optimisation goes.
    """
    sketch = draw(COARSE)
    qpos = optimize(_weighted(sketch, LENIENT), iterations=15, verbose=verbose)
    qpos = refined(sketch, optimize(sketch, qpos, verbose=verbose))
    sketch = draw(FINE)
    qpos = optimize(_weighted(sketch, LENIENT), qpos, iterations=10, verbose=verbose)
    qpos = optimize(_weighted(sketch, STRICT), qpos, iterations=30, verbose=verbose)
    qpos[:, 2] += max(0.0, -float(body_clearance(HUMANOID, qpos).min()))  # a fraction of a millimetre
    bears = schedule(sketch.contacts, np.arange(len(qpos)) / FINE)
    return to_clip(name, qpos, FINE, feet_bear(bears), sketch.loop)


def _weighted(sketch: Sketch, weights: dict[str, float]) -> Sketch:
    return replace(sketch, weights=replace(sketch.weights, **weights))
