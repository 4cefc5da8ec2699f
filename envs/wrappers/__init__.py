"""Wrappers that show an environment to its agent through a camera: pixels, depth, segmentation, stacks of frames."""

from mprl.envs.wrappers.images import PixelObservation, PixelVectorObservation, pixels
from mprl.envs.wrappers.stacking import FrameStack, FrameStackVector

__all__ = ["FrameStack", "FrameStackVector", "PixelObservation", "PixelVectorObservation", "pixels"]
