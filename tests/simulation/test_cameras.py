"""Cameras: distances against closed forms, pixels against what is there, the head looks where the face does."""

from __future__ import annotations

import functools

import mujoco
import numpy as np
import pytest

from mprl.errors import MprlError, RenderingError, SettingError, UnknownNameError
from mprl.simulation.cameras import FLOORS, Appearance, CameraRenderer
from mprl.simulation.rendering import opengl_backend
from mprl.simulation.viewpoints import Head, Named, Tracking, viewpoint

# A camera at a height of 1 m that looks along +x with a field of view of 90 degrees: a pixel at height y of the picture (1: its upper
# edge) shows what lies in direction (1, ., y).
SCENE = """
<mujoco>
  <worldbody>
    <camera name="front" pos="0 0 1" xyaxes="0 -1 0 0 0 1" fovy="90"/>
    <geom name="floor" type="plane" size="0 0 1"/>
    {}
    <body name="thing" pos="0 0 -9"><freejoint/><geom size=".1"/></body>
  </worldbody>
</mujoco>
"""
BALL = '<body name="ball" pos="3 0 1"><geom name="ball" type="sphere" size=".5"/></body>'
BOX = '<body name="box" pos="4 .5 1"><geom name="box" type="box" size=".7 .4 .6"/></body>'
WALL = '<geom name="wall" type="plane" pos="5 0 1" zaxis="-1 0 0" size="0 0 1"/>'


@pytest.fixture(scope="module", autouse=True)
def _opengl():
    try:
        opengl_backend()
    except RenderingError as error:
        pytest.skip(str(error))
    yield
    renderer_of.cache_clear()


@functools.cache
def scene(*shapes: str) -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_string(SCENE.format("\n".join(shapes)))


@functools.cache  # a context with textures takes a third of a second
def renderer_of(model: mujoco.MjModel, camera, size: int, kinds: tuple[str, ...], labels: str) -> CameraRenderer:
    return CameraRenderer(model, camera, size, size, kinds=kinds, labels=labels)


EVERY = ("rgb", "depth", "segmentation")


def seen(model: mujoco.MjModel, camera="front", size: int = 64, kinds=("depth", "segmentation"), qpos=None, labels="body", **how):
    return renderer_of(model, camera, size, kinds, labels).look(model.qpos0 if qpos is None else qpos, **how)


def slopes(size: int) -> np.ndarray:
    """Height of each row's pixels in the picture, 1 to -1; of columns, their distance to the left."""
    return 1 - (2 * np.arange(size) + 1) / size


# --------------------------------------------------------------------------------------------------------------------------- depth


def test_depth_of_a_wall_is_its_distance_everywhere_along_the_axis_not_the_ray():
    depth = seen(scene(WALL), kinds=("depth",))["depth"]
    assert depth.shape == (64, 64, 1) and depth.dtype == np.float32
    np.testing.assert_allclose(depth[:38], 5.0, rtol=1e-5)


def test_depth_of_the_floor_is_height_over_slope():
    depth = seen(scene(), kinds=("depth",))["depth"]
    below = slopes(64) < -0.05  # to 20 m
    np.testing.assert_allclose(depth[below, :, 0], np.broadcast_to(1 / -slopes(64)[below, None], (below.sum(), 64)), rtol=1e-4)


def test_depth_of_a_ball_is_where_the_ray_meets_it():
    depth = seen(scene(BALL), kinds=("depth",), size=65)["depth"][..., 0]
    y, z = np.meshgrid(slopes(65), slopes(65))
    rays = np.stack((np.ones_like(y), y, z))
    length = (rays**2).sum(axis=0)
    root = 9 - length * (9 - 0.25)  # of |t ray - (3, 0, 0)|² = .5²
    inside = root > 0.2
    exact = (3 - np.sqrt(np.where(inside, root, 0))) / length
    assert depth[32, 32] == pytest.approx(2.5, abs=2e-3)
    np.testing.assert_allclose(depth[inside], exact[inside], atol=0.015)  # a drawn ball is made of flat pieces


def test_depth_and_segmentation_of_a_box_cover_exactly_its_face():
    views = seen(scene(BOX))
    y, z = np.meshgrid(slopes(64) * 3.3, slopes(64) * 3.3 + 1)  # where pixels meet the plane of the face, x = 4 - .7
    face = (abs(y - 0.5) < 0.4) & (abs(z - 1) < 0.6)
    np.testing.assert_allclose(views["depth"][face], 3.3, rtol=1e-5)
    assert np.array_equal(views["segmentation"][..., 0] == 1, face)  # what is behind it is further away and hidden


