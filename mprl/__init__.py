"""mprl: from perception to a physically simulated character, in Gymnasium style.

Importing it registers the environments (`gymnasium.make("mprl/DeepMimic-v0", motion="walk")`). The parts are imported by their
full names: `mprl.simulation`, `mprl.motion`, `mprl.envs`, `mprl.agents`.
"""

import os
from pathlib import Path

import gymnasium

# Torch's threads otherwise spin while they wait, and take the cores from MuJoCo's: with another process on two cores, learning
# fell from 7 400 to 570 samples/s. It counts only where mprl is imported before torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"

# In a checkout the subpackages lie beside this folder, not in it. The tree then always means the tree.
_root = Path(__file__).resolve().parent.parent
if (_root / "pyproject.toml").is_file() and (_root / "motion").is_dir():
    __path__.append(str(_root))

# By string, so that the core imports nothing of the others.
for _name, _module in (("DeepMimic", "deepmimic"), ("DeepMimicHeading", "heading"), ("DeepMimicStrike", "strike")):
    gymnasium.register(
        id=f"mprl/{_name}-v0",
        entry_point=f"mprl.envs.imitation.{_module}:{_name}Env",
        vector_entry_point=f"mprl.envs.imitation.{_module}:{_name}VectorEnv",
    )

# The environments of Sutton & Barto's book. Steps until truncation where nothing else is sure to end an episode of any policy.
for _name, _module, _steps in (
    ("Blackjack", "blackjack", 100),
    ("Cliff", "cliff", 10_000),
    ("DynaMaze", "dyna_maze", 10_000),
    ("Gambler", "gambler", 10_000),
    ("Gridworld", "gridworld", 1_000),
    ("GridworldAB", "gridworld_ab", 1_000),
    ("JacksCarRental", "jacks_car_rental", 1_000),
    ("MaximizationBias", "maximization_bias", 10),
    ("RandomWalk", "random_walk", 10_000),
    ("ShortCorridor", "short_corridor", 1_000),
    ("WindyGridworld", "windy_gridworld", 10_000),
):
    gymnasium.register(
        id=f"mprl/{_name}-v0",
        entry_point=f"mprl.envs.tabular.{_module}:{_name}Env",
        vector_entry_point=f"mprl.envs.tabular.{_module}:{_name}VectorEnv",
        max_episode_steps=_steps,
    )
