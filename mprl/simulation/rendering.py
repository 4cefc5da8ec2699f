"""Pictures of a character, on a desktop or on a machine without a display.

    with SceneRenderer(model, ghost=True) as renderer:
        write_video("walk.mp4", (renderer.render(qpos, reference) for qpos, reference in poses), fps=30)

The simulated model stays lean: it needs no textures, lights or cameras. They live in a *stage*, a model of its own (floor, sky,
sun) whose OpenGL context draws everything, and the character's shapes are added to the stage's scene from their own model and pose.
"""

from __future__ import annotations

import copy
import functools
import importlib
import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import mujoco
import numpy as np
from gymnasium.vector import SyncVectorEnv
from numpy.typing import ArrayLike, NDArray

from mprl.errors import RenderingError, SettingError

__all__ = ["Marker", "SceneRenderer", "opengl_backend", "prepare_gymnasium"]

_log = logging.getLogger("mprl")

# ---------------------------------------------------------------------------------------------------------------- OpenGL back end

_OFF = ("disable", "disabled", "off", "false", "0")
_NAMED = {"egl": "egl", "osmesa": "osmesa", "glfw": "glfw", "glx": "glfw", "cgl": "cgl", "wgl": "glfw"}
_MISSING = (
    "no OpenGL for headless rendering: install libegl1 and libgl1 (Debian: apt-get install libegl1 libgl1 libgl1-mesa-dri) "
    "or libosmesa6; everything else still runs"
)

# Runs in a process of its own: an import of PyOpenGL that fails leaves its choice of platform behind, and a broken driver can
# abort the process, so a failed try here would spoil the next one.
_PROBE = """
import importlib, os, sys
import mujoco
context = importlib.import_module("mujoco." + sys.argv[1]).GLContext(64, 64)
context.make_current()
mujoco.MjrContext(mujoco.MjModel.from_xml_string("<mujoco/>"), 100)
os._exit(0)  # drivers are known to crash in their exit handlers, which would look like a failure
"""


