"""How fast people are drawn: our rasteriser beside MuJoCo's renderer."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import mujoco
import numpy as np

from mprl.envs.people.camera import looking_at
from mprl.envs.people.light import lit
from mprl.envs.people.poses import Poses
from mprl.envs.people.rasteriser import rasterise
from mprl.envs.people.scenes import SINGLE, Studio
from mprl.motion.body.joints import from_smpl
from mprl.motion.body.smpl import SmplBody
from mprl.scripts.benchmarks.report import Figure, alternate, medians
from mprl.simulation.rendering import Offscreen


class _Uploaded(Offscreen):
    """MuJoCo's renderer with one body's mesh, which it is given anew for each picture, as colours and as labels."""

    def __init__(self, size: int) -> None:
        body = SmplBody.default()
        scene = mujoco.MjSpec()
        scene.visual.global_.offwidth = scene.visual.global_.offheight = size
        scene.visual.quality.offsamples = 0
        scene.add_mesh(name="body", uservert=body.v_template.numpy().flatten(), userface=body.faces.numpy().flatten())
        scene.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname="body")
        self.model = scene.compile()
        data, camera = mujoco.MjData(self.model), mujoco.MjvCamera()
        camera.distance = 2.5
        mujoco.mj_forward(self.model, data)
        self.scene = mujoco.MjvScene(self.model, 10)
        self.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        mujoco.mjv_updateScene(self.model, data, mujoco.MjvOption(), None, camera, mujoco.mjtCatBit.mjCAT_ALL.value, self.scene)
        self.context = self._open(self.model, size, size, None)
        self.place, self.size = mujoco.MjrRect(0, 0, size, size), size

    def __call__(self) -> None:
        mujoco.mjr_uploadMesh(self.model, self.context, 0)
        for labels in (False, True):
            self.scene.flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = labels
            mujoco.mjr_render(self.place, self.scene, self.context)
            colours, depth = np.zeros((self.size, self.size, 3), np.uint8), np.zeros((self.size, self.size), np.float32)
            mujoco.mjr_readPixels(colours, depth, self.place, self.context)


def drawing(seconds: float) -> list[Figure]:
    """The rasteriser beside MuJoCo's renderer, and pictures of one person with all that is known of them, a second of the processor."""
    studio = Studio(Poses.of(["walk"]), dataclasses.replace(SINGLE, people=1))
    body, number = SmplBody.default(), iter(range(10**9))
    points, faces, colours = from_smpl(body.v_template).numpy(), body.faces.numpy(), np.full((len(body.faces), 3), 0.5, np.float32)
    camera = looking_at(points.mean(axis=0), 0.5, 0.1, 2.5).framed(points, 96, 96, 0.9).scaled(2.0)

    def mesh() -> None:
        shown = rasterise(*camera.project(points), faces, 192, 192)
        seen, which = np.unique(shown.face[shown.face >= 0], return_inverse=True)
        lit(colours[seen], points, faces[seen], np.random.default_rng(0))[which]

    def rate(draw: Callable[[], Any]) -> float:
        began = time.process_time()
        for _ in range(8):
            draw()
        return 8 / (time.process_time() - began)

    with _Uploaded(96) as peer:
        ways: dict[str, Callable[[], Any]] = {"mesh": mesh, "peer": peer, "all": lambda: studio.draw(1, first=next(number))}
        m = medians(alternate({name: functools.partial(rate, way) for name, way in ways.items()}, seconds))
    against = (
        "peer MuJoCo's renderer: the same mesh uploaded anew, drawn as colours and as labels, one sample for a pixel where ours has four"
    )
    return [
        Figure("drawing", "one body's mesh as colours, labels and depth, 96 x 96", "pictures/s", m["mesh"], m["peer"], against=against),
        Figure("pictures", "pictures of one person: posed, dressed, drawn, labelled", "pictures/s", m["all"]),
    ]
