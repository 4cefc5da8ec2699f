"""Keypoints to SMPL: how far fitted motions are from true ones, with each prior, from one view and from two, and how fast."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from mprl import extras
from mprl.errors import SettingError
from mprl.motion import MotionClip, SmplBody, SmplCharacter, load
from mprl.motion.fitting import metrics, priors, synthetic
from mprl.motion.fitting.points import BodyPoints
from mprl.motion.fitting.smplify import Fitted, Settings, fit
from mprl.motion.retarget import retarget
from mprl.scripts.benchmarks.environment import Measured
from mprl.scripts.benchmarks.report import Figure, Overview

CLIPS = ("walk", "run", "dance_b", "cartwheel", "spinkick", "punch")  # of DeepMimic, which no prior has seen
OTHERS = ("backflip", "crawl", "getup_faceup", "jump", "spin", "stealthy_walk", "zombie_walk")  # that no weight was chosen by either
OURS = ("walk", "spinkick", "punch")
NOISE, DROPPED = 2.0, 0.1
LONG = 600  # frames, of which speed is measured: 10 to 20 s
_PEER_STEPS = 200  # of Adam, as in SPIN: 100 for the camera and 100 for the pose
_NAMES = {"none": "no prior", "gmm": "Gaussian mixture", "vae": "autoencoder"}
_NAMES |= {"regressor": "regressor alone", "learned-descent": "learned descent alone", "both": "network, then SMPLify"}
_NAMES |= {"search": "without a network's guess"}


class Row(NamedTuple):
    """Of one clip: mm, mm, m/s², px."""

    pa_mpjpe: float
    mpjpe: float
    acceleration: float
    reprojection: float


def measure(
    mocap: Path | None, clips: Sequence[str], which: Sequence[str], views: Sequence[int], threads: int, methods: Sequence[str] = ()
) -> Measured:
    """All figures of `mprl benchmark pose`. With `mocap` and no names `OTHERS` are judged too.

    Args:
        mocap: folder of DeepMimic's `humanoid3d_*.txt`; without it clips of ours, and priors that were learned without them.
        clips: names.
        which: priors.
        views: how many cameras.
        threads: of torch, for the record.
        methods: other ones than SMPLify, with the Gaussian mixture; only with `mocap`, as the networks know our clips.
    """
    if mocap is None and methods:
        raise SettingError(
            "the networks that ship have learned from our clips: --methods needs --mocap, a folder with DeepMimic's humanoid3d_*.txt"
        )
    held_out, known = _held_out(mocap, clips)
    known |= dict.fromkeys(methods, "gmm")

    def settings_of(kind: str) -> Settings:
        # the networks have learned from our clips
        network = None if mocap is None or kind == "search" else Settings().network
        return Settings("smplify" if kind in (*priors.NAMES, "search") else kind, network, known[kind])  # type: ignore[arg-type]

    kinds = [(kind, count) for count in views for kind in (*which, *methods)]
    others = _held_out(mocap, OTHERS)[0] if mocap is not None and not clips else []
    rows = {(kind, count): [judge(clip, count, settings_of(kind)) for clip in [*held_out, *others]] for kind, count in kinds}
    medians = {key: _median(found[: len(held_out)]) for key, found in rows.items()}
    medians_of_others = {key: _median(found[len(held_out) :]) for key, found in rows.items() if others}
    longest = max(held_out, key=lambda clip: clip.num_frames)
    peer = _smplx_speed(longest)
    speeds = {(kind, count): speed(longest, count, settings_of(kind)) for kind, count in kinds}
    figures = []
    for (prior, count), row in medians.items():
        what = f"{_NAMES[prior]}, {count} view{'s' * (count > 1)}"
        goal = {1: 60.0, 2: 25.0}.get(count) if prior in ("gmm", "vae", "both") else None
        each = {clip.name: [found.pa_mpjpe] for clip, found in zip([*held_out, *others], rows[prior, count], strict=True)}
        named, unnamed = ({clip.name: each[clip.name] for clip in group} for group in (held_out, others))
        figures.append(
            Figure(f"pa_mpjpe_{prior}_{count}", f"PA-MPJPE, {what}", "mm", row.pa_mpjpe, less_is_better=True,
                   target=("ours", goal) if goal else None, rounds=named)
        )  # fmt: skip
        if others:
            name, value = f"PA-MPJPE of seven others, {what}", medians_of_others[prior, count].pa_mpjpe
            figures.append(Figure(f"pa_mpjpe_others_{prior}_{count}", name, "mm", value, less_is_better=True, rounds=unnamed))
        figures.append(
            Figure(f"speed_{prior}_{count}", f"speed, {what}", "frames/s", speeds[prior, count], peer,
                   against=f"peer Adam through smplx, {_PEER_STEPS} steps as SPIN's", target=("ours", 100.0))
        )  # fmt: skip
    cells = [
        (
            _NAMES[prior], str(count), *(f"{value:.1f}" for value in row),
            *([f"{medians_of_others[prior, count].pa_mpjpe:.1f}"] if others else []), f"{speeds[prior, count]:.0f}",
        )
        for (prior, count), row in medians.items()
    ]  # fmt: skip
    of_others = ("PA-MPJPE of seven others, mm",) if others else ()
    errors = ("PA-MPJPE, mm", "MPJPE, mm", "acceleration error, m/s²", "reprojection, px")
    columns = ("prior or method", "views", *errors, *of_others, "frames/s")
    settings = {"clips": " ".join(clip.name for clip in held_out), "noise_px": NOISE, "dropped": DROPPED, "threads": threads}
    return Measured(figures, settings, Overview(columns, cells))


def _median(rows: Sequence[Row]) -> Row:
    return Row(*(statistics.median(values) for values in zip(*rows, strict=True)))


def judge(clip: MotionClip, views: int, settings: Settings) -> Row:
    """Fit a clip's keypoints, and compare with the clip. One view's camera is unknown; several views' are known."""
    cameras = synthetic.around(clip, views)
    keypoints = synthetic.evidence(clip, cameras, noise=NOISE, dropped=DROPPED)
    fitted = fit(keypoints, cameras if views > 1 else None, settings)
    found, true = _joints(fitted), synthetic.true_points(clip, ())[0]
    if views == 1:  # the estimated world may be turned about its vertical, which nothing in the picture tells: as the cameras are
        a, b = fitted.cameras.rotation[0], cameras.rotation[0]
        found = found @ (b.T @ a).T
    pa_mpjpe, mpjpe = (1e3 * float(error(found, true)) for error in (metrics.pa_mpjpe, metrics.mpjpe))
    return Row(pa_mpjpe, mpjpe, float(metrics.acceleration_error(found, true, clip.frame_rate)), fitted.reprojection)


