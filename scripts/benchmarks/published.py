"""What others report: about imitating single clips (and which bodies may touch the ground in each), and RL Zoo's returns."""

from __future__ import annotations

from mprl.motion import HUMANOID

# Peng et al. 2018, table 2 (arXiv 1804.02717): normalised return, and the samples it took, in millions.
PAPER = {
    "walk": (0.985, 61), "run": (0.951, 53), "jog": (0.951, 51), "jump": (0.947, 86), "backflip": (0.729, 72), "sideflip": (0.805, 64),
    "cartwheel": (0.804, 51), "spinkick": (0.748, 67), "roll": (0.735, 81), "spin": (0.664, 191), "kick": (0.854, 50),
    "punch": (0.812, 60), "crawl": (0.932, 68), "dance_a": (0.863, 67), "dance_b": (0.822, 79), "getup_facedown": (0.885, 49),
    "getup_faceup": (0.838, 66),
}  # fmt: skip
# Peng et al. 2021 (AMP, arXiv 2104.02180): the pose error of the same tracking method, relative to the root, mm. Quoted from memory.
AMP_TRACKING_ERROR_MM = {
    "walk": 18.0, "run": 28.0, "jog": 29.0, "jump": 33.0, "cartwheel": 39.0, "kick": 42.0, "spinkick": 42.0, "crawl": 44.0, "spin": 63.0,
    "roll": 72.0, "backflip": 76.0, "sideflip": 191.0,
}  # fmt: skip

# rl-zoo3's benchmark.md: return of single runs, deterministic, and the budget in steps. Hopper and HalfCheetah are v3 there.
RL_ZOO = {
    ("CartPole-v1", "dqn"): (500.0, 50_000), ("CartPole-v1", "a2c"): (500.0, 500_000), ("CartPole-v1", "ppo"): (500.0, 100_000),
    ("Acrobot-v1", "dqn"): (-76.6, 100_000), ("Acrobot-v1", "a2c"): (-83.4, 500_000), ("Acrobot-v1", "ppo"): (-73.5, 1_000_000),
    ("LunarLander-v3", "dqn"): (154.0, 100_000), ("LunarLander-v3", "a2c"): (156.0, 200_000), ("LunarLander-v3", "ppo"): (242.0, 1_000_000),
    ("LunarLander-v3 continuous", "sac"): (260.0, 500_000), ("MountainCar-v0", "dqn"): (-100.8, 120_000),
    ("MountainCar-v0", "a2c"): (-111.3, 1_000_000), ("MountainCar-v0", "ppo"): (-110.4, 1_000_000),
    ("Pendulum-v1", "a2c"): (-163.0, 1_000_000), ("Pendulum-v1", "ppo"): (-172.0, 100_000), ("Pendulum-v1", "sac"): (-157.0, 20_000),
    ("Hopper-v5", "ppo"): (2410.0, 1_000_000), ("HalfCheetah-v5", "ppo"): (5819.0, 1_000_000),
    ("Hopper-v5", "a2c"): (733.0, 1_000_000), ("HalfCheetah-v5", "a2c"): (3041.0, 1_000_000),
    ("Hopper-v5", "sac"): (2326.0, 1_000_000), ("HalfCheetah-v5", "sac"): (9535.0, 1_000_000),
}  # fmt: skip

_ALL = tuple(HUMANOID.body_names)
_TORSO = ("root", "chest", "neck")
# Bodies that may touch the ground, in the release's own settings; in every other clip the feet alone may.
_CONTACT_BODIES = {
    "cartwheel": (*HUMANOID.feet, *HUMANOID.hands),
    "crawl": tuple(name for name in _ALL if name not in _TORSO),
    "roll": _ALL,
    "getup_facedown": _ALL,
    "getup_faceup": _ALL,
    "getup_front": _ALL,  # our own, and these
    "getup_back": _ALL,
}


def contact_bodies(clip: str) -> tuple[str, ...]:
    """Bodies that may touch the ground while a clip is imitated, as in the release of Peng et al. 2018."""
    return _CONTACT_BODIES.get(clip, HUMANOID.feet)
