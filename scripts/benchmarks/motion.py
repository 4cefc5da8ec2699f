"""Motion: retargeting beside mink's, and sampling a library of very many clips."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mprl.motion import HUMANOID, FolderLibrary, MotionClip, MotionLibrary, SmplCharacter, edit, load
from mprl.motion.characters.character import Character
from mprl.motion.formats import npz
from mprl.motion.retarget import names, retargeted, solver, target_of
from mprl.motion.retarget.target import Target
from mprl.motion.retarget.transfer import Wanted, transfer
from mprl.scripts.benchmarks.environment import Measured
from mprl.scripts.benchmarks.report import Figure, alternate, medians

HOUR = 3600 * 30  # frames
STATES = 4096
_ITERATIONS = 2  # of mink for each frame, from the frame before


def measure(motion: str, seconds: float, clips: int, threads: int) -> Measured:
    """All figures of `mprl benchmark motion`.

    Args:
        motion: what is retargeted, brought to 30 Hz.
        seconds: for each comparison of speed.
        clips: in the library.
        threads: of torch, for the record.
    """
    clip = _long(edit.resample(load(motion), 30.0))
    figures = []
    for name, character in (("smpl", SmplCharacter()), ("humanoid", HUMANOID)):
        figures += _retargeting(name, character, clip, seconds)
    figures += _sampling(clips, seconds)
    return Measured(figures, {"motion": Path(motion).name, "clips": clips, "threads": threads})


def _long(clip: MotionClip, least: int = 1024) -> MotionClip:
    """The motion over and over, as one that ends, so that there is something to do at once."""
    times = -(-least // (clip.num_frames - 1))
    step = (clip.root_position[-1] - clip.root_position[0]) * [1.0, 1.0, 0.0]
    places = np.concatenate([clip.root_position[:-1] + k * step for k in range(times)])
    return replace(clip, root_position=places, rotations=np.tile(clip.rotations[:-1], (times, 1, 1)), contacts=None, loop="none")


def _retargeting(name: str, character: Character, clip: MotionClip, seconds: float) -> list[Figure]:
    target = target_of(character)
    wanted = transfer(clip, names.find(clip.skeleton.names), target)
    qpos = solver.direct(target, wanted)
    few = 128

    def ours() -> float:
        return _rate(clip.num_frames, lambda: retargeted(clip, target))

    def solve() -> float:
        return _rate(clip.num_frames, lambda: solver.solve(target, wanted, qpos, wanted.ankles, clip.frame_rate))

    ways = {"ours": ours, "solver": solve}
    against, peer = "", None
    if _has_mink():
        peer = _mink(target, wanted, qpos[:few])
        ways["peer"] = lambda: _rate(few, peer)
        against = f"peer mink with the same targets, {_ITERATIONS} iterations a frame from the frame before"
    rates = alternate(ways, seconds)
    m = medians(rates)
    hour = [HOUR / rate / 60 for rate in rates["ours"]]
    return [
        Figure(
            f"retarget_hour_{name}", f"an hour at 30 Hz to the {name}", "min", HOUR / m["ours"] / 60, less_is_better=True,
            target=("ours", 10.0), against="floor, feet, limits and inverse kinematics", rounds={"ours": hour},
        ),
        Figure(
            f"inverse_kinematics_{name}", f"inverse kinematics of the {name}", "frames/s", m["solver"], m.get("peer"), against=against,
            rounds=rates,
        ),
    ]  # fmt: skip


def _has_mink() -> bool:
    try:
        import mink  # noqa: F401
    except ImportError:
        return False
    return True


def _mink(target: Target, wanted: Wanted, qpos: torch.Tensor) -> Callable[[], object]:
    """The same with mink: rotations of all bodies, the ankles' places, the root's; limits kept."""
    import mink

    model = target.model
    ankles = (target.roles["left_ankle"], target.roles["right_ankle"])
    tasks: dict[int, Any] = {
        body: mink.FrameTask(body, "body", 45.0 if body in ankles else 7.0 if body == 1 else 0.0, 2.0 if body in ankles else 1.0)
        for body in {*wanted.bodies, *ankles, 1}
    }
    column = {body: m for m, body in enumerate(wanted.bodies)}
    limits = [mink.ConfigurationLimit(model)]

    def run() -> None:
        configuration = mink.Configuration(model, qpos[0].numpy().copy())
        for t in range(len(qpos)):
            for body, task in tasks.items():
                rotation = wanted.rotation[t, column[body]].numpy() if body in column else configuration.data.xquat[body]
                place = qpos[t, :3].numpy() if body == 1 else np.zeros(3)
                if body in ankles:
                    place = wanted.ankles[t, ankles.index(body)].numpy()
                task.set_target(mink.SE3.from_rotation_and_translation(mink.SO3(rotation), place))
            for _ in range(_ITERATIONS):
                step = mink.solve_ik(configuration, list(tasks.values()), 1.0, "daqp", damping=1e-4, limits=limits)
                configuration.integrate_inplace(step, 1.0)

    return run


def _sampling(clips: int, seconds: float) -> list[Figure]:
    """A library of copies of a short clip: sampling goes through the memory as it would of different ones."""
    clip = edit.trim(load("walk"), 0.0, 0.5)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "motions"
        folder.mkdir()
        first = npz.write(clip, folder / "0.npz").read_bytes()
        for number in range(1, clips):
            (folder / f"{number}.npz").write_bytes(first)
        began = time.perf_counter()
        library = FolderLibrary(folder, HUMANOID)
        found = time.perf_counter() - began
        began = time.perf_counter()
        library = FolderLibrary(folder, HUMANOID)
        opened = time.perf_counter() - began
        library.lay_out([0])
        began = time.perf_counter()
        library.lay_out([1])
        once = time.perf_counter() - began
        steps = int(library._steps[0]) + 1
        library._rows.view(clips, steps, -1)[2:] = library._rows[:steps]
        library._there[:] = True
        plain = MotionLibrary([clip], HUMANOID)
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(clips, (STATES,), generator=generator)
        times = clip.duration * torch.rand(STATES, generator=generator)
        ways = {
            "ours": lambda: _milliseconds(lambda: library.sample(ids, times)),
            "limit": lambda: _milliseconds(lambda: plain.sample(ids * 0, times)),
        }
        rounds = alternate(ways, seconds)
        gigabytes = library._rows.numel() * 4 / 2**30
    m = medians(rounds)
    kept = f"{clips:,} clips of {clip.duration:.1f} s: {gigabytes:.1f} GiB of rows on the disk, mapped into memory"
    figures = [
        Figure(
            "library_sample", f"{STATES} states of {clips:,} clips", "ms", m["ours"], limit=m["limit"], less_is_better=True,
            target=("ours", 5.0), against=f"{kept}; limit a library of one clip", rounds=rounds,
        ),
        Figure("library_open", f"opening {clips:,} clips, their index there", "s", opened, less_is_better=True),
        Figure("library_index", f"reading {clips:,} clips for the index, once", "s", found, less_is_better=True),
        Figure("library_lay_out", "laying a clip out when it is first sampled", "ms", 1e3 * once, less_is_better=True),
    ]  # fmt: skip
    return figures


def _rate(frames: int, work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return frames / (time.perf_counter() - began)


def _milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - began)
