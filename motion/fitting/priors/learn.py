"""Learn the pose priors that ship: `python -m mprl.motion.fitting.priors.learn`.

The poses come from the clips that ship, brought to SMPL's joints, and from what is made of them: mirrored, with the legs of one, the
trunk of another and an arm of a third, between two of them, shaken, and here and there with a limb anywhere within its limits.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path

import torch
from torch import Tensor

from mprl import files
from mprl.motion import rotations as rot
from mprl.motion.body.joints import JOINTS
from mprl.motion.characters.smpl import SmplCharacter
from mprl.motion.fitting import limits
from mprl.motion.fitting.points import BODY_JOINTS
from mprl.motion.fitting.priors import FILE, mixture
from mprl.motion.fitting.priors.autoencoder import LAYERS, PoseCodes
from mprl.motion.load import load, motions
from mprl.motion.retarget import retarget
from mprl.perception.autoencoders.vae import VAE

_RATE = 20.0  # Hz: neighbouring frames of the clips are nearly the same pose
COMPONENTS, CODE = 12, 24
_FLOOR = 0.04**2  # rad², of the mixture's variances
_LIMBS = (
    ("hip", "knee", "ankle", "foot"),
    ("spine1", "spine2", "spine3", "neck", "head"),
    ("left_collar", "left_shoulder", "left_elbow", "left_wrist"),
    ("right_collar", "right_shoulder", "right_elbow", "right_wrist"),
)
# how much poses are shaken, rad, one standard deviation about each axis
_SHAKEN = {"hip": 0.15, "knee": 0.1, "ankle": 0.1, "spine1": 0.06, "spine2": 0.06, "spine3": 0.06, "neck": 0.1, "head": 0.1,
           "collar": 0.04, "shoulder": 0.25, "elbow": 0.15, "wrist": 0.08, "foot": 0.05}  # fmt: skip
_ANYWHERE = 0.08  # probability that a leg or an arm is anywhere within its limits


def clip_poses(leave_out: Collection[str] = ()) -> Tensor:
    """Poses of the clips that ship and their mirror images, (N, 21, 3) rotation vectors, rad."""
    return clip_frames(leave_out)[:, 1:]


def clip_frames(leave_out: Collection[str] = ()) -> Tensor:
    """The same with the pelvis' rotation in the world before it, (N, 22, 3)."""
    character, found = SmplCharacter(), []
    for name in motions():
        if name in leave_out:
            continue
        clip = retarget(load(name), character)
        step = max(1, round(clip.frame_rate / _RATE))
        turned = torch.tensor(clip.rotations[::step, : BODY_JOINTS + 1], dtype=torch.float32)
        found.append(rot.to_rotation_vector(turned))
    frames = torch.cat(found)
    mirrored = torch.cat((frames[:, :1] * limits.MIRROR, limits.mirror(frames[:, 1:])), dim=1)
    return torch.cat((frames, mirrored))


def varied(poses: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Poses made of others, (count, 21, 3)."""

    def some() -> Tensor:
        return poses[torch.randint(len(poses), (count,), generator=generator)]

    def share(probability: float) -> Tensor:
        return (torch.rand(count, 1, 1, generator=generator) < probability).float()

    low, high = limits.boxes(BODY_JOINTS)
    names = JOINTS[1 : BODY_JOINTS + 1]
    whole, made = some(), torch.empty(count, BODY_JOINTS, 3)
    as_one = share(0.5)
    for limb in _LIMBS:
        at = [index for index, name in enumerate(names) if name in limb or name.split("_")[-1] in limb]
        first = torch.lerp(some(), whole, as_one)
        between = 0.7 * torch.rand(count, 1, 1, generator=generator) * share(0.5)
        made[:, at] = torch.lerp(first, some(), between)[:, at]
    shaken = torch.tensor([_SHAKEN[name.split("_")[-1]] for name in names]).unsqueeze(-1)
    made = made + shaken * torch.randn(made.shape, generator=generator) * (0.3 + 1.2 * torch.rand(count, 1, 1, generator=generator))
    for pair in ("left_hip left_knee", "right_hip right_knee", "left_shoulder left_elbow", "right_shoulder right_elbow"):
        at = [names.index(name) for name in pair.split()]
        anywhere = low + (high - low) * torch.rand(made.shape, generator=generator)
        made[:, at] = torch.lerp(made, anywhere, share(_ANYWHERE))[:, at]
    hinges = torch.tensor([any(name == hinge for hinge, _, _ in limits.HINGES) for name in names])
    return torch.where(hinges[:, None], made.clamp(low, high), made)


def learn_codes(poses: Tensor, generator: torch.Generator, steps: int = 4000, batch: int = 256) -> PoseCodes:
    """Train the autoencoder on (N, D) rad."""
    torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
    network = VAE((poses.shape[1],), CODE, LAYERS)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps)) + 1e-3)
    deviation = 0.0
    for _ in range(steps):
        rows = poses[torch.randint(len(poses), (batch,), generator=generator)]
        loss, metrics = network.loss({"input": rows}, generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        deviation = float(metrics["deviation"])
    return PoseCodes(network, deviation)


def learn(leave_out: Collection[str] = (), seed: int = 0, count: int = 16000) -> tuple[mixture.Mixture, PoseCodes]:
    """Both priors.

    Args:
        leave_out: clips that they must not know.
        seed: of everything that is drawn.
        count: of varied poses, beside the clips' own.
    """
    generator = torch.Generator().manual_seed(seed)
    own = clip_poses(leave_out)
    poses = torch.cat((own.repeat(4, 1, 1), varied(own, count, generator))).flatten(1)
    return mixture.fit(poses, COMPONENTS, _FLOOR, generator), learn_codes(poses, generator)


def main(out: Path = FILE) -> None:
    """Learn both and write them."""
    gaussians, codes = learn()
    tensors = {f"gmm.{key}": getattr(gaussians, key) for key in ("log_weights", "means", "factors")}
    tensors |= {f"vae.{key}": value for key, value in codes.tensors().items()}
    files.write_atomically(out, files.tensor_chunks({key: value.contiguous() for key, value in tensors.items()}))
    print(f"wrote {out}; deviation of the autoencoder {codes.deviation:.3f} rad")


if __name__ == "__main__":
    main()
