"""Wrappers that show an environment to its agent through a camera: pixels, depth, segmentation, stacks of frames."""

from mprl.envs.wrappers.cameras import CameraObservation, CameraVectorObservation, cameras
from mprl.envs.wrappers.images import PixelObservation, PixelVectorObservation, pixels
from mprl.envs.wrappers.randomisation import Randomisation
from mprl.envs.wrappers.sources import Source
from mprl.envs.wrappers.stacking import FrameStack, FrameStackVector

__all__ = [
    "CameraObservation",
    "CameraVectorObservation",
    "FrameStack",
    "FrameStackVector",
    "PixelObservation",
    "PixelVectorObservation",
    "Randomisation",
    "Source",
    "cameras",
    "pixels",
]