@functools.cache
def _works(backend: str) -> bool:
    """Whether an OpenGL context of this kind can really be made here (about a second, once per process)."""
    environment = {name: value for name, value in os.environ.items() if name != "MUJOCO_GL"}
    try:
        with tempfile.TemporaryDirectory() as folder:  # for the MUJOCO_LOG.TXT that MuJoCo writes where it fails
            probe = subprocess.run(
                [sys.executable, "-c", _PROBE, backend],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=120,
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        _log.debug("OpenGL through %s: %s", backend, error)
        return False
    if probe.returncode:
        _log.debug("OpenGL through %s: %s", backend, (probe.stderr.strip().splitlines() or [f"exit code {probe.returncode}"])[-1])
    return probe.returncode == 0


@functools.cache
def _choose(wish: str, display: bool, platform: str) -> str:
    if wish in _OFF:
        raise RenderingError(f"rendering is switched off by MUJOCO_GL={wish}; unset it to get pictures")
    if wish in _NAMED:
        backend, why = _NAMED[wish], f"MUJOCO_GL={wish}"
    elif not platform.startswith("linux"):
        backend, why = "", "MuJoCo's choice"
    else:
        candidates = ("glfw", "egl", "osmesa") if display else ("egl", "osmesa")
        works = next((candidate for candidate in candidates if _works(candidate)), None)
        if works is None:
            raise RenderingError(_MISSING)
        backend, why = works, "with a display" if display else "no display"
    _log.info("rendering with %s (%s)", backend or "OpenGL", why)
    return backend


def opengl_backend() -> str:
    """The OpenGL back end that pictures are made with: "egl", "osmesa", "glfw" or "cgl"; "" leaves it to MuJoCo (macOS, Windows).

    `MUJOCO_GL` decides where it is set, also after `import mujoco`. Elsewhere, on Linux, it is the first that works of GLFW (where
    there is a display), EGL and OSMesa. Chosen and logged once.

    Raises:
        RenderingError: none works, or `MUJOCO_GL` switches rendering off.
    """
    return _choose(os.environ.get("MUJOCO_GL", "").lower().strip(), _display(), sys.platform)


def _display() -> bool:
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def prepare_gymnasium(env: Any) -> None:
    """Have the renderers of Gymnasium's own environments work without a display.

    Its MuJoCo ones go by `MUJOCO_GL` alone, without which they need one. Those that draw with pygame have SDL complain that there is
    none, which nobody asked for, unless it is told to do without.

    Args:
        env: any environment, single or batched, before its first picture.

    Raises:
        RenderingError: no OpenGL here.
    """
    if sys.platform == "linux" and not _display():
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    single = env.unwrapped.envs[0] if isinstance(env.unwrapped, SyncVectorEnv) else env
    if hasattr(single.unwrapped, "mujoco_renderer") and (backend := opengl_backend()):
        os.environ.setdefault("MUJOCO_GL", backend)


def make_gl_context(width: int, height: int) -> Any:
    """A current OpenGL context of the chosen back end."""
    backend = opengl_backend()
    try:
        # The back end's own module, not mujoco.gl_context: that one is fixed by the environment at the first import of mujoco.
        kind = importlib.import_module(f"mujoco.{backend}" if backend else "mujoco.gl_context").GLContext
        # Without the destructor: it may run before the MuJoCo context's, which then frees into nothing. `close` has the order right.
        context = type(kind.__name__, (kind,), {"__del__": lambda self: None})(width, height)
        context.make_current()
    except Exception as error:  # each back end and driver has its own kinds of failure
        raise no_context(error) from error
    return context


def no_context(error: Exception) -> RenderingError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    wish = os.environ.get("MUJOCO_GL", "")
    advice = f"unset MUJOCO_GL={wish} to have one chosen that works" if wish else _MISSING
    return RenderingError(f"no OpenGL context through {opengl_backend() or 'MuJoCo'}: {reason}; {advice}")


class Offscreen:
    """Draws into an OpenGL context of its own, in the thread that made it, until it is closed."""

    _gl: Any = None
    _context: mujoco.MjrContext | None = None

    def _open(self, stage: mujoco.MjModel, width: int, height: int, shapes: mujoco.MjModel | None) -> mujoco.MjrContext:
        """Make the context, of the textures and planes of `stage`, with the meshes and height fields of `shapes` loaded into it.

        Raises:
            RenderingError: no OpenGL here.
        """
        self._thread = threading.get_ident()
        self._gl = make_gl_context(width, height)
        try:
            self._context = context = mujoco.MjrContext(stage, mujoco.mjtFontScale.mjFONTSCALE_50.value)
            mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, context)
            if shapes is not None:
                for index in range(shapes.nmesh):
                    mujoco.mjr_uploadMesh(shapes, context, index)
                for index in range(shapes.nhfield):
                    mujoco.mjr_uploadHField(shapes, context, index)
            return context
        except mujoco.FatalError as error:
            self.close()
            raise no_context(error) from error

    def _check_open(self) -> None:
        if self._context is None:
            raise RenderingError("this renderer is closed; make a new one")
        if threading.get_ident() != self._thread:
            raise RenderingError("a renderer draws only in the thread that made it; make one in each thread")

    def close(self) -> None:
        """Frees the OpenGL context; a second call does nothing."""
        gl, context, self._gl, self._context = self._gl, self._context, None, None
        if gl is None:
            return
        if context is not None:
            with gl.as_current():
                context.free()
        gl.free()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if not sys.is_finalizing():  # then the driver may be gone already, and the system frees everything
            self.close()


# ------------------------------------------------------------------------------------------------------------------------- stage

_BLUE = (0.29, 0.47, 0.78, 1.0)
_TRIM = np.array([0.13, 0.16, 0.24, 1.0], dtype=np.float32)  # links and visor
_GHOST_THICKNESS = 0.9  # where the character follows its reference closely it covers it, instead of flickering with it
_SUN = np.array([0.30, 0.45, -0.84])  # direction of the light, from behind and above the camera's shoulder

