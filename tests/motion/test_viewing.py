"""Clips in the browser: what is drawn is where forward kinematics says; the page holds it, small and without a network."""

from __future__ import annotations

import base64
import gzip
import json
import re
import socket
import struct
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from mprl.errors import MissingPackageError, MotionFormatError, SettingError
from mprl.motion import HUMANOID, MotionClip, SmplBody, SmplCharacter, load, load_character
from mprl.motion.body.joints import JOINTS, from_smpl, rotations_to_pose
from mprl.motion.clip import Skeleton
from mprl.motion.kinematics import forward_kinematics
from mprl.motion.viewing import LiveView, page, scene_of, shapes


def wandering(skeleton: Skeleton, seconds: float, frame_rate: float = 60.0, name: str = "wandering", **others) -> MotionClip:
    """Joints that swing about all axes, and a root that walks."""
    times = np.arange(round(seconds * frame_rate) + 1) / frame_rate
    joints = len(skeleton.names)
    phase = np.random.default_rng(0).uniform(0, 6, (1, joints, 3))
    vectors = 0.4 * np.sin(2.5 * times[:, None, None] + phase)
    rotations = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_quat(scalar_first=True).reshape(-1, joints, 4)
    root = np.stack((0.8 * times, 0.1 * np.sin(times), 0.9 + 0.02 * np.sin(5 * times)), axis=1)
    return MotionClip(name, skeleton, frame_rate, root, rotations, **others)


@pytest.fixture(scope="module")
def person() -> MotionClip:
    betas = np.array([1.0, -0.5, 0.3] + [0.0] * 7)
    return wandering(SmplBody.default().skeleton(torch.as_tensor(betas)[None]), 10.0, betas=betas)


def decoded(path: Path) -> list[dict]:
    """The block in a page, read as `page.py` describes it, and nothing of `page.py`."""
    text = re.search(r'<script id="data"[^>]*>([^<]*)</script>', path.read_text(encoding="utf-8"))
    content = gzip.decompress(base64.b64decode(text[1], validate=True))
    (length,) = struct.unpack_from("<I", content)
    about, arrays = json.loads(content[4 : 4 + length]), content[4 + length :]

    def array(kind, start, shape):
        if kind != "coded":
            return np.frombuffer(arrays, kind, int(np.prod(shape)), start).reshape(shape)
        low, high = np.frombuffer(arrays, np.uint8, 2 * int(np.prod(shape)), start).reshape(2, *shape).astype(int)
        sums = (low + 256 * high).cumsum(axis=0) % 65536
        return np.where(sums < 32768, sums, sums - 65536)

    for actor in about["actors"]:
        root = array(*actor["root"])[:, None]
        actor["positions"] = root + actor["unit"] * array(*actor["offsets"])
        actor["rotations"] = array(*actor["rotations"]) / 32767
        for mesh in actor["meshes"]:
            for key in ("vertices", "faces", "parts", "weights", "bind"):
                mesh[key] = array(*mesh[key])
    return about["actors"]


def skinned(actor: dict, mesh: dict, frame: int) -> np.ndarray:
    """Vertices of a mesh where its parts carry them, (V, 3) m."""
    rest = mesh["unit"] * mesh["vertices"]
    turns = Rotation.from_quat(actor["rotations"][frame], scalar_first=True).as_matrix()
    shares = mesh["weights"] / mesh["weights"].sum(axis=1, keepdims=True)
    parts = mesh["parts"]
    moved = np.einsum("vkij,vkj->vki", turns[parts], rest[:, None] - mesh["bind"][parts]) + actor["positions"][frame][parts]
    return (shares[..., None] * moved).sum(axis=1)


# ------------------------------------------------------------------------------------------------------------------------ shapes


def volume(triangles: shapes.Triangles) -> float:
    """Positive where all faces look outwards (divergence theorem)."""
    a, b, c = (triangles.vertices[triangles.faces[:, k]] for k in range(3))
    return float(np.einsum("fi,fi->f", a, np.cross(b, c)).sum() / 6)


