"""From six inertial sensors, or some of them, to the motion of the SMPL body.

from mprl.motion.fitting.imu import fit, read, simulate
"""

from mprl.motion.fitting.imu.fitter import Fitted, fit
from mprl.motion.fitting.imu.formats import read, write
from mprl.motion.fitting.imu.readings import Readings
from mprl.motion.fitting.imu.sensors import NAMES
from mprl.motion.fitting.imu.simulation import LEVELS, Faults, simulate

__all__ = ["LEVELS", "NAMES", "Faults", "Fitted", "Readings", "fit", "read", "simulate", "write"]
