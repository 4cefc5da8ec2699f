"""The SMPL body: shape and pose in, a skinned mesh and its joints out (Loper et al. 2015).

    body = SmplBody.default()
    vertices, joints = body(betas, pose, translation)

M(β, θ) = LBS(T̄ + B_S(β) + B_P(θ), J(β), θ, W), in SMPL's own frame: T-pose, y up, facing +z, the left arm along +x; metres, radians.
The default body is free and ships with the package (`mprl.motion.body.free_body` made it); SMPL's own come from the user's files.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mprl.errors import SettingError
from mprl.motion.body import body_files, skinning
from mprl.motion.body.joints import JOINTS, PARENTS, from_smpl
from mprl.motion.clip import Skeleton

DEFAULT = Path(__file__).parent / "default_body.npz"
_AT_ONCE = 16  # bodies skinned in one go: with more, what lies between the steps would not stay in the processor's cache


class Posed(NamedTuple):
    """A posed body: vertices (B, V, 3) and joints (B, 24, 3), m."""

    vertices: Tensor
    joints: Tensor


class SmplBody:
    """A body model in SMPL's form: V vertices, 24 joints, S directions of shape.

    Attributes:
        v_template: the mean body at rest, (V, 3) m.
        faces: triangles, counter-clockwise seen from outside, (F, 3).
        shapedirs: what each beta adds, (V, 3, S) m.
        posedirs: what each entry of the 23 joint rotations, less the identity's, adds, (V, 3, 207) m.
        J_regressor: joints from the vertices at rest, (24, V).
        weights: of each vertex to the 24 joints, (V, 24).
        parents: of each joint, -1 for the pelvis.
        name, gender, licence, source: what it is, and under what terms it may be used.
    """

    def __init__(self, arrays: Mapping[str, Any], *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> None:
        """`arrays` holds the attributes above as arrays, `faces` also as `f` (SMPL's file); `body_files.read` makes them."""
        tensor = lambda key: torch.as_tensor(np.asarray(arrays[key], dtype=np.float64)).to(device=device, dtype=dtype)  # noqa: E731
        self.v_template = tensor("v_template")
        self.faces = torch.as_tensor(np.asarray(arrays["f"], dtype=np.int64)).to(device)
        self.J_regressor = tensor("J_regressor")
        self.weights = tensor("weights")
        self.parents = PARENTS
        self.name, self.gender = str(arrays.get("name", "")), str(arrays.get("gender", "neutral"))
        self.licence, self.source = str(arrays.get("licence", "")), str(arrays.get("source", ""))
        self._tree = skinning.Tree(PARENTS, device)
        # Blend shapes as rows over planes of coordinates, (S, 3 V) and (207, 3, V).
        shapes = tensor("shapedirs")
        self.num_betas = shapes.shape[-1]
        self._shapes = shapes.permute(2, 1, 0).flatten(1).contiguous()
        self._poses = tensor("posedirs").permute(2, 1, 0).contiguous()
        self._local = skinning.local_corrections(self._poses)
        self._template_planes = self.v_template.T.flatten().contiguous()
        self._weights = self.weights.T.contiguous()
        self._joints_mean = self.J_regressor @ self.v_template
        self._joints_shape = torch.einsum("jv,vcs->sjc", self.J_regressor, shapes).flatten(1)

    @classmethod
    def default(cls, **options: Any) -> SmplBody:
        """The free body that ships with the package. Options: dtype, device."""
        return _load(DEFAULT, tuple(sorted(options.items(), key=lambda item: item[0])))

    @classmethod
    def load(
        cls,
        body: str | Path = "default",
        *,
        gender: str | None = None,
        folder: str | Path | None = None,
        num_betas: int = 10,
        **options: Any,
    ) -> SmplBody:
        """A body from the user's own file, `.pkl` or `.npz`, of SMPL, SMPL-H or SMPL-X.

        The fingers of SMPL-H and SMPL-X rest in the file's mean pose: every body here has SMPL's 24 joints.

        Args:
            body: a path; or "smpl", "smplh", "smplx", looked up in `folder`; or "default", the free body.
            gender: "neutral" (default), "female" or "male"; of a path: default what the file or its name says.
            folder: default: the one that the environment variable MPRL_SMPL names.
            num_betas: most directions of shape to take; the free body has ten.
            options: dtype, device.

        Raises:
            SettingError: it is not there, says where to get it; or the free body is asked for with a gender.
            MotionFormatError: it is no body; names the file and the key.
        """
        if str(body) == "default":
            if gender not in (None, "neutral"):
                raise SettingError(f"the free body is neutral, found gender='{gender}'; SMPL's own: SmplBody.load('smpl', gender=...)")
            if num_betas >= 10:
                return cls.default(**options)
            body = DEFAULT
        return cls(body_files.read(body_files.find(body, gender or "neutral", folder), num_betas, gender), **options)

    def save(self, path: str | Path) -> Path:
        """Write SMPL's own format, `.pkl` (which `smplx.SMPL(model_path=path)` reads) or `.npz`.

        Raises:
            MotionFormatError: it cannot be written there, or the ending is another.
        """
        return body_files.write(self.arrays(), path)

    def arrays(self) -> dict[str, Any]:
        """What SMPL's file holds, as NumPy arrays, and name, gender, licence and source."""
        parents = np.array(self.parents, dtype=np.int64) % 2**32  # the root's parent is 2³² - 1 in SMPL's file
        arrays = {
            key: getattr(self, key).detach().cpu().numpy() for key in ("v_template", "shapedirs", "posedirs", "J_regressor", "weights")
        }
        return {
            **arrays,
            "f": self.faces.cpu().numpy().astype(np.uint32),
            "kintree_table": np.stack((parents, np.arange(len(parents)))),
            "J": self._joints_mean.cpu().numpy(),
            "bs_style": "lbs",
            "bs_type": "lrotmin",
            **{key: getattr(self, key) for key in ("name", "gender", "licence", "source")},
        }

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> SmplBody:
        """The same body elsewhere, or in another precision."""
        return SmplBody(self.arrays(), device=device or self.v_template.device, dtype=dtype or self.v_template.dtype)

    @property
    def shapedirs(self) -> Tensor:
        """(V, 3, S) m."""
        return self._shapes.unflatten(1, (3, -1)).permute(2, 1, 0)

    @property
    def posedirs(self) -> Tensor:
        """(V, 3, 207) m."""
        return self._poses.permute(2, 1, 0)

    @property
    def num_vertices(self) -> int:
        """V."""
        return len(self.v_template)

    def __call__(self, betas: Tensor | None = None, pose: Tensor | None = None, translation: Tensor | None = None) -> Posed:
        """Skin the mesh.

        Args:
            betas: (B, S), or fewer columns: the others are 0. Its B may be 1, as the others'.
            pose: axis-angle of each joint relative to its parent, (B, 24, 3) or (B, 72) rad; the pelvis' relative to the world.
            translation: added to everything, (B, 3) m.

        Raises:
            SettingError: a shape does not fit.
        """
        betas, pose, translation = self._check(betas, pose, translation)
        rotations, rest = skinning.rotation_matrices(pose), self._rest_joints(betas)
        world, joints = skinning.forward_kinematics(rotations, rest, self._tree)
        transforms = skinning.bone_transforms(world, joints, rest)
        feature = (rotations[:, 1:] - torch.eye(3, dtype=pose.dtype, device=pose.device)).flatten(1)
        parts = zip(betas.split(_AT_ONCE), feature.split(_AT_ONCE), transforms.split(_AT_ONCE), strict=True)
        vertices = torch.cat([self._skin(*part) for part in parts])
        return Posed(vertices + translation[:, None], joints + translation[:, None])

    def joints(self, betas: Tensor | None = None, pose: Tensor | None = None, translation: Tensor | None = None) -> Tensor:
        """The joints alone, without a mesh, (B, 24, 3) m; arguments as of the call."""
        betas, pose, translation = self._check(betas, pose, translation)
        _, joints = skinning.forward_kinematics(skinning.rotation_matrices(pose), self._rest_joints(betas), self._tree)
        return joints + translation[:, None]

    def rest_joints(self, betas: Tensor | None = None) -> Tensor:
        """Where the joints are in the T-pose, (B, 24, 3) m."""
        return self._rest_joints(self._check(betas, None, None)[0])

    def skeleton(self, betas: Tensor | None = None) -> Skeleton:
        """The joints of one shape at rest as a `Skeleton` in our frame, z up and x forward; the root's offset is 0."""
        rest = from_smpl(self.rest_joints(betas)[0].detach().double().cpu())
        offsets = torch.stack([rest[joint] - rest[parent] if parent >= 0 else 0 * rest[0] for joint, parent in enumerate(self.parents)])
        return Skeleton(JOINTS, PARENTS, offsets.numpy())

    def _rest_joints(self, betas: Tensor) -> Tensor:
        return self._joints_mean + (betas @ self._joints_shape).unflatten(1, (-1, 3))

    def _skin(self, betas: Tensor, feature: Tensor, transforms: Tensor) -> Tensor:
        """(B, S), (B, 207) and (B, 24, 3, 4) -> (B, V, 3)."""
        points = torch.addmm(self._template_planes, betas, self._shapes)
        if self._local is None:
            points = torch.addmm(points, feature, self._poses.flatten(1)).unflatten(1, (3, -1))
        else:
            points = skinning.add_corrections(points.unflatten(1, (3, -1)), feature, self._local)
        return skinning.blend_skinning(points, transforms, self._weights).transpose(1, 2)

    def _check(self, betas: Tensor | None, pose: Tensor | None, translation: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        like = self.v_template
        betas = like.new_zeros(1, 0) if betas is None else torch.as_tensor(betas, dtype=like.dtype, device=like.device)
        pose = like.new_zeros(1, 24, 3) if pose is None else torch.as_tensor(pose, dtype=like.dtype, device=like.device)
        translation = like.new_zeros(1, 3) if translation is None else torch.as_tensor(translation, dtype=like.dtype, device=like.device)
        betas, translation = (torch.atleast_2d(x) for x in (betas, translation))
        if betas.ndim != 2 or betas.shape[1] > self.num_betas:
            raise SettingError(f"betas: expected (batch, {self.num_betas}) or fewer columns, found {tuple(betas.shape)}")
        if pose.shape[-1] == 72:
            pose = pose.unflatten(-1, (24, 3))
        if pose.ndim == 2:
            pose = pose.unsqueeze(0)
        if pose.ndim != 3 or pose.shape[1:] != (24, 3):
            raise SettingError(f"pose: expected (batch, 24, 3) or (batch, 72), found {tuple(pose.shape)}")
        if translation.ndim != 2 or translation.shape[1] != 3:
            raise SettingError(f"translation: expected (batch, 3), found {tuple(translation.shape)}")
        size = max(len(betas), len(pose), len(translation))
        if any(len(x) not in (1, size) for x in (betas, pose, translation)):
            raise SettingError(f"betas, pose and translation have batches of {len(betas)}, {len(pose)} and {len(translation)}")
        betas = torch.nn.functional.pad(betas, (0, self.num_betas - betas.shape[1]))
        return betas.expand(size, -1), pose.expand(size, -1, -1), translation.expand(size, -1)


@lru_cache(maxsize=4)
def _load(path: Path, options: tuple[tuple[str, Any], ...]) -> SmplBody:
    return SmplBody(body_files.read(path), **dict(options))