@pytest.mark.parametrize("kinds", [("depth",), ("depth", "segmentation")])
def test_kinds_do_not_change_each_other(kinds):
    model = scene(BALL, BOX)
    every = seen(model, kinds=EVERY)
    for kind, view in seen(model, kinds=kinds).items():
        np.testing.assert_allclose(view, every[kind], rtol=1e-5)


# -------------------------------------------------------------------------------------------------------------------- segmentation


def test_segmentation_tells_bodies_or_shapes_and_minus_one_where_nothing_is():
    model = scene(BALL, WALL)
    bodies, shapes = (seen(model, kinds=("segmentation",), labels=label)["segmentation"] for label in ("body", "geom"))
    assert bodies.dtype == np.int32 and bodies[32, 32, 0] == model.body("ball").id == 1
    assert bodies[0, 0, 0] == bodies[-1, 0, 0] == 0  # wall and floor belong to the world
    assert [shapes[i, 0, 0] for i in (0, -1)] == [model.geom("wall").id, model.geom("floor").id]
    assert seen(scene(), kinds=("segmentation",))["segmentation"][0, 0, 0] == -1


# --------------------------------------------------------------------------------------------------------------------- viewpoints

PERSON = """
<mujoco>
  <worldbody>
    <geom name="floor" type="plane" size="0 0 1"/>
    <body name="north" pos="0 6 1.5"><geom size=".5"/></body>
    <body name="east" pos="6 0 1.5"><geom size=".5"/></body>
    <body name="torso" pos="0 0 1">
      <freejoint/>
      <geom type="capsule" size=".1" fromto="0 0 -.4 0 0 .3"/>
      <body name="head" pos="0 0 .5"><geom type="sphere" size=".12"/></body>
    </body>
  </worldbody>
</mujoco>
"""
NORTH, EAST, TORSO, HEAD = 1, 2, 3, 4


@pytest.fixture(scope="module")
def person() -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_string(PERSON)


def turned(degrees: float, x: float = 0.0) -> list[float]:
    half = np.radians(degrees) / 2
    return [x, 0, 1, np.cos(half), 0, 0, np.sin(half)]


@pytest.mark.parametrize(("degrees", "ahead"), [(0, EAST), (90, NORTH)])
def test_the_head_looks_where_the_face_does(person, degrees, ahead):
    view = seen(person, "head", 65, qpos=turned(degrees))
    assert view["segmentation"][32, 32, 0] == ahead
    assert view["depth"][32, 32, 0] == pytest.approx(5.5, abs=2e-3)


def test_the_head_does_not_see_itself_and_is_there_again_afterwards(person):
    groups = person.geom_group.copy()
    view = seen(person, Head(pitch=-80), 65, qpos=turned(0))["segmentation"]
    assert TORSO in view and HEAD not in view
    assert np.array_equal(person.geom_group, groups)
    assert HEAD in seen(person, "tracking", 65, qpos=turned(0))["segmentation"]


def test_a_pitch_lowers_the_gaze(person):
    depth = seen(person, Head(pitch=-45), 65, kinds=("depth",), qpos=turned(180))["depth"]
    assert depth[32, 32, 0] == pytest.approx(1.5 * np.sqrt(2), rel=1e-3)  # eyes at 1.5 m, floor along the axis


def test_a_head_that_is_rotated_in_the_rest_pose_still_looks_forward():
    rotated = PERSON.replace('<body name="head" pos="0 0 .5">', '<body name="head" pos="0 0 .5" euler="20 30 40">')
    view = seen(mujoco.MjModel.from_xml_string(rotated), "head", 65, kinds=("segmentation",), qpos=turned(0))
    assert view["segmentation"][32, 32, 0] == EAST


def test_a_tracking_camera_has_the_body_in_the_middle_wherever_it_goes(person):
    far, near = (seen(person, Tracking(azimuth=90, elevation=0, distance=3), 65, qpos=turned(0, x)) for x in (-90.0, 0.0))
    for view in (far, near):
        assert view["segmentation"][32, 32, 0] == TORSO
        assert view["depth"][32, 32, 0] == pytest.approx(2.9, abs=2e-3)


