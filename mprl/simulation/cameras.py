"""What a camera in a MuJoCo model sees: colours, distances in metres, and which body or shape each pixel belongs to.

    with CameraRenderer(model, "head", 64, 64, kinds=("rgb", "depth")) as camera:
        views = camera.look(data.qpos)      # {"rgb": (64, 64, 3) uint8, "depth": (64, 64, 1) float32}

Made for perception: no shadows and no smoothing of edges unless asked for. A model that brings no textures (a character is better off
without) gets a sky, a floor with a grid and a sun, so that there is something to see one's own movement by.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mprl.errors import SettingError, number, unknown_name
from mprl.simulation.rendering import Offscreen
from mprl.simulation.viewpoints import Head, Named, Tracking, Viewpoint, eyes, root, viewpoint

__all__ = ["KINDS", "LABELS", "Appearance", "CameraRenderer", "FLOORS"]

KINDS = ("rgb", "depth", "segmentation")
LABELS = ("body", "geom")
BACKGROUND = -1
FLOORS = 4  # kinds of floor to choose from

_RND = mujoco.mjtRndFlag
_SURFACES = (mujoco.mjtGeom.mjGEOM_PLANE, mujoco.mjtGeom.mjGEOM_HFIELD)
_TILE = 20.0  # m; textures of floors repeat after whole parts of it
_HIDDEN = 5  # a group of shapes that MuJoCo does not draw by default
_SUN = np.array([0.30, 0.45, -0.84])  # direction of its light

_STAGE = """
<mujoco model="stage">
  <asset>
    <texture name="sky" type="skybox" builtin="gradient" rgb1="0.36 0.54 0.76" rgb2="0.86 0.91 0.95" width="32" height="192"/>
    <texture name="grid" type="2d" builtin="checker" mark="edge" rgb1="0.60 0.63 0.66" rgb2="0.50 0.53 0.57" markrgb="0.78 0.81 0.84"
      width="128" height="128"/>
    <texture name="plain" type="2d" builtin="flat" rgb1="0.6 0.6 0.6" width="8" height="8"/>
    <texture name="speckled" type="2d" builtin="flat" mark="random" random="0.15" rgb1="0.62 0.62 0.62" markrgb="0.25 0.25 0.25"
      width="64" height="64"/>
    <texture name="checker" type="2d" builtin="checker" rgb1="0.85 0.85 0.85" rgb2="0.3 0.3 0.3" width="64" height="64"/>
    <material name="grid" texture="grid" texuniform="true" texrepeat="0.5 0.5"/>
    <material name="plain" texture="plain" texuniform="true"/>
    <material name="speckled" texture="speckled" texuniform="true" texrepeat="0.5 0.5"/>
    <material name="checker" texture="checker" texuniform="true" texrepeat="1 1"/>
  </asset>
