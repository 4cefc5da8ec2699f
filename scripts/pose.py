"""`mprl pose COMMAND`: train models that find people's keypoints, on rendered people, and find them in videos."""

from __future__ import annotations

if __name__ == "__main__" and not __package__:  # python scripts/pose.py: the checkout is on the path, this folder is not
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from mprl.scripts.main import main as mprl

    sys.exit(mprl(["pose", *sys.argv[1:]]))

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from mprl.errors import PerceptionError, SettingError, unknown_name
from mprl.scripts.options import check_folder, check_video, json_object, parse, settings_of_a_model
from mprl.scripts.reading import progress
from mprl.scripts.tables import table

MODELS = ("pose_regression", "cpm", "vitpose", "paf")


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Train a model of 2-D pose on rendered people, which are drawn first.

    The same command again goes on where it was stopped.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """pose_regression, cpm or vitpose (one person), or paf (several)"""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """folder for the model"""
    data: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """pictures, drawn where missing; by default in the model's folder"""
    pictures: Annotated[int, tyro.conf.arg(metavar="N")] = 10_000
    """to draw; a tenth of them is not learned from"""
    motions: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME|FILE ...", help_behavior_hint="")] = ()
    """what people do; by default all motions that ship"""
    pixels: Annotated[int, tyro.conf.arg(metavar="N")] = 96
    """side of a picture; for several people a third more"""
    settings: Annotated[str, tyro.conf.arg(metavar="JSON")] = "{}"
    """further settings of the model: '{"num_stages": 4}'"""
    batch_size: int = 32
    """pictures in a minibatch"""
    epochs: int = 30
    """passes over the pictures"""
    minutes: Annotated[float | None, tyro.conf.arg(metavar="M", help_behavior_hint="")] = None
    """end earlier, with the epoch in which so much time is spent"""
    learning_rate: float = 2e-3
    """of AdamW, at its highest: it rises for a twentieth of the way and falls to 0 at its end"""
    averaging: str = "ema 0.99"
    """of the weights; "none": the last ones"""
    seed: int = 0
    """of everything random"""


@dataclass(frozen=True, kw_only=True)
class DetectOptions:
    """Find people's keypoints in a video or in a folder of pictures, for `mprl motion fit`."""

    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """of `mprl pose train`"""
    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="VIDEO|DIR")]
    """a video, or a folder of pictures"""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """.csv: the person that is seen best, with frame rate and image size; .json: everybody, as OpenPose writes them"""
    frame_rate: Annotated[float | None, tyro.conf.arg(metavar="HZ", help_behavior_hint="")] = None
    """of a folder of pictures; of a video what the file says"""
    video: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """write the frames with what was found in them, .mp4 or .gif"""


def main(argv: Sequence[str]) -> int:
    """Run `mprl pose`."""
    commands: dict[str, tuple[Any, Any]] = {"train": (TrainOptions, train), "detect": (DetectOptions, detect)}
    if not argv or argv[0] in ("-h", "--help"):
        rows = "\n".join(f"  {name:<7} {kind.__doc__.splitlines()[0]}" for name, (kind, _) in commands.items())
        print(f"usage: mprl pose COMMAND [OPTIONS]\n\ncommands:\n{rows}\n\nmprl pose COMMAND --help says more.")
        return 0
    if argv[0] not in commands:
        raise unknown_name("pose command", argv[0], commands, "mprl pose --help")
    kind, run = commands[argv[0]]
    run(parse(kind, f"mprl pose {argv[0]}", argv[1:]))
    return 0


