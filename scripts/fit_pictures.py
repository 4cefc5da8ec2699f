"""Pictures of a fit beside its evidence: the keypoints, the body on them, and the body from the side, which shows what one view cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from mprl.motion.body import joints as smpl
from mprl.motion.fitting.cameras import Cameras, looking_at
from mprl.perception.pose2d import layouts
from mprl.simulation.video import caption

if TYPE_CHECKING:
    from mprl.motion.fitting.smplify import Fitted
    from mprl.perception.pose2d.keypoints import Keypoints

_HEIGHT = 480  # px
_BACK, _FLOOR = (28, 32, 40), (70, 78, 90)
_LEFT, _RIGHT, _MIDDLE = (90, 150, 235), (235, 150, 70), (210, 210, 210)
_BONES = (
    ("neck", "nose"), ("nose", "left_eye"), ("nose", "right_eye"), ("left_eye", "left_ear"), ("right_eye", "right_ear"), ("neck", "head"),
    ("neck", "pelvis"),
    ("pelvis", "spine1"), ("spine1", "spine2"), ("spine2", "spine3"), ("spine3", "neck"), ("left_shoulder", "right_shoulder"),
    ("left_hip", "right_hip"), ("left_shoulder", "left_hip"), ("right_shoulder", "right_hip"),
    *(bone for s in ("left", "right") for bone in (
        ("neck", f"{s}_shoulder"), (f"{s}_shoulder", f"{s}_elbow"), (f"{s}_elbow", f"{s}_wrist"), (f"{s}_wrist", f"{s}_hand"),
        ("pelvis", f"{s}_hip"), (f"{s}_hip", f"{s}_knee"), (f"{s}_knee", f"{s}_ankle"), (f"{s}_ankle", f"{s}_heel"),
        (f"{s}_heel", f"{s}_big_toe"), (f"{s}_big_toe", f"{s}_small_toe"), (f"{s}_ankle", f"{s}_foot"))),
)  # fmt: skip
_LIGHT = np.array([0.4, -0.5, 0.77])


def pictures(keypoints: Keypoints, fitted: Fitted, tell: Callable[[], object] = lambda: None) -> Iterator[np.ndarray]:
    """For each frame the first view's keypoints, the body on them, and the body from the side, (H, 3 W, 3) uint8."""
    body, clip = _body(fitted), fitted.clip
    width, height = keypoints.image_size[0]
    scale = _HEIGHT / height
    size = (round(width * scale), _HEIGHT)
    front = _scaled(fitted.cameras, scale)
    joints = torch.tensor(clip.root_position, dtype=torch.float32)
    side = _from_the_side(joints, fitted.cameras, size)
    for frame in range(keypoints.num_frames):
        vertices = body(frame)
        panels = [_blank(size) for _ in range(3)]
        _draw_keypoints(panels[0], keypoints, frame, scale)
        _draw_body(panels[1], vertices, fitted, front)
        _draw_keypoints(panels[1], keypoints, frame, scale, dots=True)
        _draw_body(panels[2], vertices, fitted, side)
        texts = (f"keypoints · {frame / keypoints.frame_rate:.1f} s", "fit", "fit, from the side")
        yield np.concatenate([caption(np.asarray(panel), words) for panel, words in zip(panels, texts, strict=True)], axis=1)
        tell()


def _body(fitted: Fitted) -> Callable[[int], Tensor]:
    """The vertices of a frame, in the world, (V, 3) m."""
    from mprl.motion import SmplBody

    clip, body = fitted.clip, SmplBody.default()
    pose = smpl.rotations_to_pose(torch.tensor(clip.rotations)).float()
    betas = torch.tensor(clip.betas, dtype=torch.float32)[None]

    def vertices(frame: int) -> Tensor:
        posed = body(betas, pose[frame : frame + 1])
        return smpl.from_smpl(posed.vertices[0] - posed.joints[0, :1]) + torch.tensor(clip.root_position[frame], dtype=torch.float32)

    return vertices


def _scaled(cameras: Cameras, scale: float) -> Cameras:
    return Cameras(cameras.focal[:1] * scale, cameras.centre[:1] * scale, cameras.rotation[:1], cameras.translation[:1])


def _from_the_side(root: Tensor, cameras: Cameras, size: tuple[int, int]) -> Cameras:
    """A camera at a right angle to the first one that sees the whole way."""
    middle = 0.5 * (root.amax(dim=0) + root.amin(dim=0))
    ahead = cameras.rotation[0, 2]
    azimuth = float(torch.rad2deg(torch.atan2(ahead[1], ahead[0]))) + 90.0
    reach = float((root - middle).norm(dim=1).max())
    return looking_at((float(middle[0]), float(middle[1]), 0.9), azimuth, -5.0, 4.0 + 1.5 * reach, 1.3 * size[1], size)


def _blank(size: tuple[int, int]) -> Image.Image:
    return Image.new("RGB", size, _BACK)


def _draw_keypoints(image: Image.Image, keypoints: Keypoints, frame: int, scale: float, dots: bool = False) -> None:
    draw, names = ImageDraw.Draw(image), layouts.points(keypoints.layout)
    at = {
        name: (float(x) * scale, float(y) * scale)
        for name, (x, y), c in zip(names, keypoints.positions[0, frame], keypoints.confidence[0, frame], strict=True)
        if c > 0
    }
    for a, b in () if dots else _BONES:
        if a in at and b in at:
            draw.line((*at[a], *at[b]), fill=_colour(b), width=3)
    for name, (x, y) in at.items():
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=_colour(name))


def _colour(name: str) -> tuple[int, int, int]:
    return _LEFT if name.startswith("left") else _RIGHT if name.startswith("right") else _MIDDLE


def _draw_body(image: Image.Image, vertices: Tensor, fitted: Fitted, camera: Cameras) -> None:
    """The skin, its far triangles first, over a grid on the floor."""
    from mprl.motion import SmplBody

    draw = ImageDraw.Draw(image)
    _draw_floor(draw, fitted, camera)
    faces = SmplBody.default().faces
    pixels, depth = camera.project(vertices)
    corners, far = pixels[0][faces].numpy(), depth[0][faces].mean(dim=1).numpy()
    edges = vertices[faces]
    normal = torch.linalg.cross(edges[:, 1] - edges[:, 0], edges[:, 2] - edges[:, 0]).numpy()
    normal /= np.linalg.norm(normal, axis=1, keepdims=True).clip(1e-12)
    turned = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    facing = (turned[0][:, 0] * turned[1][:, 1] - turned[0][:, 1] * turned[1][:, 0]) < 0  # y is down
    light = (0.55 + 0.45 * (normal @ _LIGHT)).clip(0.2, 1.0)
    for index in np.argsort(-far):
        if facing[index] and far[index] > 0.1:
            shade = light[index]
            draw.polygon([tuple(p) for p in corners[index]], fill=(int(150 * shade), int(185 * shade), int(225 * shade)))


def _draw_floor(draw: ImageDraw.ImageDraw, fitted: Fitted, camera: Cameras) -> None:
    x, y = (float(v) for v in fitted.clip.root_position[:, :2].mean(axis=0))
    lines = torch.arange(-3, 4) * 0.5
    for line in lines.tolist():
        for ends in (((line, -1.5), (line, 1.5)), ((-1.5, line), (1.5, line))):
            points = torch.tensor([[x + a, y + b, 0.0] for a, b in ends])
            pixels, depth = camera.project(points)
            if bool((depth > 0.2).all()):
                draw.line([tuple(p) for p in pixels[0].tolist()], fill=_FLOOR, width=1)