_STAGE = """
<mujoco model="stage">
  <statistic center="0 0 {middle}" extent="{extent}"/>
  <visual>
    <global offwidth="{width}" offheight="{height}" fovy="{fovy}"/>
    <quality shadowsize="{shadow}" offsamples="{samples}" numslices="18" numstacks="9" numquads="1"/>
    <headlight ambient="0.42 0.43 0.46" diffuse="0.22 0.22 0.22" specular="0 0 0"/>
    <map znear="0.05" zfar="14" shadowclip="1.1" shadowscale="0.7" haze="0.45"/>
    <rgba haze="0.80 0.86 0.92 1"/>
  </visual>
  <asset>
    <texture name="sky" type="skybox" builtin="gradient" rgb1="0.36 0.54 0.76" rgb2="0.86 0.91 0.95" width="64" height="384"/>
    <texture name="grid" type="2d" builtin="checker" mark="edge" rgb1="0.60 0.63 0.66" rgb2="0.54 0.57 0.61"
             markrgb="0.74 0.77 0.80" width="256" height="256"/>
    <material name="grid" texture="grid" texuniform="true" texrepeat="0.5 0.5" specular="0" shininess="0" reflectance="0"/>
  </asset>
  <worldbody>
    <light name="sun" type="directional" pos="0 0 4" dir="0 0 -1" diffuse="0.62 0.60 0.56" specular="0.22 0.22 0.22"/>
    <geom name="floor" type="plane" size="0 0 0.05" pos="0 0 {floor}" material="grid" castshadow="false"/>
  </worldbody>
</mujoco>
"""
_FOVY = 40.0


def _stage_model(character: mujoco.MjModel, floor: float, size: float, width: int, height: int) -> mujoco.MjModel:
    """Floor, sky and sun, with room in the context for the character's meshes and height fields."""
    spec = mujoco.MjSpec.from_string(
        _STAGE.format(
            middle=floor + size / 2, extent=1.3 * size, width=width, height=height, fovy=_FOVY, floor=floor, shadow=1024, samples=4
        )
    )
    # Only the places: the character's own are loaded into them later (mjr_uploadMesh), which spares us taking its model apart.
    for index in range(character.nmesh):
        spec.add_mesh(name=f"mesh{index}", uservert=[0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1], userface=[0, 2, 1, 0, 1, 3, 0, 3, 2, 1, 2, 3])
    for index in range(character.nhfield):
        spec.add_hfield(name=f"hfield{index}", size=[1, 1, 1, 1], nrow=2, ncol=2, userdata=[0, 0, 0, 1])
    return spec.compile()


# --------------------------------------------------------------------------------------------------------------------- character


def _load(model: mujoco.MjModel | mujoco.MjSpec | str | Path) -> mujoco.MjModel:
    if isinstance(model, mujoco.MjModel):
        return copy.copy(model)
    if isinstance(model, mujoco.MjSpec):
        return model.copy().compile()
    try:
        if isinstance(model, str) and model.lstrip().startswith("<"):
            return mujoco.MjModel.from_xml_string(model)
        return mujoco.MjModel.from_xml_path(str(model))
    except ValueError as error:
        raise SettingError(f"no model to render: {' '.join(str(error).split())}") from error


def _paint(model: mujoco.MjModel) -> None:
    """Colours without materials: those belong to the character's own context, not to the stage's."""
    own = model.geom_matid >= 0
    model.geom_rgba[own] = model.mat_rgba[model.geom_matid[own]]
    plain = ~own & np.all(np.isclose(model.geom_rgba, (0.5, 0.5, 0.5, 1)), axis=1)  # MuJoCo's default: nobody chose it
    model.geom_rgba[plain & (model.geom_bodyid > 0)] = _BLUE
    model.geom_matid[:] = -1