</mujoco>
"""


@dataclass(frozen=True)
class Appearance:
    """How a picture differs from the plain one: what domain randomisation draws.

    Attributes:
        brightness: factor of all lights.
        sun: direction in which the light of the first lamp shines, (3,); None: as it is.
        tint: factors of each shape's red, green and blue, (ngeom, 3); None: ones.
        floor: which of `FLOORS` textures the floor has, where the model brings none.
        shift: displacement of the camera forward, left and up, (3,) m.
        turn: rotation of the camera about these axes, (3,) rad: roll, pitch (down is positive), yaw.
        zoom: factor of the picture's size.
    """

    brightness: float = 1.0
    sun: NDArray[np.float64] | None = None
    tint: NDArray[np.float64] | None = None
    floor: int = 0
    shift: NDArray[np.float64] | None = None
    turn: NDArray[np.float64] | None = None
    zoom: float = 1.0


PLAIN = Appearance()


class CameraRenderer(Offscreen):
    """Looks at poses of one model, or of models that differ in numbers only, through one camera.

    The model is never changed, and drawn from a pose, so that a picture is of exactly that pose. Call it from the thread that made it.

    Args:
        model: what is seen.
        camera: a camera of the model by its name, "tracking", "head", or a `Named`, `Tracking` or `Head`.
        height, width: of the picture, pixels.
        kinds: some of "rgb", "depth", "segmentation".
        labels: what segmentation tells apart: "body" or "geom".
        shadows: draw them: slower, and a lamp must cast them.
        samples: per pixel, smoothing the edges of "rgb"; 0 is fastest.

    Raises:
        RenderingError: no OpenGL here; the text says what to install.
        UnknownNameError: no such camera, body, kind or label; the text lists them.
        SettingError: a size that is not positive, no kinds, or no head.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        camera: str | Viewpoint = "tracking",
        height: int = 64,
        width: int = 64,
        *,
        kinds: Sequence[str] = ("rgb",),
        labels: str = "body",
        shadows: bool = False,
        samples: int = 0,
    ) -> None:
        self.height, self.width = number("height", height, 1, whole=True), number("width", width, 1, whole=True)
        self.kinds = checked_kinds(kinds)
        if labels not in LABELS:
            raise unknown_name("label", str(labels), LABELS, f"known: {', '.join(LABELS)}")
        self.camera = viewpoint(model, camera)
        self._model, self._data = model, mujoco.MjData(model)
        self._labels = model.geom_bodyid if labels == "body" else np.arange(model.ngeom)
        self._eyes = eyes(model, self.camera) if isinstance(self.camera, Head) else None
        self._root = root(model, self.camera) if isinstance(self.camera, Tracking) else 0
        self._view = self._make_view()
        self._shadows, self._risen = shadows, False
        self._option = mujoco.MjvOption()
        self._known: tuple[int, list[tuple[int, bool, bool]]] = (-1, [])
        self._staged = model.nskin == 0 and (model.ntex == 0 or "rgb" not in self.kinds)
        self._scene = mujoco.MjvScene(model, maxgeom=2 * model.ngeom + model.nsite + 4 * model.ntendon + 100)
        self._scene.flags[_RND.mjRND_SHADOW] = shadows
        self._scene.flags[_RND.mjRND_REFLECTION] = False  # a second drawing of the whole scene
        self._viewport = mujoco.MjrRect(0, 0, self.width, self.height)
        drawn = self._drawn(shadows, samples)
        context = self._open(drawn, self.width, self.height, model if self._staged else None)
        context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR  # precise in the distance

    def _make_view(self) -> mujoco.MjvCamera:
        view = mujoco.MjvCamera()
        if isinstance(self.camera, Named):
            view.type = mujoco.mjtCamera.mjCAMERA_FIXED
            view.fixedcamid = self._model.camera(self.camera.name).id
        elif isinstance(self.camera, Tracking):
            distance = self.camera.distance
            view.azimuth, view.elevation = self.camera.azimuth, self.camera.elevation
            view.distance = 1.6 * self._model.stat.extent if distance is None else distance
        return view

    def _drawn(self, shadows: bool, samples: int) -> mujoco.MjModel:
        """The model that the context is made of."""
        drawn = _stage(self._model, textures="rgb" in self.kinds) if self._staged else copy.copy(self._model)
        drawn.vis.global_.offwidth, drawn.vis.global_.offheight = self.width, self.height
        drawn.vis.quality.offsamples = samples
        if not shadows:
            drawn.vis.quality.shadowsize = 0
        return drawn

    def look(
        self,
        qpos: ArrayLike,
        *,
        model: mujoco.MjModel | None = None,
        mocap: tuple[ArrayLike, ArrayLike] | None = None,
        appearance: Appearance = PLAIN,
    ) -> dict[str, NDArray[Any]]:
        """What the camera sees.

        Args:
            qpos: the pose, (nq,), as in `MjData.qpos`.
            model: draw this one, which differs in numbers only (sizes, places, colours); by default the renderer's own.
            mocap: positions (nmocap, 3) and rotations (nmocap, 4) of mocap bodies.
            appearance: light, colours and a shaken camera.

        Returns:
            By kind, row 0 on top: "rgb" (height, width, 3) uint8; "depth" (height, width, 1) float32, m along the camera's axis (not
            along the ray), the far plane where nothing is; "segmentation" (height, width, 1) int32, the body's or shape's index in
            the model, -1 where nothing is.

        Raises:
            RenderingError: closed, or called from another thread than the one that made it.
            SettingError: a pose of another shape.
        """
        self._check_open()
        pose = np.asarray(qpos, dtype=float)
        if pose.shape != (self._model.nq,):
            raise SettingError(f"qpos must have shape ({self._model.nq},), found {pose.shape}")
        self._place(model or self._model, pose, mocap)
        self._set_scene(model or self._model, appearance)
        self._gl.make_current()  # another renderer may have been at work since
        return self._read()

    def _place(self, model: mujoco.MjModel, qpos: NDArray[np.float64], mocap: tuple[ArrayLike, ArrayLike] | None) -> None:
        data = self._data
        data.qpos[:] = qpos
        if mocap is not None:
            data.mocap_pos[:], data.mocap_quat[:] = mocap
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_camlight(model, data)
        if model.nflex:
            mujoco.mj_flex(model, data)
        if model.ntendon:
            mujoco.mj_tendon(model, data)
        if isinstance(self.camera, Tracking):
            self._view.lookat[:] = data.xpos[self._root]

    def _set_scene(self, model: mujoco.MjModel, appearance: Appearance) -> None:
        scene = self._scene
        hidden = self._eyes.geoms if self._eyes is not None else np.zeros(0, np.int64)
        groups = model.geom_group[hidden]
        model.geom_group[hidden] = _HIDDEN
        try:
            mujoco.mjv_updateScene(model, self._data, self._option, None, self._view, mujoco.mjtCatBit.mjCAT_ALL.value, scene)
        finally:
            model.geom_group[hidden] = groups
        if self._eyes is not None:
            self._look_from_head(self._eyes)
        if appearance.shift is not None or appearance.turn is not None or appearance.zoom != 1:
            _shake(scene, appearance)
        if self._staged:
            self._lay_floors(model, appearance.floor)
        if appearance is not PLAIN:
            _recolour(scene, appearance)
            self._risen = False  # to be set anew

    def _look_from_head(self, found: Any) -> None:
        rotation = self._data.xmat[found.body].reshape(3, 3)
        position = self._data.xpos[found.body] + rotation @ found.position
        axes = rotation @ found.rotation
        half = np.tan(np.radians(self.camera.fovy) / 2) if isinstance(self.camera, Head) else 1.0
        for camera in self._scene.camera:
            camera.pos[:], camera.forward[:], camera.up[:] = position, axes[:, 0], axes[:, 2]
            camera.frustum_top, camera.frustum_bottom = camera.frustum_near * half, -camera.frustum_near * half
            camera.frustum_center = 0.0
        for light in self._scene.lights[: self._scene.nlight]:
            if light.headlight:  # it is at the camera
                light.pos[:], light.dir[:] = position, axes[:, 0]

    def _lay_floors(self, model: mujoco.MjModel, floor: int) -> None:
        """Grid and sun for a model without; endless planes below the camera."""
        scene = self._scene
        if model.nmat:  # they belong to a context of the model's own; their colours are the shapes' already
            for geom in scene.geoms[: scene.ngeom]:
                geom.matid = -1
        for index, plain, endless in self._floors(model):
            geom = scene.geoms[index]
            if plain:
                geom.matid, geom.texuniform, geom.rgba[:3], geom.specular = floor, 1, 1.0, 0.0
            if endless:
                origin, rotation = self._data.geom_xpos[geom.objid], self._data.geom_xmat[geom.objid].reshape(3, 3)
                below = (scene.camera[0].pos - origin) @ rotation
                geom.pos[:] = origin + rotation[:, :2] @ (_TILE * np.round(below[:2] / _TILE))
                geom.size[:2] = _half(model)
        if model.nlight == 0 and "rgb" in self.kinds:
            self._shine()

    def _shine(self) -> None:
        """A sun, after the headlight. It stays in the scene's memory from picture to picture, uncounted."""
        scene = self._scene
        sun = scene.lights[scene.nlight]
        scene.nlight += 1
        if self._shadows:  # its shadow map comes along
            sun.pos[:] = self._data.xpos[self._root] - 4 * _SUN
        if self._risen:
            return
        self._risen = True
        sun.type, sun.headlight, sun.castshadow, sun.texid, sun.id = mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, 0, 1, -1, -1
        sun.dir[:] = _SUN / np.linalg.norm(_SUN)
        sun.ambient[:], sun.diffuse[:], sun.specular[:] = 0.25, 0.5, 0.2
        sun.attenuation[:] = 1, 0, 0
        sun.intensity, sun.range, sun.cutoff, sun.exponent = 0.0, 10.0, 45.0, 10.0

    def _floors(self, model: mujoco.MjModel) -> list[tuple[int, bool, bool]]:
        """Surfaces in the scene: (place, shows a texture of ours, is endless). The same in every picture, unless shapes are hidden."""
        scene = self._scene
        if scene.ngeom != self._known[0]:
            fixed = model.body_weldid[model.geom_bodyid] == 0
            plain = np.isin(model.geom_type, _SURFACES) & fixed & (model.geom_matid < 0) & ("rgb" in self.kinds)
            endless = [model.geom_type[i] == mujoco.mjtGeom.mjGEOM_PLANE and _endless(model, i) for i in range(model.ngeom)]
            shapes = [(i, geom.objid) for i, geom in enumerate(scene.geoms[: scene.ngeom]) if geom.objtype == mujoco.mjtObj.mjOBJ_GEOM]
            self._known = scene.ngeom, [(i, bool(plain[g]), bool(endless[g])) for i, g in shapes if plain[g] or endless[g]]
        return self._known[1]

    def _read(self) -> dict[str, NDArray[Any]]:
        found: dict[str, NDArray[Any]] = {}
        shape = (self.height, self.width)
        colours = np.empty((*shape, 3), np.uint8)
        depth = np.empty(shape, np.float32) if "depth" in self.kinds else None
        if "rgb" in self.kinds:
            mujoco.mjr_render(self._viewport, self._scene, self._context)
            mujoco.mjr_readPixels(colours, None, self._viewport, self._context)
            found["rgb"] = colours[::-1].copy()  # OpenGL's first row is the lowest
        if self.kinds != ("rgb",):
            # Without light and textures. Depths too are from this drawing: in the other, planes are tiles of a limited number.
            flags = self._scene.flags.copy()
            self._scene.flags[_RND.mjRND_SEGMENT] = self._scene.flags[_RND.mjRND_IDCOLOR] = 1
            mujoco.mjr_render(self._viewport, self._scene, self._context)
            self._scene.flags[:] = flags
            mujoco.mjr_readPixels(colours if "segmentation" in self.kinds else None, depth, self._viewport, self._context)
            if depth is not None:
                found["depth"] = self._metres(depth)[::-1, :, None].copy()
            if "segmentation" in self.kinds:
                found["segmentation"] = self._indices(colours)[::-1, :, None].copy()
        return {kind: found[kind] for kind in self.kinds}

    def _metres(self, depth: NDArray[np.float32]) -> NDArray[np.float32]:
        """From the depth buffer with 1 near and 0 far: hyperbolic, or linear where the projection is parallel."""
        camera = self._scene.camera[0]
        near, far = np.float32(camera.frustum_near), np.float32(camera.frustum_far)
        if camera.orthographic:
            return far - depth * (far - near)
        return near * far / (near + depth * (far - near))

    def _indices(self, colours: NDArray[np.uint8]) -> NDArray[np.int32]:
        """From the colours that encode a drawn shape's number, plus one."""
        scene = self._scene
        table = np.full(scene.ngeom + 1, BACKGROUND, np.int32)
        for geom in scene.geoms[: scene.ngeom]:
            if geom.objtype == mujoco.mjtObj.mjOBJ_GEOM and geom.segid >= 0:
                table[geom.segid + 1] = self._labels[geom.objid]
        drawn = colours.astype(np.int32) @ np.array([1, 1 << 8, 1 << 16], np.int32)
        return table[drawn]