@pytest.mark.parametrize(
    ("triangles", "exact"),
    [
        (shapes.box([0.1, 0.2, 0.3]), 8 * 0.006),
        (shapes.capsule(0.1, 0.0), 4 / 3 * np.pi * 0.1**3),
        (shapes.capsule(0.1, 0.2), np.pi * 0.1**2 * 0.4 + 4 / 3 * np.pi * 0.1**3),
        (shapes.cylinder(0.1, 0.2), np.pi * 0.1**2 * 0.4),
        (shapes.rod([0.3, -0.2, 0.1], 0.05), np.pi * 0.05**2 * np.sqrt(0.14) + 4 / 3 * np.pi * 0.05**3),
    ],
)
def test_shapes_are_closed_and_of_their_volume(triangles, exact):
    assert 0.92 * exact < volume(triangles) <= exact * (1 + 1e-9)  # facets cut corners
    at = np.unique(triangles.vertices.round(9), axis=0, return_inverse=True)[1].ravel()[triangles.faces]
    edges = {(int(f[k]), int(f[(k + 1) % 3])) for f in at for k in range(3)}
    assert all((b, a) in edges for a, b in edges)


def test_geoms_lie_where_mujoco_has_them():
    # of every kind, turned and moved; the mesh is a tetrahedron whose frame MuJoCo moves to its centre
    model = mujoco.MjModel.from_xml_string("""
        <mujoco><asset><mesh name="m" vertex="0 0 0  .3 0 0  0 .2 0  0 0 .1"/></asset><worldbody><geom type="plane" size="1 1 1"/><body>
        <freejoint/><geom type="ellipsoid" size=".1 .2 .3" pos=".1 0 0" euler="30 0 0"/><geom type="cylinder" size=".1 .2" euler="0 90 0"/>
        <geom type="mesh" mesh="m" pos="1 0 0"/></body></worldbody></mujoco>""")
    assert shapes.geom(model, 0) is None
    ellipsoid, cylinder, mesh = (shapes.geom(model, index).vertices for index in (1, 2, 3))
    assert np.ptp(ellipsoid, axis=0) == pytest.approx(
        2 * np.array([0.1, np.hypot(0.2 * 0.866, 0.15), np.hypot(0.1, 0.3 * 0.866)]), rel=0.02
    )
    assert np.ptp(cylinder, axis=0) == pytest.approx([0.4, 0.2, 0.2], rel=0.02)
    corners = np.array([[1, 0, 0], [1.3, 0, 0], [1, 0.2, 0], [1, 0, 0.1]])
    assert np.abs(mesh[:, None] - corners).sum(axis=-1).min(axis=0) == pytest.approx(0, abs=1e-6)


# ------------------------------------------------------------------------------------------------------------------------- scene


def test_each_skeleton_is_drawn_as_what_it_is(person, tmp_path):
    dog = Skeleton(("body", "head", "tail"), (-1, 0, 0), np.array([[0, 0, 0], [0.5, 0, 0.2], [-0.4, 0, 0]]))
    scene = scene_of([load("walk"), person, wandering(dog, 1.0, name="dog")])
    layers = [{mesh.layer for mesh in actor.meshes} for actor in scene.actors]
    assert layers == [{"body", "skeleton"}, {"body", "skeleton", "shapes"}, {"body", "skeleton"}]
    assert scene.layers == ("body", "skeleton", "shapes")
    skin = scene.actors[1].meshes[0]
    assert skin.parts.shape == (SmplBody.default().num_vertices, 4) and np.allclose(skin.weights.sum(axis=1), 1)


def test_joints_in_a_characters_order_are_the_same_body(person):
    order = [JOINTS.index(name) for name in SmplCharacter().body_names]  # depth first, as MuJoCo has them
    at = {old: new for new, old in enumerate(order)} | {-1: -1}
    parents = tuple(at[SmplBody.default().parents[joint]] for joint in order)
    skeleton = Skeleton(tuple(JOINTS[joint] for joint in order), parents, person.skeleton.offsets[order])
    assert order != sorted(order)
    other = scene_of([replace(person, skeleton=skeleton, rotations=person.rotations[:, order])]).actors[0]
    assert np.abs(other.positions - scene_of([person]).actors[0].positions).max() < 1e-6


def test_actors_stand_side_by_side():
    first, second, third = scene_of([load("walk"), load("walk"), load("jump")]).actors
    assert [first.name, second.name, third.name] == ["walk", "walk (2)", "jump"]
    assert all(actor.positions[0, 0, 0] == pytest.approx(0) for actor in (first, second, third))
    assert first.positions[..., 1].max() + 0.5 < second.positions[..., 1].min()
    assert second.positions[..., 1].max() + 0.5 < third.positions[..., 1].min()


