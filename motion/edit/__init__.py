"""Editing clips: each function takes a clip and gives a new one.

from mprl.motion import edit

clip = edit.smooth(edit.trim(clip, 1.0, 3.0), cutoff=6.0)
"""

from mprl.motion.edit.blending import blend, crossfade
from mprl.motion.edit.cycles import close_seam, find_cycle, loop
from mprl.motion.edit.mirroring import counterparts, mirror
from mprl.motion.edit.smoothing import smooth
from mprl.motion.edit.timing import resample, time_warp, trim
from mprl.motion.edit.turning import turn

__all__ = [
    "blend", "close_seam", "counterparts", "crossfade", "find_cycle", "loop", "mirror", "resample", "smooth", "time_warp", "trim", "turn",
]  # fmt: skip
