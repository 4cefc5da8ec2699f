"""The state as cameras tell it: near the truth where keypoints are exact, and pictures show what is simulated."""

from __future__ import annotations

import mujoco
import pytest
import torch
from torch import Tensor

from mprl.envs.imitation.layout import State
from mprl.envs.imitation.perceived import PerceivedVectorEnv
from mprl.envs.imitation.rendered_detector import LAYOUT, RenderedDetector
from mprl.envs.imitation.seen import PARTS, NoisyDetector, Seen, Shown, on_rails
from mprl.errors import SettingError, UnknownNameError
from mprl.motion import HUMANOID, SmplCharacter
from mprl.motion import rotations as rot
from mprl.motion.fitting.imu import pose as bones
from mprl.motion.fitting.online import Estimate
from mprl.perception.plug import Perception
from mprl.perception.pose2d import samples
from mprl.perception.pose2d.network import PoseNetwork

SETTINGS = {"num_envs": 2, "output": "torch", "num_threads": 1, "character": "smpl"}


def walked(make, steps=6):
    """What was true and what was perceived in some steps of the walk."""
    found, env = [], PerceivedVectorEnv(perceive=[], **SETTINGS)
    seen = make(env.character)
    env._perceive = (lambda state, envs: found.append((state, seen(state, envs))) or state,)
    env.reset(seed=0, options={"phase": 0.3})
    for _ in range(steps):
        env.step(torch.zeros(env.num_envs, env.model.nu))
    return found, seen


def test_exact_keypoints_of_two_cameras_tell_the_state():
    found, _ = walked(lambda character: Seen(character, detect=NoisyDetector(0.0, 0.0), deviation=0.5))
    assert found[0][0] is found[0][1]  # an episode begins with what is known
    true, seen = found[-1]
    assert float(rot.angle(true.rotations[:, 0], seen.rotations[:, 0]).max()) < 0.06
    assert float(rot.angle(true.rotations, seen.rotations).mean()) < 0.08
    assert float((true.root_position - seen.root_position).norm(dim=-1).max()) < 0.015
    assert float((true.velocity - seen.velocity)[:, :3].norm(dim=-1).max()) < 0.4
    assert float((true.bodies - seen.bodies).norm(dim=-1).mean()) < 0.02
    # angular velocities are told along the same axes: near to the true ones, not to others of the same size
    turning = true.velocity[:, 3:]
    assert float((seen.velocity[:, 3:] - turning).norm() / turning.norm()) < 0.7


def test_rates_are_those_at_which_mujoco_transition():
    env = PerceivedVectorEnv(perceive=[], **SETTINGS)
    env.reset(seed=0, options={"phase": 0.3})
    seen, state, step = Seen(env.character), State(*(value.double() for value in env._now)), 1e-4

    def known(rotations: Tensor) -> Estimate:
        whole = torch.zeros(len(rotations), 24, 4, dtype=torch.float64)
        whole[..., 0] = 1.0
        whole[:, seen._joints] = rotations
        return seen._known(state._replace(rotations=rotations), rot.to_rotation_vector(whole))

    ahead = []
    for world in range(env.num_envs):
        qpos = env._qpos[world].double().numpy().copy()
        mujoco.mj_integratePos(env.model, qpos, env._qvel[world].double().numpy(), step)
        ahead.append(torch.from_numpy(qpos[env.character.ball_qpos]))
    before, after = known(state.rotations), known(torch.stack(ahead))
    spin, rates = bones.vectors(after.root @ before.root.transpose(1, 2)) / step, (after.pose - before.pose).flatten(1) / step
    torch.testing.assert_close(before.rates[:, :-3], torch.cat((spin, rates), dim=1), atol=1e-2, rtol=0)
    back = seen._chosen(env._now, Estimate(*(value.float() for value in before))).velocity
    hands = [name.endswith("hand") for name in env.character.ball_joints]  # which are not followed
    told = torch.cat((torch.ones(6, dtype=torch.bool), ~torch.tensor(hands).repeat_interleave(3)))
    torch.testing.assert_close(back[:, told], env._now.velocity[:, told], atol=1e-4, rtol=0)


@pytest.mark.parametrize("part", PARTS)
def test_the_rest_is_the_truth(part):
    found, _ = walked(lambda character: Seen(character, tells=(part,)), steps=2)
    true, seen = found[-1]
    same = {
        "root": torch.equal(true.rotations[:, 0], seen.rotations[:, 0]), "pose": torch.equal(true.rotations[:, 1:], seen.rotations[:, 1:]),
        "place": torch.equal(true.root_position, seen.root_position), "speed": torch.equal(true.velocity[:, :3], seen.velocity[:, :3]),
        "rates": torch.equal(true.velocity[:, 3:], seen.velocity[:, 3:]),
    }  # fmt: skip
    assert same == {name: name != part for name in PARTS}


class Sure(PoseNetwork):
    """Finds all keypoints in the middle of what it looks at, which it remembers."""

    def __init__(self) -> None:
        super().__init__((3, 48, 48), 17 * 3)

    def estimate(self, images: Tensor) -> Tensor:
        return torch.tensor([24.0, 24.0, 1.0]).expand(len(images), 17, 3)


def test_pictures_show_what_is_simulated():
    size, shown = (160, 120), []
    cameras = on_rails(2, size)

    def make(character):
        betas = torch.tensor(character.betas, dtype=torch.float32)
        filmed = RenderedDetector(Perception(Sure(), samples.spec(48, 48)), cameras, size, betas)

        def detect(true: Tensor, now: Shown) -> tuple[Tensor, Tensor]:
            found = filmed(true, now)
            shown.append((true, filmed.pictures, found))
            return found

        return Seen(character, detect=detect, layout=LAYOUT, image_size=size)

    walked(make, steps=1)
    for true, pictures, (found, sure) in shown:
        drawn = torch.tensor([[picture.keypoints[0].tolist() for picture in row] for row in pictures])
        assert (drawn - true).norm(dim=-1).max() < 0.5
        assert all((picture.visible[0] > 0).all() and (picture.part > 0).mean() > 0.02 for row in pictures for picture in row)
        assert found.shape == true.shape and (sure >= 0).all() and (sure <= 1).all()
    first, second = (pictures[0][0].image for _, pictures, _ in shown)
    assert (first[0] == second[0]).all() and (first != second).any()  # the same background, another pose


def test_mistakes_are_one_line():
    with pytest.raises(SettingError, match="keypoints tell the pose of the SMPL body, not of 'humanoid'"):
        Seen(HUMANOID)
    with pytest.raises(UnknownNameError, match="no part named 'poes'; did you mean 'pose'"):
        Seen(SmplCharacter(), tells=("poes",))
    with pytest.raises(SettingError, match="cameras must be"):
        Seen(SmplCharacter(), views=0)
    with pytest.raises(SettingError, match="deviation in px must be at least"):
        Seen(SmplCharacter(), deviation=0.0)
    with pytest.raises(SettingError, match="noise in px"):
        NoisyDetector(noise=-1.0)
    with pytest.raises(SettingError, match="at most 1, found"):
        NoisyDetector(dropped=1.5)
