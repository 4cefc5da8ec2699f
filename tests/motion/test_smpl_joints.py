"""Between SMPL's frame (y up, facing +z) and ours (z up, facing +x)."""

import math

import torch

from mprl.motion import rotations as rot
from mprl.motion.body import joints


def test_up_forward_and_left_are_what_they_are_called():
    up, forward, left = torch.tensor([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])
    assert joints.from_smpl(up).tolist() == [0, 0, 1]
    assert joints.from_smpl(forward).tolist() == [1, 0, 0]
    assert joints.from_smpl(left).tolist() == [0, 1, 0]


def test_to_smpl_undoes_from_smpl():
    vectors = torch.randn(5, 3)
    assert torch.equal(joints.to_smpl(joints.from_smpl(vectors)), vectors)


def test_a_bow_in_smpl_is_a_bow_here():
    bow = torch.tensor([0.5, 0.0, 0.0])  # about SMPL's x, which points left: the head goes forward
    head = rot.rotate(joints.pose_to_rotations(bow), torch.tensor([0.0, 0.0, 1.0]))
    assert torch.allclose(head, torch.tensor([math.sin(0.5), 0.0, math.cos(0.5)]), atol=1e-6)


def test_pose_round_trip():
    pose = torch.randn(7, 24, 3)
    pose = pose / pose.norm(dim=-1, keepdim=True) * torch.rand(7, 24, 1) * 3.1
    assert torch.allclose(joints.rotations_to_pose(joints.pose_to_rotations(pose)), pose, atol=1e-5)


def test_a_standing_body_of_amass_faces_minus_y_and_stands_here():
    # AMASS bodies that stand have root_orient about (π/2, 0, 0): y up becomes z up, and what faced +z faces -y.
    root = joints.root_of_z_up_world(torch.tensor([math.pi / 2, 0.0, 0.0]))
    assert torch.allclose(rot.rotate(root, torch.tensor([0.0, 0.0, 1.0])), torch.tensor([0.0, 0.0, 1.0]), atol=1e-6)
    assert torch.allclose(rot.rotate(root, torch.tensor([1.0, 0.0, 0.0])), torch.tensor([0.0, -1.0, 0.0]), atol=1e-6)


def test_root_of_a_z_up_world_round_trip():
    root = torch.tensor([[0.3, -1.1, 0.7], [1.57, 0.0, 0.2]])
    assert torch.allclose(joints.root_in_z_up_world(joints.root_of_z_up_world(root)), root, atol=1e-6)


def test_parents_come_before_their_children():
    assert len(joints.JOINTS) == len(joints.PARENTS) == 24
    assert all(parent < joint for joint, parent in enumerate(joints.PARENTS))
