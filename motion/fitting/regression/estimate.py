"""What a network that ships makes of a whole sequence: each frame by itself, one shape for all."""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from mprl import files
from mprl.errors import CheckpointError, SettingError, unknown_name
from mprl.motion.fitting import start
from mprl.motion.fitting.cameras import Cameras
from mprl.motion.fitting.evidence import Evidence
from mprl.motion.fitting.imu import pose as bones_of
from mprl.motion.fitting.objective import Objective, Parameters
from mprl.motion.fitting.points import BodyPoints
from mprl.motion.fitting.regression import views
from mprl.motion.fitting.regression.network import KINDS, Steps

log = logging.getLogger("mprl")

WEIGHTS = Path(__file__).with_name("weights")
LEAST = 4  # keypoints that a frame must show


@lru_cache(maxsize=4)
def load(name: str, folder: Path = WEIGHTS) -> Steps:
    """A network that ships, or one of `training`'s in another folder.

    Raises:
        UnknownNameError: there is no such network. CheckpointError: its file is not one.
    """
    if name not in KINDS:
        raise unknown_name("network from keypoints to a body", name, KINDS, f"known: {', '.join(KINDS)}")
    path = folder / f"{name}.safetensors"
    tensors = files.read_tensors(path)
    network = Steps(**KINDS[name])
    try:
        network.load_state_dict({key: value.float() for key, value in tensors.items()})
    except RuntimeError:
        raise CheckpointError(
            f"{path}: expected the weights of a {name}; train it anew: python -m mprl.motion.fitting.regression.training"
        ) from None
    return network.requires_grad_(False).eval()


def of_views(network: Steps, points: BodyPoints, evidence: Evidence, cameras: Cameras) -> Parameters:
    """What each view says of each frame, whose first dimension is V T.

    A view that shows fewer than `LEAST` keypoints of a frame says what another view says of it; where none shows more it says nonsense.
    """
    roots, poses, places, shapes = [], [], [], []
    enough = enough_shown(evidence)
    for view, (seen, confidence) in enumerate(zip(evidence.seen, evidence.confidence, strict=True)):
        shown = views.look_at(*views.arrange(seen, confidence, points.names), cameras.focal[view], cameras.centre[view])
        with torch.no_grad():
            figure = network.figures.figure(network(shown.inputs()))
            to_world = cameras.rotation[view].T @ shown.turn
            roots.append(to_world @ figure.bones[:, 0])
            at = (shown.turn @ figure.place(shown.size).unsqueeze(-1)).squeeze(-1)
            places.append((at - cameras.translation[view]) @ cameras.rotation[view])
            poses.append(bones_of.vectors(figure.local()))
            shapes.append(figure.betas[enough[view]])
    best = torch.where(enough, torch.arange(len(enough)).unsqueeze(1), enough.int().argmax(dim=0))
    row = (best * enough.shape[1] + torch.arange(enough.shape[1])).flatten()
    place = torch.cat(places)
    betas = torch.cat(shapes).mean(dim=0)
    # betas of another body mean something else
    betas = betas if points.body is network.figures.points.body else torch.zeros(points.num_betas)
    return Parameters(betas, torch.zeros(()), torch.cat(roots), torch.zeros_like(place), torch.cat(poses), place).at(row)


def enough_shown(evidence: Evidence) -> Tensor:
    """Whether each view shows `LEAST` keypoints of each frame, (V, T)."""
    return evidence.confidence.gt(0).sum(dim=2) >= LEAST


def of_sequence(network: Steps, objective: Objective) -> tuple[Parameters, Tensor]:
    """Parameters of the frames that show enough, and their numbers (N,): by one view, or by whichever view explains all best over time.

    Which frames are left out, so that others have to bridge them, is said.
    """
    evidence = objective.evidence
    shown = enough_shown(evidence).any(dim=0)
    known = shown.nonzero().squeeze(1)
    if len(known) < 2:
        raise SettingError(
            f"{evidence.name}: the networks need two frames or more that show {LEAST} keypoints in a view, found {len(known)}; "
            "use --method smplify"
        )
    if len(known) < len(shown):
        log.warning(
            "%s: %d of %d frames show fewer than %d keypoints in every view; the network's motion goes through them smoothly: frames %s",
            evidence.name, len(shown) - len(known), len(shown), LEAST, _spans((~shown).nonzero().squeeze(1).tolist()),
        )  # fmt: skip
    some = evidence.at(known)
    found = of_views(network, objective.points, some, objective.cameras)
    count = len(objective.cameras)
    if count > 1:
        alone = Objective(objective.points, some.repeated(count), objective.cameras, objective.prior, objective.weights)
        found = found.at(start.best_path(alone, found, some.steps()))
    return found, known


def _spans(frames: list[int], most: int = 8) -> str:
    """Frames in words: "3, 10 to 19"."""
    spans: list[list[int]] = []
    for frame in frames:
        if spans and frame == spans[-1][1] + 1:
            spans[-1][1] = frame
        else:
            spans.append([frame, frame])
    words = [str(first) if first == last else f"{first} to {last}" for first, last in spans[:most]]
    return ", ".join(words) + (f" and {len(spans) - most} more spans" if len(spans) > most else "")