def test_a_pose_is_drawn_as_it_is_given_not_as_it_was(person):
    with CameraRenderer(person, "head", 65, 65, kinds=("segmentation",)) as renderer:
        assert renderer.look(turned(0))["segmentation"][32, 32, 0] == EAST
        assert renderer.look(turned(90))["segmentation"][32, 32, 0] == NORTH


def test_unknown_cameras_are_answered_with_the_known(person):
    with pytest.raises(UnknownNameError, match=r"^no camera named 'frnt'; did you mean 'front'\? \(known: tracking, head, front\)$"):
        viewpoint(scene(), "frnt")
    with pytest.raises(UnknownNameError, match=r"^no camera named 'front' \(the model has none\)$"):
        viewpoint(person, Named("front"))
    with pytest.raises(UnknownNameError, match=r"^no body named 'hed'; did you mean 'head'\? \(known: world, north"):
        viewpoint(person, Head("hed"))
    with pytest.raises(SettingError, match=r"^the model has no body called head .* Head\(body=...\)$"):
        viewpoint(scene(), "head")
    with pytest.raises(SettingError, match=r"camera must be a name or a Named, Tracking or Head camera, found '3'"):
        viewpoint(person, 3)


# ---------------------------------------------------------------------------------------------------------------------- appearance


def test_a_shifted_and_turned_camera_sees_what_lies_there():
    forward = Appearance(shift=np.array([1.0, 0, 0]))
    np.testing.assert_allclose(seen(scene(WALL), kinds=("depth",), appearance=forward)["depth"][:32], 4.0, rtol=1e-5)
    left = Appearance(turn=np.array([0, 0, np.pi / 2]))  # yaw: to +y, where there is no wall ahead
    assert seen(scene(BALL), kinds=("segmentation",), size=65, appearance=left)["segmentation"][32, 32, 0] == -1
    close = Appearance(zoom=2.0)
    far, near = ((seen(scene(BALL), kinds=("segmentation",), appearance=a)["segmentation"] == 1).sum() for a in (Appearance(), close))
    assert near / far == pytest.approx(4, rel=0.05)


def test_light_colour_and_floor_change_colours_and_nothing_else(person):
    plain = seen(person, "tracking", kinds=EVERY)
    tint = np.ones((person.ngeom, 3))
    tint[:, 0] = 0.2
    changes = [Appearance(brightness=0.6), Appearance(tint=tint), *(Appearance(floor=floor) for floor in range(1, FLOORS))]
    pictures = [plain["rgb"]]
    for change in changes:
        view = seen(person, "tracking", kinds=EVERY, appearance=change)
        np.testing.assert_allclose(view["depth"], plain["depth"], rtol=1e-5)  # a floor's tiles depend on its texture
        assert np.array_equal(view["segmentation"], plain["segmentation"])
        pictures.append(view["rgb"])
    for index, one in enumerate(pictures):
        assert all(np.abs(one.astype(int) - other).mean() > 1 for other in pictures[:index])
    assert pictures[1].mean() < plain["rgb"].mean()
    lit = plain["segmentation"][..., 0] >= 0
    red, other = (picture[lit].mean(axis=0)[0] for picture in (pictures[2], plain["rgb"]))
    assert red < 0.4 * other


# ---------------------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("how", "line"),
    [
        ({"kinds": ("rbg",)}, "no kind of view named 'rbg'; did you mean 'rgb'?"),
        ({"kinds": ()}, "kinds of views: expected some of rgb, depth, segmentation, found none"),
        ({"labels": "bodies"}, "no label named 'bodies'; did you mean 'body'?"),
        ({"size": 0}, "height must be at least 1, found 0"),
        ({"qpos": [0.0]}, "qpos must have shape (7,), found (1,)"),
    ],
)
def test_mistakes_are_one_line(how, line):
    with pytest.raises(MprlError, match=r"^[^\n]*$") as error:
        seen(scene(), **how)
    assert line in str(error.value)


def test_without_opengl_the_error_is_one_line(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "off")
    with pytest.raises(RenderingError, match=r"^rendering is switched off by MUJOCO_GL=off; unset it to get pictures$"):
        CameraRenderer(scene(), "front")


def test_a_closed_renderer_says_so():
    renderer = CameraRenderer(scene(), "front", 8, 8, kinds=("depth",))
    renderer.close()
    renderer.close()
    with pytest.raises(RenderingError, match="closed"):
        renderer.look(scene().qpos0)