def speed(clip: MotionClip, views: int, settings: Settings) -> float:
    """Frames a second of a fit to a clip that goes forth and back until it has LONG frames, everything included."""
    cameras = synthetic.around(clip, views)
    once = synthetic.evidence(clip, cameras, noise=NOISE, dropped=DROPPED)
    there_and_back = np.concatenate((np.arange(clip.num_frames), np.arange(clip.num_frames)[-2:0:-1]))
    frames = np.resize(there_and_back, LONG)
    keypoints = replace(once, positions=once.positions[:, frames], confidence=once.confidence[:, frames])
    began = time.perf_counter()
    fit(keypoints, cameras if views > 1 else None, settings)
    return LONG / (time.perf_counter() - began)


def _joints(fitted: Fitted) -> torch.Tensor:
    p = fitted.parameters
    return BodyPoints(())(p.betas, p.root, p.turn, p.pose, p.place)[0]


def _held_out(mocap: Path | None, clips: Sequence[str]) -> tuple[list[MotionClip], dict[str, str | priors.Prior]]:
    """The clips on SMPL's joints, and the priors by name."""
    character = SmplCharacter()
    if mocap is not None:
        files = [mocap / f"humanoid3d_{name}.txt" for name in clips or CLIPS]
        missing = [file for file in files if not file.is_file()]
        if missing:
            raise SettingError(f"{missing[0]}: no such file; --mocap is a folder with DeepMimic's humanoid3d_*.txt")
        return [retarget(load(file), character) for file in files], {name: name for name in priors.NAMES}
    from mprl.motion.fitting.priors.learn import learn

    names = tuple(clips or OURS)
    gaussians, codes = learn(leave_out=names)
    return [retarget(load(name), character) for name in names], {"none": "none", "gmm": gaussians, "vae": codes}


def _smplx_speed(clip: MotionClip, steps: int = 3, most: int = 64) -> float:
    """Frames a second of plain Adam through smplx, which makes the whole mesh in every step."""
    smplx = extras.load("smplx", "comparing with smplx needs", "smpl")
    body = SmplBody.default()
    layer = smplx.SMPL(model_path="", data_struct=smplx.utils.Struct(**body.arrays()), num_betas=10)
    cameras = synthetic.around(clip)
    frames = min(most, clip.num_frames)
    pose = torch.zeros(frames, 69, requires_grad=True)
    turn, place = torch.zeros(frames, 3, requires_grad=True), torch.zeros(frames, 3, requires_grad=True)
    target = cameras.project(synthetic.true_points(clip, ())[0][:frames])[0][0].detach()
    cameras = replace(cameras, translation=cameras.translation + torch.tensor([0.0, 0.0, 1.0]))
    optimizer = torch.optim.Adam((pose, turn, place), lr=0.01)
    began = 0.0
    for step in range(steps + 1):
        if step == 1:
            began = time.perf_counter()
        joints = layer(body_pose=pose, global_orient=turn, transl=place, betas=torch.zeros(frames, 10)).joints[:, :24]
        loss = (cameras.project(joints)[0][0] - target).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return frames / ((time.perf_counter() - began) / steps * _PEER_STEPS)
