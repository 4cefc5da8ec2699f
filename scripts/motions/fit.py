"""`mprl motion fit`: from the keypoints of a person in pictures to a motion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from mprl.errors import SettingError
from mprl.scripts.options import check_folder, check_video
from mprl.scripts.reading import progress, text


@dataclass(frozen=True)
class Options:
    """Fit the SMPL body to keypoints: OpenPose, COCO or CSV, one view or several."""

    files: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILE|FOLDER ...")]
    """keypoints: OpenPose's folder of .json files or a list of them, COCO's .json, or a .csv; several are several views"""
    out: Annotated[Path, tyro.conf.arg(metavar="OUT.npz")] = Path("fitted.npz")
    """where to write the motion"""
    cameras: Annotated[Path | None, text("FILE")] = None
    """a .json of cameras, one for each view; a single view needs none"""
    focal: Annotated[float | None, text("PX")] = None
    """focal length of a single view's camera; by default estimated"""
    frame_rate: Annotated[float | None, text("HZ")] = None
    """frames per second, where the file does not say"""
    image_size: Annotated[tuple[int, int] | None, text("WIDTH HEIGHT")] = None
    """of the pictures, px, where the file does not say"""
    person: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """which one of several people, the best seen first"""
    layout: Annotated[str | None, text("NAME")] = None
    """which keypoint is which, where their number does not tell: body_25, coco_17, coco_18, smpl_24"""
    method: Literal["smplify", "regressor", "learned-descent", "both"] = "smplify"
    """search and optimisation, a network alone (at once, less exact), or optimisation that starts from a network"""
    prior: Literal["gmm", "vae", "none"] = "gmm"
    """what is known of poses"""
    video: Annotated[Path | None, text("FILE.mp4")] = None
    """film the keypoints, the fit on them, and the fit from the side"""


def run(options: Options, words: Sequence[str] = ()) -> int:
    """Fit, and say how well it went.

    Returns:
        0, or 1 where the fit did not converge.
    """
    from mprl.motion.fitting import cameras as cams
    from mprl.motion.fitting.smplify import Settings, fit
    from mprl.motion.formats import npz
    from mprl.perception.pose2d.load import load

    if not options.files:
        raise SettingError("expected at least one file of keypoints (mprl motion fit --help)")
    if options.out.suffix.lower() != ".npz":
        raise SettingError(f"{options.out}: motions are written as .npz, not '{options.out.suffix}'")
    check_folder(options.out)
    if options.video is not None:
        check_video(options.video)
    if options.focal is not None and not 0 < options.focal < math.inf:
        raise SettingError(f"--focal must be a positive number of pixels, found {options.focal:g}")
    keypoints = load(
        *options.files, person=options.person, layout=options.layout, frame_rate=options.frame_rate, image_size=options.image_size
    )
    cameras = cams.read(options.cameras) if options.cameras is not None else None
    with progress("fitting") as bar:
        task = bar.add_task("", total=None)
        fitted = fit(
            keypoints, cameras, Settings(prior=options.prior, method=options.method), focal=options.focal,
            tell=lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip
    npz.write(fitted.clip, options.out)
    print(f"{keypoints.num_frames} frames of {keypoints.num_views} view{'s' * (keypoints.num_views > 1)}; {fitted.how_far()}")
    print(f"wrote {options.out}")
    if options.video is not None:
        from mprl.scripts.fit_pictures import pictures
        from mprl.simulation.video import write_video

        with progress("filming") as bar:
            task = bar.add_task("", total=keypoints.num_frames)
            write_video(options.video, pictures(keypoints, fitted, lambda: bar.advance(task)), keypoints.frame_rate)
        print(f"wrote {options.video}")
    return 0 if fitted.converged else 1
