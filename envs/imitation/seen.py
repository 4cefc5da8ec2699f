"""The state as cameras tell it, step by step: keypoints in pictures, lifted to a pose by the filter of `motion/fitting/online.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mprl.envs.imitation.layout import CONTROL_RATE, State
from mprl.envs.imitation.perceived import Bodies, PerceivedVectorEnv, check_parts, smpl_balls
from mprl.errors import SettingError, number
from mprl.motion import rotations as rot
from mprl.motion.body.joints import JOINTS
from mprl.motion.characters.character import Character
from mprl.motion.fitting import cameras as cams
from mprl.motion.fitting.imu import pose as bones
from mprl.motion.fitting.online import Estimate, PoseFilter
from mprl.motion.fitting.placing import left_jacobian
from mprl.motion.fitting.points import BODY_JOINTS, BodyPoints
from mprl.perception.pose2d import layouts

PARTS = ("pose", "rates", "root", "speed", "place")  # joints' rotations, all angular velocities, the root's rotation, velocity and place
_FOCAL, _AWAY, _ABOUT, _DOWN = 1.5, 3.5, 50.0, -8.0  # of the picture's height, m, and degrees: where the first camera looks


class Shown(NamedTuple):
    """What cameras see of W worlds: rotations of SMPL's joints (W, 24, 4), the pelvis' place (W, 3) m, and whether episodes begin."""

    rotations: Tensor
    place: Tensor
    begins: bool


# from true keypoints (V, W, K, 2) px and what is shown, to found ones and their confidences (V, W, K)
Detect = Callable[[Tensor, Shown], tuple[Tensor, Tensor]]


class NoisyDetector:
    """A detector that finds all keypoints, with white noise, but for those that it misses.

    Args:
        noise: standard deviation along each axis, px.
        dropped: probability that a keypoint is missed, in each step and view anew.
        seed: of both.
    """

    def __init__(self, noise: float = 2.0, dropped: float = 0.1, seed: int = 0) -> None:
        self._noise, self._dropped = number("noise in px", noise, 0.0), number("share of keypoints that are missed", dropped, 0.0)
        if self._dropped > 1:
            raise SettingError(f"share of keypoints that are missed must be at most 1, found {dropped:g}")
        self._random = torch.Generator().manual_seed(seed)

    def __call__(self, true: Tensor, shown: Shown) -> tuple[Tensor, Tensor]:
        found = true + self._noise * torch.randn(true.shape, generator=self._random)
        return found, (torch.rand(true.shape[:-1], generator=self._random) >= self._dropped).float()


class Seen:
    """Perceives the SMPL body through cameras on rails, that go along with the motion that is imitated: whoever acts knows where they are.

    Args:
        character: the SMPL body.
        views: how many cameras, a right angle between neighbours, or less where there are more than four.
        detect: the detector; by default `NoisyDetector`.
        deviation: of the detector along each axis, px, as the filter believes.
        layout: of its keypoints.
        image_size: px.
        tells: what is taken from the pictures, of `PARTS`; the rest is the truth.

    Raises:
        SettingError: another character, no camera, or no deviation. UnknownNameError: no such part, or layout.
    """

    def __init__(
        self,
        character: Character,
        views: int = 2,
        detect: Detect | None = None,
        deviation: float = 2.0,
        layout: str = "body_25",
        image_size: tuple[int, int] = (640, 480),
        tells: Sequence[str] = PARTS,
    ) -> None:
        check_parts(tells, PARTS)
        self._joints = smpl_balls(character, "keypoints")  # of the balls, among SMPL's joints
        number("cameras", views, 1, whole=True)
        number("deviation in px", deviation, 1e-3)
        self._tells, self._detect = tuple(tells), detect or NoisyDetector()
        self._bodies, self.cameras = Bodies(character), on_rails(views, image_size)
        self._betas = torch.tensor(getattr(character, "betas"), dtype=torch.float32)  # noqa: B009
        self._points = BodyPoints(layouts.points(layout))
        self._filter = PoseFilter(self._points, self.cameras, CONTROL_RATE, torch.full((views,), float(deviation)), self._betas)

    @torch.no_grad()
    def __call__(self, state: State, envs: PerceivedVectorEnv) -> State:
        rotations = torch.zeros(len(state.rotations), len(JOINTS), 4)
        rotations[..., 0] = 1.0
        rotations[:, self._joints] = state.rotations
        vectors = rot.to_rotation_vector(rotations)
        rails = envs.reference().root_position * torch.tensor([1.0, 1.0, 0.0])
        place = state.root_position - rails
        _, points = self._points(self._betas, torch.eye(3).expand(len(place), 3, 3), vectors[:, 0], vectors[:, 1:], place)
        found = self._detect(self.cameras.project(points)[0], Shown(rotations, place, envs.begins))
        if envs.begins:
            self._filter.begin(self._known(state, vectors))
            return state
        return self._chosen(state, self._filter(*found, rails))

    def _known(self, state: State, vectors: Tensor) -> Estimate:
        """An episode's first state, as the filter has it."""
        root, pose = bones.matrices(state.rotations[:, 0]), vectors[:, 1 : BODY_JOINTS + 1]
        balls = torch.zeros_like(vectors)
        balls[:, self._joints[1:]] = state.velocity[:, 6:].unflatten(1, (-1, 3))
        # MuJoCo's velocities are in the turning body: the right Jacobian is the left one's transpose
        rates = torch.linalg.solve(left_jacobian(pose).transpose(-1, -2), balls[:, 1 : BODY_JOINTS + 1])
        spin = root @ state.velocity[:, 3:6].unsqueeze(-1)
        return Estimate(root, pose, state.root_position, torch.cat((spin.squeeze(-1), rates.flatten(1), state.velocity[:, :3]), dim=1))

    def _chosen(self, true: State, now: Estimate) -> State:
        """A state of the parts that the pictures tell, and of the truth."""
        rotations, velocity = true.rotations.clone(), true.velocity.clone()
        spin, rates, speed = now.rates.split((3, 3 * BODY_JOINTS, 3), dim=1)
        if "root" in self._tells:
            rotations[:, 0] = bones.quaternions(now.root)
        if "pose" in self._tells:
            local = torch.cat((now.pose, torch.zeros_like(now.pose[:, :3])), dim=1)
            rotations[:, 1:] = rot.from_rotation_vector(local)[:, [joint - 1 for joint in self._joints[1:]]]
        if "rates" in self._tells:
            balls = (left_jacobian(now.pose).transpose(-1, -2) @ rates.unflatten(1, (BODY_JOINTS, 3, 1))).squeeze(-1)
            balls = torch.cat((balls, torch.zeros_like(balls[:, :3])), dim=1)
            velocity[:, 3:6] = (now.root.transpose(-1, -2) @ spin.unsqueeze(-1)).squeeze(-1)
            velocity[:, 6:] = balls[:, [joint - 1 for joint in self._joints[1:]]].flatten(1)
        if "speed" in self._tells:
            velocity[:, :3] = speed
        place = now.place if "place" in self._tells else true.root_position
        bodies = self._bodies(place, rotations, true.hinges)
        return true._replace(root_position=place, rotations=rotations, velocity=velocity, bodies=bodies)


def on_rails(views: int, image_size: tuple[int, int]) -> cams.Cameras:
    """Cameras around the origin that see a whole person."""
    focal = _FOCAL * image_size[1]
    return cams.together(
        [
            cams.looking_at((0.0, 0.0, 0.9), _ABOUT + min(90.0, 360.0 / views) * view, _DOWN, _AWAY, focal, image_size)
            for view in range(views)
        ]
    )