def train(options: TrainOptions) -> None:
    """Draw, learn, save, measure."""
    import torch

    from mprl.envs.people.poses import Poses
    from mprl.envs.people.recording import record_people
    from mprl.envs.people.scenes import SEVERAL, SINGLE, Studio
    from mprl.nn import schedules
    from mprl.perception import models
    from mprl.perception.plug import Perception
    from mprl.perception.pose2d.samples import PoseSamples, spec
    from mprl.perception.trainer import Trainer, TrainerSettings, evaluate
    from mprl.perception.training.state import Progress

    if options.model not in MODELS:
        raise unknown_name("model of 2-D pose", options.model, MODELS, f"known: {', '.join(MODELS)}")
    if options.pictures < 20:
        raise SettingError(f"pictures must be at least 20, of which 2 are not learned from; found {options.pictures}")
    if options.batch_size < 1:
        raise SettingError(f"batch_size must be at least 1, found {options.batch_size}")
    scenery, pixels = SINGLE, options.pixels
    if options.model == "paf":
        scenery, pixels = SEVERAL, 4 * round(options.pixels / 3)
    scenery = dataclasses.replace(scenery, height=pixels, width=pixels)
    minutes = math.inf if options.minutes is None else options.minutes
    plan = TrainerSettings(
        epochs=options.epochs,
        learning_rate=schedules.rise_and_fall(options.learning_rate),
        averaging=options.averaging,
        seed=options.seed,
        minutes=minutes,
    )
    settings, read = json_object("--settings", options.settings), spec(pixels, pixels)
    with settings_of_a_model("--settings", options.settings), torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        network = models.build(options.model, read.input_shape, 51, **settings)
        network.eval()(torch.zeros(1, *read.input_shape))  # what cannot work is said before people are drawn
    poses = Poses.of(options.motions or None)
    data = record_people(options.data or options.out / "data", Studio(poses, scenery), options.pictures, options.seed)
    learned, kept = data.split(0.1)
    samples = PoseSamples(learned, options.batch_size, several=options.model == "paf")
    held_out = dataclasses.replace(samples, dataset=kept, flip=False)
    updates = options.epochs * math.ceil(len(learned) / options.batch_size)

    def share(at: Progress) -> float:
        """Of the way to the end, by epochs or by the time, whichever comes first."""
        return max(at.updates / updates, at.seconds / (60 * minutes))

    Trainer(network, samples, plan, held_out, options.out, progress=True, steps=share).fit(resume=True)
    Perception(network, read, {"layout": "coco_17"}).save(options.out)
    rows = [(name.replace("_", " "), f"{value:.4g}") for name, value in evaluate(network, held_out.batches()).items()]
    table((f"{options.model}, pictures that were not learned from", ""), rows)
    print(f"Try next:\n  mprl pose detect {options.out} VIDEO --out keypoints.csv --video seen.mp4")


def detect(options: DetectOptions) -> None:
    """Find people in every frame, and write them down."""
    from mprl.perception.plug import Perception
    from mprl.perception.pose2d.detector import Detector
    from mprl.perception.pose2d.formats import csv, openpose
    from mprl.perception.pose2d.formats.detections import Detections, Person
    from mprl.perception.pose2d.frames import open_frames
    from mprl.perception.pose2d.load import one_person
    from mprl.simulation.video import write_video

    if options.out.suffix.lower() not in (".csv", ".json"):
        raise SettingError(f"{options.out}: keypoints are written as .csv or .json, not '{options.out.suffix}'")
    check_folder(options.out)
    if options.video is not None:
        check_video(options.video)
        if options.video.resolve() == options.source.resolve():
            raise SettingError(f"{options.video}: would be written over the video; write elsewhere")
    if options.frame_rate is not None and not 0 < options.frame_rate < math.inf:
        raise SettingError(f"--frame-rate must be a positive number of Hz, found {options.frame_rate:g}")
    detector, frames = Detector(Perception.load(options.model)), open_frames(options.source)
    rate = frames.frame_rate if options.frame_rate is None else options.frame_rate
    if rate is None and (options.out.suffix.lower() == ".csv" or options.video is not None):
        raise SettingError(f"{options.source}: pictures do not say their frame rate; give it: --frame-rate 30")
    found: list[list[Person]] = []

    def seen() -> Iterator[Any]:
        with progress("finding people") as bar:
            task = bar.add_task("", total=frames.count)
            for frame, people in zip(frames.read(), detector.follow(frames.read()), strict=True):
                found.append([Person(one.double().numpy()) for one in people])
                bar.advance(task)
                yield _marked(frame, found[-1]) if options.video is not None else frame

    if options.video is None:
        for _ in seen():
            pass
    else:
        assert rate is not None
        write_video(options.video, seen(), rate)
    if not any(found):
        raise PerceptionError(f"{options.source}: nobody was found in any of {len(found)} frames; people should fill most of the picture")
    detections = Detections(options.source, "coco_17", found, [str(number) for number in range(len(found))], rate, frames.size)
    if options.out.suffix.lower() == ".csv":
        csv.write(one_person(detections), options.out)
    else:
        openpose.write(detections, options.out)
    count = sum(bool(people) for people in found)
    print(f"wrote {options.out}: people in {count} of {len(found)} frames")


def _marked(frame: Any, people: Sequence[Any]) -> Any:
    """A frame with limbs drawn on it."""
    import numpy as np
    from PIL import Image, ImageDraw

    from mprl.perception.pose2d.limbs import limbs

    image = Image.fromarray(frame)
    draw, width = ImageDraw.Draw(image), max(1, min(frame.shape[:2]) // 150)
    for person, colour in zip(people, ("#ffe14d", "#4dd2ff", "#ff6ad5", "#7dff6a") * len(people), strict=False):
        for a, b in limbs():
            if min(person.keypoints[a, 2], person.keypoints[b, 2]) > 0.1:
                draw.line([tuple(person.keypoints[end, :2]) for end in (a, b)], fill=colour, width=width)
    return np.asarray(image)
