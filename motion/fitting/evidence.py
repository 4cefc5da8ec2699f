"""Keypoints as the objective takes them: tensors, how sure each is, and what seems to stand still."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mprl.errors import SettingError
from mprl.perception.pose2d import layouts
from mprl.perception.pose2d.keypoints import Keypoints

DETECTOR = 0.01  # deviation of a detector along each axis, of the person's height
STILL = 0.15  # heights a second: about what noise leaves of a foot that stands


@dataclass(frozen=True)
class Evidence:
    """Keypoints as tensors.

    Attributes:
        seen: (V, T, K, 2) px. confidence: (V, T, K).
        deviation: of the detector, (V, 1, 1) px.
        times: of the frames, (T,) s, float64.
        stands: how sure it is that a keypoint stands still between two frames, (T − 1, K).
        name: for messages.
    """

    seen: Tensor
    confidence: Tensor
    deviation: Tensor
    times: Tensor
    stands: Tensor
    name: str

    def steps(self) -> Tensor:
        """The times between frames, (T − 1,) s."""
        return self.times.diff().to(self.seen.dtype)

    def at(self, frames: Tensor) -> Evidence:
        """Some of the frames; of what stands nothing is kept."""
        none = torch.zeros(len(frames) - 1, self.stands.shape[1])
        return replace(self, seen=self.seen[:, frames], confidence=self.confidence[:, frames], times=self.times[frames], stands=none)

    def repeated(self, times: int) -> Evidence:
        """The frames several times over, one time after the other, each frame by itself."""
        return replace(self, seen=self.seen.repeat(1, times, 1, 1), confidence=self.confidence.repeat(1, times, 1))


def gather(keypoints: Keypoints) -> Evidence:
    """Keypoints as the objective takes them.

    Raises:
        SettingError: there is nothing to see in a view.
    """
    seen, confidence = torch.tensor(keypoints.positions), torch.tensor(keypoints.confidence)
    there = confidence > 0
    for view in range(len(seen)):
        if not bool((there[view].sum(dim=1) >= 4).any()):
            where = f"view {view} of {keypoints.name}" if len(seen) > 1 else keypoints.name
            raise SettingError(f"{where}: no frame shows four keypoints or more: nothing can be fitted to it")
    low = seen.masked_fill(~there.unsqueeze(-1), torch.inf).amin(dim=2)
    high = seen.masked_fill(~there.unsqueeze(-1), -torch.inf).amax(dim=2)
    extent = (high - low).amax(dim=-1)  # (V, T)
    if (point := (extent <= 0).all(dim=1)).any():
        where = f"view {int(point.float().argmax())} of {keypoints.name}" if len(seen) > 1 else keypoints.name
        raise SettingError(f"{where}: all keypoints of each frame are at one place; expected those of a person, in pixels")
    height = torch.stack([one[one > 0].quantile(0.9) for one in extent])
    deviation = (DETECTOR * height).clamp(min=0.5)[:, None, None]
    times = torch.arange(keypoints.num_frames, dtype=torch.float64) / keypoints.frame_rate
    return Evidence(seen, confidence, deviation, times, _stands(keypoints, height), keypoints.name)


def _stands(keypoints: Keypoints, height: Tensor) -> Tensor:
    """How sure it is that parts of the feet stand still between two frames, (T - 1, K): their keypoints do, in all views."""
    names = layouts.points(keypoints.layout)
    feet = [name.endswith(("heel", "toe", "foot")) for name in names]
    feet = feet if any(feet) else [name.endswith("ankle") for name in names]
    seen, weight = torch.tensor(keypoints.positions), torch.tensor(keypoints.confidence)
    width = 2 * max(1, round(0.05 * keypoints.frame_rate)) + 1
    box = lambda x: torch.nn.functional.avg_pool1d(x, width, 1, width // 2, count_include_pad=False)  # noqa: E731
    rows = (seen * weight.unsqueeze(-1)).permute(0, 2, 3, 1).flatten(0, 1), weight.permute(0, 2, 1).flatten(0, 1).unsqueeze(1)
    smooth = (box(rows[0]) / box(rows[1]).clamp(min=1e-6)).unflatten(0, (len(seen), -1))  # (V, K, 2, T)
    known = box(rows[1]).unflatten(0, (len(seen), -1)).squeeze(2).clamp(max=1.0)
    speed = smooth.diff(dim=-1).norm(dim=2) * keypoints.frame_rate / height[:, None, None]  # heights a second
    still = ((-(speed / STILL).square()).exp() * torch.minimum(known[..., 1:], known[..., :-1])).amin(dim=0)
    return still.T * torch.tensor(feet, dtype=still.dtype)