def test_a_cycle_walks_on_and_another_motion_ends():
    walk, jump = load("walk"), load("jump")
    (actor,) = scene_of([walk]).actors
    here, later = (actor.sample([time])[0][0] for time in (0.3, 0.3 + 2 * walk.duration))
    assert later - here == pytest.approx(np.tile(2 * walk.cycle_displacement, (len(here), 1)), abs=1e-9)
    assert scene_of([walk]).duration == pytest.approx(4 * walk.duration)  # some seconds of a short cycle
    scene = scene_of([walk, jump])
    assert scene.duration == pytest.approx(jump.duration)
    assert scene.actors[1].sample([99.0])[0][0] == pytest.approx(scene.actors[1].positions[-1])


def test_a_character_draws_what_it_fits(tmp_path):
    (tmp_path / "robot.xml").write_text(
        '<mujoco><worldbody><body name="hull" pos="0 0 1"><freejoint/><geom size=".1"/><body name="arm" pos="0 .2 0"><joint name="arm" '
        'axis="1 0 0"/><geom type="box" size=".02 .2 .02" rgba="1 0 0 1"/></body></body></worldbody></mujoco>'
    )
    robot = load_character(tmp_path / "robot.xml")
    moved = wandering(robot.skeleton, 1.0, name="robot")
    shown, walker = scene_of([moved, load("walk")], robot).actors
    assert {mesh.color for mesh in shown.meshes if mesh.layer == "body"} >= {(255, 0, 0)}
    assert walker.positions.shape[1] == len(HUMANOID.body_names)
    with pytest.raises(SettingError, match="which moves 'arm' of the character 'robot'"):
        scene_of([load("walk")], robot)
    with pytest.raises(SettingError, match="at least one motion"):
        scene_of([])


# -------------------------------------------------------------------------------------------------------------------------- page


def test_a_page_holds_the_humanoid_where_forward_kinematics_has_it(tmp_path):
    clip = wandering(HUMANOID.skeleton, 10.0)
    # what its hinges and fixed wrists cannot do is not drawn
    qpos = HUMANOID.to_qpos(clip)
    free = replace(clip, rotations=np.where(np.isin(clip.skeleton.names, HUMANOID.ball_joints)[:, None], clip.rotations, [1.0, 0, 0, 0]))
    rotations = free.rotations.copy()
    rotations[:, 0] = clip.rotations[:, 0]
    for name, column in zip(HUMANOID.hinge_joints, HUMANOID.hinge_qpos, strict=True):
        turned = np.asarray(HUMANOID.model.joint(name).axis) * qpos[:, column, None].numpy()
        rotations[:, clip.skeleton.names.index(name)] = Rotation.from_rotvec(turned).as_quat(scalar_first=True)
    expected, _ = forward_kinematics(clip.skeleton, torch.as_tensor(clip.root_position.copy()), torch.as_tensor(rotations))
    path = page.write(scene_of([clip]), tmp_path / "page.html")
    (actor,) = decoded(path)
    assert np.abs(actor["positions"] - (expected.numpy() - [*clip.root_position[0, :2], 0])).max() < 1e-3
    assert path.stat().st_size < 300_000


def test_a_page_holds_the_body_where_skinning_has_it(person, tmp_path):
    path = page.write(scene_of([person]), tmp_path / "page.html")
    (actor,) = decoded(path)
    assert path.stat().st_size < 2_000_000
    body = SmplBody.default()
    plain = SmplBody({**body.arrays(), "posedirs": np.zeros((body.num_vertices, 3, 207))}, dtype=torch.float64)
    frames = [0, 250, 600]
    pose = rotations_to_pose(torch.as_tensor(person.rotations[frames]))
    vertices, joints = plain(torch.tensor(person.betas)[None], pose)
    place = torch.as_tensor(person.root_position[frames] - [*person.root_position[0, :2], 0])[:, None] - from_smpl(joints[:, :1])
    for number, frame in enumerate(frames):
        assert np.abs(actor["positions"][frame] - (from_smpl(joints[number]) + place[number]).numpy()).max() < 1e-3
        off = np.linalg.norm(skinned(actor, actor["meshes"][0], frame) - (from_smpl(vertices[number]) + place[number]).numpy(), axis=1)
        assert off.max() < 3e-3 and off.mean() < 1e-3  # weights have 255 steps


