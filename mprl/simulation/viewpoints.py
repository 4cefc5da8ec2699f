"""Where a camera stands: one that the model has, one that follows the character, one in its head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from mprl.errors import SettingError, unknown_name


@dataclass(frozen=True)
class Named:
    """A camera of the model, `name`."""

    name: str


@dataclass(frozen=True)
class Tracking:
    """A camera that moves along with a body, always at the same distance and in the same direction.

    Attributes:
        body: name of the body in the middle; by default the one with the free joint, or else the first.
        azimuth: horizontal direction the camera looks in, degrees: 90 looks along +y, 180 along -x.
        elevation: vertical direction the camera looks in, degrees: -90 looks straight down.
        distance: m; by default 1.6 times the model's extent.
    """

    body: str | None = None
    azimuth: float = 125.0
    elevation: float = -15.0
    distance: float | None = None


@dataclass(frozen=True)
class Head:
    """Egocentric: a camera in the middle of the head, which looks where the face does and does not see the head itself.

    In the rest pose of the model the face looks along +x and its up is +z, as everywhere in this package.

    Attributes:
        body: name of the head; by default a body, else a shape, called head, else a body called neck, whatever else is in the name.
        pitch: degrees that the camera looks above (below where negative) the face's direction.
        fovy: vertical field of view, degrees.
    """

    body: str | None = None
    pitch: float = 0.0
    fovy: float = 90.0


Viewpoint = Named | Tracking | Head


def viewpoint(model: mujoco.MjModel, camera: str | Viewpoint) -> Viewpoint:
    """The viewpoint that is meant: a name of a camera of the model, "tracking", "head", or a viewpoint.

    Raises:
        UnknownNameError: no such camera or body; the known ones are listed.
        SettingError: neither a name nor a viewpoint, or a model without a head.
    """
    own = [model.camera(index).name for index in range(model.ncam)]
    if isinstance(camera, str):
        made: dict[str, Viewpoint] = {"tracking": Tracking(), "head": Head(), **{name: Named(name) for name in own if name}}
        if camera not in made:
            raise unknown_name("camera", camera, made, f"known: {', '.join(made)}")
        camera = made[camera]
    if not isinstance(camera, Named | Tracking | Head):
        raise SettingError(f"camera must be a name or a Named, Tracking or Head camera, found {str(camera)[:60]!r}")
    if isinstance(camera, Named) and camera.name not in own:
        raise unknown_name("camera", camera.name, own, f"known: {', '.join(own)}" if own else "the model has none")
    if isinstance(camera, Tracking | Head) and camera.body is not None:
        _body(model, camera.body)
    if isinstance(camera, Head):
        eyes(model, camera)
    return camera


def root(model: mujoco.MjModel, camera: Tracking) -> int:
    """The body that a tracking camera follows."""
    if camera.body is not None:
        return _body(model, camera.body)
    free = np.flatnonzero(model.jnt_type == mujoco.mjtJoint.mjJNT_FREE)
    return int(model.jnt_bodyid[free[0]]) if free.size else min(1, model.nbody - 1)


@dataclass(frozen=True)
class Eyes:
    """Where the eyes are: `body`, `position` (3,) m and `rotation` (3, 3) in its frame, columns forward, left, up; `geoms` to hide."""

    body: int
    position: NDArray[np.float64]
    rotation: NDArray[np.float64]
    geoms: NDArray[np.int64]


def eyes(model: mujoco.MjModel, camera: Head) -> Eyes:
    """The eyes of a model's character.

    Raises:
        SettingError: no body or shape is called a head.
    """
    body, geoms = _head(model, camera.body)
    data = mujoco.MjData(model)  # in the rest pose, the character faces +x
    mujoco.mj_kinematics(model, data)
    to_body = data.xmat[body].reshape(3, 3).T
    if geoms.size:
        position = to_body @ (data.geom_xpos[geoms].mean(axis=0) - data.xpos[body])
    else:
        position = np.array(model.body_ipos[body])
    angle = np.radians(camera.pitch)
    tilt = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
    return Eyes(body, position, to_body @ tilt, geoms)


def _head(model: mujoco.MjModel, name: str | None) -> tuple[int, NDArray[np.int64]]:
    """A head's body, and the shapes to hide."""
    if name is not None:
        body = _body(model, name)
        return body, np.flatnonzero(model.geom_bodyid == body)
    for word in ("head", "neck"):
        for body in range(1, model.nbody):
            if word in model.body(body).name.lower():
                return body, np.flatnonzero(model.geom_bodyid == body)
        shapes = [geom for geom in range(model.ngeom) if word in model.geom(geom).name.lower() and model.geom_bodyid[geom]]
        if shapes:
            return int(model.geom_bodyid[shapes[0]]), np.array(shapes[:1])
    raise SettingError("the model has no body called head for a camera in it; name one with Head(body=...)")


def _body(model: mujoco.MjModel, name: str) -> int:
    names: Sequence[str] = [model.body(index).name for index in range(model.nbody)]
    if name not in names:
        raise unknown_name("body", name, names, f"known: {', '.join(names[:40])}")
    return names.index(name)
