"""Wrappers that change what an agent sees of an environment: pictures, depth and segmentation of a camera; less than all; the past."""

from mprl.envs.wrappers.cameras import CameraObservation, CameraVectorObservation, cameras
from mprl.envs.wrappers.delays import Delayed, DelayedVector, delay
from mprl.envs.wrappers.histories import History, HistoryVector, history
from mprl.envs.wrappers.images import PixelObservation, PixelVectorObservation, pixels
from mprl.envs.wrappers.partial import Hidden, HiddenVector, hide
from mprl.envs.wrappers.randomisation import Randomisation
from mprl.envs.wrappers.sources import Source
from mprl.envs.wrappers.stacking import FrameStack, FrameStackVector

__all__ = [
    "CameraObservation",
    "CameraVectorObservation",
    "Delayed",
    "DelayedVector",
    "FrameStack",
    "FrameStackVector",
    "Hidden",
    "HiddenVector",
    "History",
    "HistoryVector",
    "PixelObservation",
    "PixelVectorObservation",
    "Randomisation",
    "Source",
    "cameras",
    "delay",
    "hide",
    "history",
    "pixels",
]
