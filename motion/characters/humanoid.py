"""The DeepMimic humanoid (Peng et al. 2018): 15 bodies, 45 kg, 8 ball joints and 4 hinges, 28 actuated degrees of freedom."""

from pathlib import Path

from mprl.motion.characters.character import Character

HUMANOID = Character(
    name="humanoid",
    xml=Path(__file__).with_name("humanoid.xml"),
    feet=("right_ankle", "left_ankle"),
    hands=("right_wrist", "left_wrist"),
    head="neck",
    # DiffWeight of the authors' release; the fixed wrists weigh nothing
    joint_weights={
        "root": 1.0,
        "chest": 0.5,
        "neck": 0.3,
        "right_hip": 0.5,
        "right_knee": 0.3,
        "right_ankle": 0.2,
        "right_shoulder": 0.3,
        "right_elbow": 0.2,
        "left_hip": 0.5,
        "left_knee": 0.3,
        "left_ankle": 0.2,
        "left_shoulder": 0.3,
        "left_elbow": 0.2,
    },
)