def test_the_shapes_of_a_body_are_those_that_are_simulated(person, tmp_path):
    (actor,) = decoded(page.write(scene_of([person]), tmp_path / "page.html"))
    (mesh,) = (mesh for mesh in actor["meshes"] if mesh["layer"] == "shapes")
    model = SmplCharacter(person.betas).model
    data = mujoco.MjData(model)
    data.qpos = SmplCharacter(person.betas).to_qpos(person)[200].numpy()
    data.qpos[:2] -= person.root_position[0, :2]
    mujoco.mj_kinematics(model, data)
    drawn = skinned(actor, mesh, 200)
    for geom in np.flatnonzero(model.geom_bodyid > 0):
        part = JOINTS.index(model.body(model.geom_bodyid[geom]).name)
        local = (drawn[mesh["parts"][:, 0] == part] - data.geom_xpos[geom]) @ data.geom_xmat[geom].reshape(3, 3)
        half = model.geom_size[geom].copy()
        if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_CAPSULE:
            half = np.array([half[0], half[0], half[0] + half[1]])
        assert local.max(axis=0) == pytest.approx(half, abs=2e-3)


def test_many_frames_per_second_are_thinned_out(tmp_path):
    fast, slow = (wandering(HUMANOID.skeleton, 2.0, frame_rate=rate) for rate in (240.0, 60.0))
    pages = [decoded(page.write(scene_of([clip]), tmp_path / "page.html"))[0] for clip in (fast, slow)]
    assert [actor["rate"] for actor in pages] == pytest.approx([60.0, 60.0])
    assert np.abs(pages[0]["positions"] - pages[1]["positions"]).max() < 1e-3


def test_far_from_the_origin_it_is_as_exact(tmp_path):
    clip = replace(load("walk"), root_position=load("walk").root_position * [1000.0, 1.0, 1.0])
    (actor,) = decoded(page.write(scene_of([clip]), tmp_path / "page.html"))
    assert np.abs(np.diff(actor["positions"] - scene_of([clip]).actors[0].positions, axis=1)).max() < 1e-3


def test_a_page_needs_no_network_and_runs_nothing_from_a_name(tmp_path):
    clip = replace(load("walk"), name="</script><script>alert(1)</script> & co")
    text = page.write(scene_of([clip]), tmp_path / "page.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z]+\.|<link[^>]+href=\"(?!data:)|<script[^>]+src|@import|url\(", text)
    assert "default-src 'none'" in text and "alert(1)" not in text.replace("&lt;script&gt;alert(1)", "")
    assert "<title>&lt;/script&gt;" in text


def test_mistakes_leave_nothing_behind(tmp_path, monkeypatch):
    scene = scene_of([load("walk")])
    with pytest.raises(SettingError, match=r"page\.txt: a page is written as \.html"):
        page.write(scene, tmp_path / "page.txt")
    with pytest.raises(MotionFormatError, match=r"cannot be written: No such file"):
        page.write(scene, tmp_path / "missing" / "page.html")
    old = page.write(scene, tmp_path / "page.html").read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(MotionFormatError, match="No space left"):
        page.write(scene_of([load("jump")]), tmp_path / "page.html")
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"] and (tmp_path / "page.html").read_bytes() == old


# -------------------------------------------------------------------------------------------------------------------------- live


def test_the_live_viewer_starts_moves_and_stops(capfd, caplog):
    pytest.importorskip("viser")
    scene = scene_of([load("walk"), load("jump")])
    with LiveView(scene, port=0) as view:
        with socket.create_connection(("127.0.0.1", int(view.url.rpartition(":")[2])), timeout=1):
            pass  # a browser that leaves before it has asked
        assert urllib.request.urlopen(view.url, timeout=10).status == 200
        with pytest.raises(SettingError, match=r"port \d+ cannot be used: Address already in use; try another"):
            LiveView(scene, port=int(view.url.rpartition(":")[2]))
        view.show(0.4)
        positions, _ = scene.actors[0].sample([0.4])
        handle = view._meshes[0][0][1]
        assert np.stack([bone.position for bone in handle.bones]) == pytest.approx(positions[0], abs=1e-6)
        view.advance(scene.duration)  # once round
        assert view.time == pytest.approx(0.4)
        view._loop.value = False
        view.advance(scene.duration)
        assert view.time == scene.duration and not view.playing
        view._layers["skeleton"].value = True
        assert any(handle.visible for mesh, handle in view._meshes[0] if mesh.layer == "skeleton")
    view.close()
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", int(view.url.rpartition(":")[2])), timeout=1):
        pass
    assert capfd.readouterr() == ("", "") and not caplog.records


def test_without_viser_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(MissingPackageError, match=r"the live viewer needs viser.*pip install 'mprl\[viewer\]'|viser, which cannot"):
        LiveView(scene_of([load("walk")]), port=0)