def checked_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """Kinds of views, each once, in the order of `KINDS`.

    Raises:
        UnknownNameError, SettingError: another kind, or none.
    """
    asked = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    for kind in asked:
        if kind not in KINDS:
            raise unknown_name("kind of view", str(kind), KINDS, f"known: {', '.join(KINDS)}")
    if not asked:
        raise SettingError(f"kinds of views: expected some of {', '.join(KINDS)}, found none")
    return tuple(kind for kind in KINDS if kind in asked)


def _stage(model: mujoco.MjModel, textures: bool) -> mujoco.MjModel:
    """Planes like the model's, and room for its meshes and height fields, which are loaded into it later; sky and floors.

    Without textures it is there a hundred times sooner: 3 ms against 300 in software.
    """
    spec = mujoco.MjSpec.from_string(_STAGE) if textures else mujoco.MjSpec()
    for geom in np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE).tolist():
        half = model.geom_size[geom, :2]
        plane = spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[*(_half(model) if _endless(model, geom) else half), 1])
        plane.material = "grid" if textures else ""
    for index in range(model.nmesh):
        spec.add_mesh(name=f"mesh{index}", uservert=[0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1], userface=[0, 2, 1, 0, 1, 3, 0, 3, 2, 1, 2, 3])
    for index in range(model.nhfield):
        spec.add_hfield(name=f"hfield{index}", size=[1, 1, 1, 1], nrow=2, ncol=2, userdata=[0, 0, 0, 1])
    stage = spec.compile()
    stage.vis.quality.numslices, stage.vis.quality.numstacks, stage.vis.quality.numquads = 20, 10, 1  # of round and flat shapes
    stage.stat.extent, stage.vis.map.znear, stage.vis.map.zfar = model.stat.extent, model.vis.map.znear, model.vis.map.zfar
    return stage