class Marker(NamedTuple):
    """Something to be seen beside the character: a ball, or an arrow from `position` to `end`.

    Attributes:
        kind: "ball" or "arrow".
        position: (3,) m, world. end: of an arrow, (3,) m.
        size: radius of a ball, half width of an arrow, m.
        color: red, green, blue, opacity, each 0 to 1.
    """

    kind: str
    position: tuple[float, float, float]
    end: tuple[float, float, float] = (0.0, 0.0, 0.0)
    size: float = 0.05
    color: tuple[float, float, float, float] = (0.1, 0.7, 0.3, 1.0)


@dataclass(frozen=True)
class _Visor:
    """A dark band across a round head, so that a picture shows where the character looks."""

    body: int
    position: NDArray[np.float64]  # (3,), m, in the body's frame
    rotation: NDArray[np.float64]  # (3, 3), to the body's frame
    size: NDArray[np.float64]  # (3,), half sizes, m


def _visor(model: mujoco.MjModel, data: mujoco.MjData) -> _Visor | None:
    """For a body called head or neck that ends in a sphere; `data` in the rest pose, in which a character faces +x."""
    for body in range(model.nbody - 1, 0, -1):
        if not any(word in model.body(body).name.lower() for word in ("head", "neck")):
            continue
        first, count = int(model.body_geomadr[body]), int(model.body_geomnum[body])
        heads = [geom for geom in range(first, first + count) if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_SPHERE]
        if heads:
            radius = float(model.geom_size[heads[0], 0])
            to_body = data.xmat[body].reshape(3, 3).T
            position = model.geom_pos[heads[0]] + to_body @ (radius * np.array([0.52, 0.0, 0.16]))
            return _Visor(body, position, to_body, radius * np.array([0.56, 0.82, 0.24]))
    return None


def _links(model: mujoco.MjModel, root: int) -> list[tuple[int, int]]:
    """Pairs of bodies, parent and child, to be joined by a rod; a last body is paired with itself, for a rod to its centre."""
    tree = [body for body in range(root + 1, model.nbody) if model.body_rootid[body] == model.body_rootid[root]]
    parents = {int(model.body_parentid[body]) for body in tree}
    joined = [(int(model.body_parentid[body]), body) for body in tree if np.linalg.norm(model.body_pos[body]) > 1e-3]
    # The centre of a hand is close to its joint, that of a head is not.
    return joined + [(body, body) for body in tree if body not in parents and np.linalg.norm(model.body_ipos[body]) > 0.1]


