"""Every clip that ships is physically plausible, and what measures that finds what is wrong."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from mprl.motion import HUMANOID, MotionClip, load, motions
from mprl.motion.clips.check import Plausibility, check
from mprl.motion.clips.make import CLIPS, SKETCHES
from mprl.motion.clips.pose import dynamics

QUICK = ("jump_in_place", "kick")
# The optimisation has put all of a push into one frame of these, as a blow: 8 to 10 body weights. To be made anew.
BLOWS = ("cartwheel", "jump_in_place", "roll")


@pytest.mark.parametrize("name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in motions()])
def test_shipped_clips_are_plausible(name: str) -> None:
    found = check(load(name))
    assert found.slide < 1.0  # mm a frame
    assert found.sink < 0.5  # mm
    assert found.gravity < 0.05  # g, in flight
    assert found.spin < 2.0  # kg m²/s in flight, where limbs alone would change it by more than 10
    assert found.hand < 0.01 and found.hand95 < 0.05  # body weights
    assert found.lean < 5.0  # mm
    assert found.limit < 3.0  # degrees
    assert found.overlap < 20.0  # mm
    assert found.torque < 1.2 and found.saturated < 0.01
    assert found.push < (11 if name in BLOWS else 4.5)  # body weights


def test_everything_that_ships_can_be_made() -> None:
    assert set(motions()) <= set(CLIPS)


# Half a minute each: one that stands, one that flies and one that is on its hands; all of them with `MPRL_CLIPS=1 pytest -m slow`.
MADE = [name for name in SKETCHES if name in motions()] if os.environ.get("MPRL_CLIPS") else ["squat", "jump_in_place", "crawl"]


@pytest.mark.slow
@pytest.mark.parametrize("name", MADE)
def test_the_script_makes_what_is_shipped(name: str) -> None:
    made, shipped = CLIPS[name](), load(name)
    # bit for bit on one machine; elsewhere linear algebra rounds differently
    np.testing.assert_allclose(made.root_position, shipped.root_position, atol=2e-3)
    np.testing.assert_allclose(made.rotations, shipped.rotations, atol=1e-2)
    np.testing.assert_array_equal(made.contacts, shipped.contacts)


@pytest.fixture(scope="module")
def jump() -> MotionClip:
    return load("jump_in_place")


def test_flight_is_a_parabola_by_muJoCos_centre_of_mass(jump: MotionClip) -> None:
    assert jump.contacts is not None
    air = np.flatnonzero(~jump.contacts.any(axis=1))
    com, time = dynamics(jump).com[air], air / jump.frame_rate
    fall = 2 * np.polyfit(time, com, 2)[0]
    np.testing.assert_allclose(fall, [0, 0, -9.81], atol=0.1)


def _with(jump: MotionClip, **changes: np.ndarray) -> Plausibility:
    return check(replace(jump, **changes))


def test_a_clip_that_floats_slides_or_sinks_is_found_out(jump: MotionClip) -> None:
    clean, frames = check(jump), np.arange(jump.num_frames)
    slid = jump.root_position + np.stack((0.01 * frames, 0 * frames, 0 * frames), axis=1)
    assert _with(jump, root_position=slid).slide == pytest.approx(10.0, abs=0.2)
    assert clean.slide < 0.1
    sunk = jump.root_position - [0, 0, 0.03]
    assert _with(jump, root_position=sunk).sink == pytest.approx(30.0 + clean.sink, abs=0.1)
    # half the height of the flight is half of g
    low = jump.root_position.copy()
    low[:, 2] = low[0, 2] + 0.5 * (low[:, 2] - low[0, 2])
    assert _with(jump, root_position=low).hand > 0.05


def test_lightness_is_found_out(jump: MotionClip) -> None:
    """At twice the speed everything accelerates four times as much: a flight has 4 g, which is 3 g too many."""
    found = check(replace(jump, frame_rate=2 * jump.frame_rate))
    assert found.gravity == pytest.approx(3.0, abs=0.2)


def test_a_leaning_statue_is_found_out() -> None:
    clip = load("squat")
    still = np.repeat(clip.rotations[:1], 30, axis=0)
    turned = still.copy()
    angle = np.radians(20.0)
    pitch = np.array([np.cos(angle / 2), 0.0, np.sin(angle / 2), 0.0])
    root = np.repeat(clip.root_position[:1], 30, axis=0)
    turned[:, 0] = pitch
    statue = replace(clip, rotations=turned, root_position=root, contacts=np.ones((30, 2), dtype=bool))
    from mprl.motion.contacts import body_clearance

    lowered = statue.raised(-float(body_clearance(HUMANOID, HUMANOID.to_qpos(statue).numpy()).min()))
    assert check(lowered).lean > 50
    assert check(clip).lean < 1e-3