def _endless(model: mujoco.MjModel, geom: int) -> bool:
    """Whether a plane without edges is drawn as one large square that comes along with the camera.

    MuJoCo draws it in 40 000 squares, which takes 5 ms of a picture's 6. Many are needed only where a lamp lights a part of them.
    """
    return bool((model.geom_size[geom, :2] == 0).all() and model.nlight == 0)


def _half(model: mujoco.MjModel) -> tuple[float, float]:
    """Half the sides of that square, m: to the far plane."""
    side = model.vis.map.zfar * model.stat.extent + _TILE
    return side, side


def _shake(scene: mujoco.MjvScene, appearance: Appearance) -> None:
    for camera in scene.camera:
        forward, up = np.array(camera.forward, float), np.array(camera.up, float)
        axes = np.stack((forward, np.cross(up, forward), up), axis=1)
        if appearance.shift is not None:
            camera.pos[:] = camera.pos + axes @ appearance.shift
        if appearance.turn is not None:
            quaternion, rotation = np.empty(4), np.empty(9)
            angle = float(np.linalg.norm(appearance.turn))
            mujoco.mju_axisAngle2Quat(quaternion, appearance.turn / max(angle, 1e-12), angle)
            mujoco.mju_quat2Mat(rotation, quaternion)
            axes = axes @ rotation.reshape(3, 3)
            camera.forward[:], camera.up[:] = axes[:, 0], axes[:, 2]
        for side in ("frustum_top", "frustum_bottom", "frustum_center"):
            setattr(camera, side, getattr(camera, side) / appearance.zoom)


def _recolour(scene: mujoco.MjvScene, appearance: Appearance) -> None:
    lamps = scene.lights[: scene.nlight]
    for light in lamps:
        for part in (light.ambient, light.diffuse, light.specular):
            part *= appearance.brightness
    if appearance.sun is not None:
        for light in lamps:
            if not light.headlight:
                light.dir[:] = appearance.sun
                break
    if appearance.tint is not None:
        for geom in scene.geoms[: scene.ngeom]:
            if geom.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                geom.rgba[:3] = np.clip(geom.rgba[:3] * appearance.tint[geom.objid], 0, 1)