class SceneRenderer(Offscreen):
    """Draws a character on an endless floor, seen by a camera that follows it, with the reference as a translucent ghost.

    Any MuJoCo model works; one with a free root is followed. The model is copied and never changed. Its horizontal plane is
    replaced by the stage's floor at the same height, other fixed shapes (boxes, height fields) are drawn as they are. Textures of
    the model are not drawn, the colours of its materials are. Call it from the thread that made it.

    Args:
        model: the character: a compiled model, a spec, an MJCF path, or MJCF text.
        width, height: size of the picture, pixels.
        ghost: whether `render` may be given a second pose, drawn as a ghost.
        ghost_offset: displacement of the ghost, (3,), m: (0, 0, 0) draws it over the character, (0, 1.2, 0) beside it.
        ghost_color: red, green, blue, opacity of the ghost, each 0 to 1.
        azimuth: horizontal direction the camera looks in, degrees: 90 looks along +y, and a character that walks along +x is seen
            from its right side; 180 looks along -x, into its face.
        elevation: vertical direction the camera looks in, degrees: -90 looks straight down.
        distance: distance of the camera, m; by default such that the whole character is seen, with room to jump.
        fps: pictures per second of motion, for the camera's smoothing.

    Raises:
        RenderingError: no OpenGL here; the text says what to install.
        SettingError: a model that cannot be read, or a size or rate that is not positive.
    """

    # The camera follows the root by a low-pass of this time constant (s), never more than `_LAG` character heights behind. A root
    # that moves `_JUMP` heights in one frame did not walk there: a new episode.
    _SMOOTHING, _LAG, _JUMP = 0.35, 0.3, 0.6

    def __init__(
        self,
        model: mujoco.MjModel | mujoco.MjSpec | str | Path,
        width: int = 640,
        height: int = 480,
        ghost: bool = False,
        *,
        ghost_offset: ArrayLike = (0.0, 0.0, 0.0),
        ghost_color: ArrayLike = (1.0, 0.55, 0.12, 0.40),
        azimuth: float = 125.0,
        elevation: float = -10.0,
        distance: float | None = None,
        fps: float = 30.0,
    ) -> None:
        if not (int(width) == width > 0 and int(height) == height > 0 and fps > 0):
            raise SettingError(f"width, height and fps must be positive whole pixels and Hz, got {width}, {height} and {fps}")
        self.width, self.height = int(width), int(height)
        self._model = _load(model)
        _paint(self._model)
        self._data = mujoco.MjData(self._model)
        mujoco.mj_kinematics(self._model, self._data)
        free = np.flatnonzero(self._model.jnt_type == mujoco.mjtJoint.mjJNT_FREE)
        self._root = int(self._model.jnt_bodyid[free[0]]) if free.size else min(1, self._model.nbody - 1)
        self._root_address = int(self._model.jnt_qposadr[free[0]]) if free.size else None
        floor = self._replace_floor()
        low, high = self._rest_bounds()
        tall = float(high[2] - low[2])
        self._size = max(tall, 0.8 * float(np.linalg.norm((high - low)[:2])), 1e-2)
        self._links = _links(self._model, self._root)
        self._link_radius = 0.017 * self._size
        self._visor = _visor(self._model, self._data)

        self._ghost: mujoco.MjModel | None = None
        self._offset = np.asarray(ghost_offset, dtype=float).reshape(3)
        if ghost:
            color = np.asarray(ghost_color, dtype=np.float32).reshape(4)
            self._ghost = self._ghost_model(color)
            self._ghost_data = mujoco.MjData(self._ghost)
            self._ghost_trim = color * np.array([0.5, 0.5, 0.5, 1.0], dtype=np.float32)

        beside = float(np.linalg.norm(self._offset)) if ghost else 0.0
        self._camera = mujoco.MjvCamera()
        self._camera.azimuth, self._camera.elevation = float(azimuth), float(elevation)
        fit = (0.78 * self._size + 0.4 * beside) / np.tan(np.radians(_FOVY) / 2)
        self._camera.distance = float(fit * max(1.0, 0.8 * self.height / self.width)) if distance is None else float(distance)
        # A free character will stand on the floor, wherever its rest pose has the root; a fixed one stays where it is.
        self._height = floor + 0.52 * tall if free.size else float(low[2] + high[2]) / 2
        self._camera.lookat[2] = self._height
        self._jump_height = floor + 0.65 * self._size
        self._follow = min(0.33, 1.0 - float(np.exp(-1.0 / (fps * self._SMOOTHING))))  # a jump is followed 3 times as fast
        self._target: NDArray[np.float64] | None = None

        self._option = mujoco.MjvOption()
        self._perturbation = mujoco.MjvPerturb()
        self._option.sitegroup[:] = 0
        self._option.tendongroup[:] = 0
        self._stage = _stage_model(self._model, floor, self._size, self.width, self.height)
        self._stage_data = mujoco.MjData(self._stage)
        mujoco.mj_forward(self._stage, self._stage_data)
        self._scene = mujoco.MjvScene(self._stage, maxgeom=2 * (self._model.ngeom + len(self._links) + 1) + 16)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_HAZE] = 1
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0  # a second drawing of the whole scene
        self._viewport = mujoco.MjrRect(0, 0, self.width, self.height)
        self._open(self._stage, self.width, self.height, self._model)

    def _replace_floor(self) -> float:
        """Hides the model's horizontal planes; their height, or 0 m."""
        fixed_plane = (self._model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE) & (self._model.body_weldid[self._model.geom_bodyid] == 0)
        floors = np.flatnonzero(fixed_plane & (self._data.geom_xmat[:, 8] > 0.999))
        self._model.geom_rgba[floors, 3] = 0.0
        return float(self._data.geom_xpos[floors, 2].max()) if floors.size else 0.0

    def _rest_bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lowest and highest corner of the character in its rest pose, (3,) each, m."""
        tree = self._model.body_rootid[self._model.geom_bodyid] == self._model.body_rootid[self._root]
        geoms = np.flatnonzero(tree & (self._model.geom_type != mujoco.mjtGeom.mjGEOM_PLANE) & (self._model.geom_bodyid > 0))
        if not geoms.size:
            return np.array([-0.5, -0.5, 0.0]), np.array([0.5, 0.5, 1.0])
        center, half = self._model.geom_aabb[geoms, :3], self._model.geom_aabb[geoms, 3:]
        rotation = self._data.geom_xmat[geoms].reshape(-1, 3, 3)
        middle = self._data.geom_xpos[geoms] + np.einsum("gij,gj->gi", rotation, center)
        reach = np.einsum("gij,gj->gi", np.abs(rotation), half)
        return (middle - reach).min(axis=0), (middle + reach).max(axis=0)

    def _ghost_model(self, color: NDArray[np.float32]) -> mujoco.MjModel:
        ghost = copy.copy(self._model)
        moves = ghost.body_weldid[ghost.geom_bodyid] != 0
        ghost.geom_rgba[:] = color
        ghost.geom_rgba[~moves, 3] = 0.0
        ghost.geom_castshadow[:] = 0
        ghost.geom_size[:] *= _GHOST_THICKNESS
        if self._root_address is None:
            ghost.body_pos[self._root] += self._offset
        return ghost

    def render(self, qpos: ArrayLike, ghost_qpos: ArrayLike | None = None, markers: Sequence[Marker] = ()) -> NDArray[np.uint8]:
        """One picture.

        Args:
            qpos: pose of the character, (nq,), as in `MjData.qpos`: m, rad, unit quaternions wxyz.
            ghost_qpos: pose of the ghost, (nq,), or None for a picture without it.
            markers: balls and arrows to show, at most 16.

        Returns:
            Red, green, blue, (height, width, 3), uint8, row 0 on top.

        Raises:
            SettingError: a pose of another shape or not finite, or a ghost that was not announced.
            RenderingError: closed, or called from another thread than the one that made it.
        """
        self._check_open()
        if ghost_qpos is not None and self._ghost is None:
            raise SettingError("a ghost's pose for a renderer without one; make it with SceneRenderer(..., ghost=True)")
        self._data.qpos[:] = self._pose("qpos", qpos)
        mujoco.mj_kinematics(self._model, self._data)
        self._follow_root()

        mujoco.mjv_updateScene(
            self._stage, self._stage_data, self._option, None, self._camera, mujoco.mjtCatBit.mjCAT_ALL.value, self._scene
        )
        for light in self._scene.lights[: self._scene.nlight]:
            if not light.headlight:  # the sun comes along, and its shadow map with it
                light.dir[:] = _SUN / np.linalg.norm(_SUN)
                light.pos[:] = self._camera.lookat - 2.0 * self._size * light.dir
        self._add(self._model, self._data, _TRIM)
        if ghost_qpos is not None and self._ghost is not None:
            self._ghost_data.qpos[:] = self._pose("ghost_qpos", ghost_qpos)
            if self._root_address is not None:
                self._ghost_data.qpos[self._root_address : self._root_address + 3] += self._offset
            mujoco.mj_kinematics(self._ghost, self._ghost_data)
            self._add(self._ghost, self._ghost_data, self._ghost_trim)
        for marker in markers:
            self._mark(marker)

        self._gl.make_current()  # another renderer may have been at work since
        mujoco.mjr_render(self._viewport, self._scene, self._context)
        picture = np.empty((self.height, self.width, 3), dtype=np.uint8)
        mujoco.mjr_readPixels(picture, None, self._viewport, self._context)
        return picture[::-1].copy()  # OpenGL's first row is the lowest

    def _pose(self, name: str, qpos: ArrayLike) -> NDArray[np.float64]:
        pose = np.asarray(qpos, dtype=float)
        if pose.shape != (self._model.nq,):
            raise SettingError(f"{name} must have shape ({self._model.nq},), got {pose.shape}")
        if not np.isfinite(pose).all():
            raise SettingError(f"{name} is not finite at index {int(np.flatnonzero(~np.isfinite(pose))[0])}")
        return pose

    def _follow_root(self) -> None:
        position = self._data.xpos[self._root].copy()
        previous, self._target = self._target, position
        view = self._camera.lookat
        middle = np.append(position[:2], self._height)
        if self._root_address is not None:  # up with a somersault, not with every step
            middle[2] += max(0.0, position[2] - self._jump_height)
        if self._ghost is not None:
            middle[:2] += 0.5 * self._offset[:2]
        if previous is None or np.linalg.norm(position - previous) > self._JUMP * self._size:
            view[:] = middle
            return
        view += self._follow * (middle - view) * (1.0, 1.0, 3.0)
        behind = middle - view
        lag = float(np.linalg.norm(behind))
        if lag > self._LAG * self._size:
            view += behind * (1.0 - self._LAG * self._size / lag)

    def _add(self, model: mujoco.MjModel, data: mujoco.MjData, trim: NDArray[np.float32]) -> None:
        """Adds the model's shapes to the scene, and what makes them legible: links between the bodies, and a visor."""
        first = self._scene.ngeom
        shapes = mujoco.mjtCatBit.mjCAT_STATIC.value | mujoco.mjtCatBit.mjCAT_DYNAMIC.value
        mujoco.mjv_addGeoms(model, data, self._option, self._perturbation, shapes, self._scene)
        for geom in self._scene.geoms[first : self._scene.ngeom]:
            geom.specular = 0.25
        thickness = 1.0 if trim[3] == 1 else _GHOST_THICKNESS
        for start, end in self._links:
            geom = self._extra(mujoco.mjtGeom.mjGEOM_CYLINDER, trim)  # its round ends would double the cost of a picture
            ends = data.xpos[start], data.xpos[end] if start != end else data.xipos[end]
            mujoco.mjv_connector(geom, mujoco.mjtGeom.mjGEOM_CYLINDER.value, thickness * self._link_radius, *ends)
        if self._visor is not None:
            visor = self._visor
            geom = self._extra(mujoco.mjtGeom.mjGEOM_ELLIPSOID, trim)
            world = data.xmat[visor.body].reshape(3, 3)
            geom.pos[:] = data.xpos[visor.body] + world @ visor.position
            geom.mat[:] = world @ visor.rotation
            geom.size[:] = thickness * visor.size

    def _mark(self, marker: Marker) -> None:
        kind = mujoco.mjtGeom.mjGEOM_SPHERE if marker.kind == "ball" else mujoco.mjtGeom.mjGEOM_ARROW
        geom = self._extra(kind, np.array(marker.color, dtype=np.float32))
        if marker.kind == "ball":
            geom.pos[:], geom.size[:] = marker.position, marker.size
        else:
            mujoco.mjv_connector(geom, kind.value, marker.size, np.array(marker.position), np.array(marker.end))

    def _extra(self, kind: mujoco.mjtGeom, color: NDArray[np.float32]) -> mujoco.MjvGeom:
        geom = self._scene.geoms[self._scene.ngeom]
        mujoco.mjv_initGeom(geom, kind.value, np.ones(3), np.zeros(3), np.eye(3).ravel(), color)
        geom.castshadow = int(color[3] == 1)
        geom.transparent = int(color[3] < 1)
        self._scene.ngeom += 1
        return geom
