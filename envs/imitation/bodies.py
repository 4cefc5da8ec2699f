"""Which body each world has: one for all, or different shapes of SMPL's in one batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import torch
from numpy.typing import NDArray

from mprl.envs.imitation.layout import simulated
from mprl.envs.imitation.terrain import Terrain
from mprl.errors import SettingError
from mprl.motion import MotionClip, MotionLibrary, SmplCharacter, find_character
from mprl.motion.characters.character import Character
from mprl.motion.characters.smpl import shape_of
from mprl.motion.contacts import body_clearance
from mprl.motion.shapes import Shapes
from mprl.simulation.interface import Simulation
from mprl.simulation.variants import set_variants

MOST_SHAPES = 256  # different bodies in a batch; each takes some .1 s to measure
LARGEST_BETA = 3.0
_SAME = 0.005  # m, between the joints of a clip's skeleton and the character's


@dataclass(frozen=True)
class Bodies:
    """Who is simulated.

    Attributes:
        character: in every world; where shapes differ, the mean of the body model, whose motion the library holds.
        others: the different shapes, or none. which: of `others`, in each world, (W,) int64. betas: of each world, (W, S).
    """

    character: Character
    others: tuple[Character, ...] = ()
    which: NDArray[np.int64] | None = None
    betas: NDArray[np.float64] | None = None


def bodies(character: str | Path | Character, betas: Any, gender: str | None, num_worlds: int) -> Bodies:
    """The bodies of some worlds.

    Args:
        character: a name, an MJCF file or a `Character`.
        betas: one shape (S,), shapes (N, S) that worlds take in turn, or "random", "random 1.5": drawn with a standard deviation of 1
            (or 1.5), the same ones each time, no number beyond 3.
        gender: of SMPL's own files.

    Raises:
        MprlError: what is none of these.
    """
    if betas is None or (not isinstance(betas, str) and np.ndim(betas) < 2 and not isinstance(character, Character)):
        return Bodies(find_character(character, betas, gender))
    base = find_character(character, None, gender)
    if not isinstance(base, SmplCharacter):
        raise SettingError(f"betas: the character '{base.name}' has one shape; bodies of different shape are character='smpl'")
    count = len(base.betas)
    if isinstance(betas, str):
        shapes = _drawn(betas, count)[:num_worlds]
    else:
        shapes = np.atleast_2d(shape_of(betas, count))[:num_worlds]
    if len(shapes) > MOST_SHAPES:
        raise SettingError(f"betas: expected at most {MOST_SHAPES} different bodies, which worlds take in turn, found {len(shapes)}")
    which = np.arange(num_worlds) % len(shapes)
    return Bodies(base, tuple(base.others(shapes)), which, shapes[which])


def _drawn(betas: str, count: int) -> NDArray[np.float64]:
    """What "random" and "random 1.5" stand for, (MOST_SHAPES, count)."""
    word, _, spread = betas.strip().partition(" ")
    try:
        deviation = float(spread or 1.0)
    except ValueError:
        deviation = -1.0
    if word != "random" or not 0 < deviation <= LARGEST_BETA:
        raise SettingError(
            f"betas: expected {count} numbers, rows of them, 'random' or 'random SPREAD' (0 to {LARGEST_BETA:g}), found '{betas}'"
        )
    drawn = deviation * np.random.default_rng(0).standard_normal((MOST_SHAPES, count))
    return drawn.clip(-LARGEST_BETA, LARGEST_BETA)


def reshape(
    simulation: Simulation, bodies: Bodies, library: MotionLibrary, terrain: Terrain | None
) -> tuple[list[mujoco.MjModel], Shapes | None]:
    """Give the worlds of a simulation their bodies, where these differ.

    Returns:
        The model of each world, and how the library's motions fit its body; None where all are alike.
    """
    if bodies.which is None:
        return [simulation.model] * simulation.num_worlds, None
    which = torch.as_tensor(bodies.which, device=simulation.device)
    models = [simulated(other, terrain).compile() for other in bodies.others]
    set_variants(simulation, models, which)
    return [models[i] for i in bodies.which], Shapes(library, bodies.others, which)


def fitted(clip: MotionClip, character: Character) -> MotionClip:
    """The clip as the SMPL character can play it: retargeted, unless it is one of a body with just these joints. Others' as they are."""
    if not isinstance(character, SmplCharacter):
        return clip
    own = character.skeleton
    if set(clip.skeleton.names) >= set(own.names):
        order = [clip.skeleton.names.index(name) for name in own.names]
        if np.abs(clip.skeleton.offsets[order][1:] - own.offsets[1:]).max() < _SAME:
            return clip
    from mprl.motion.retarget import retarget

    return replace(retarget(clip, character), contacts=None)


def on_the_floor(library: MotionLibrary, character: Character, within: float = 0.01) -> NDArray[np.bool_]:
    """Which bodies come within so many metres of the floor in each clip, (clips, B); the feet always, all where the character lies down.

    It lies when its root is below a third of its height in the rest pose: what then touches the floor is a matter of millimetres.

    Args:
        library: of the clips.
        character: whose bodies.
        within: m.
    """
    each = min(128, max(8, 4096 // len(library)))  # moments of a clip: this should cost little beside making the environment
    clip = torch.arange(len(library), device=library.durations.device).repeat_interleave(each)
    share = torch.linspace(0, 1, each, device=clip.device).repeat(len(library))
    reference = library.sample(clip, share * library.durations[clip])
    root = reference.root_position[:, 2].view(-1, each).min(dim=1).values.numpy(force=True)
    clearance = body_clearance(character, reference.qpos.double().numpy(force=True)).reshape(len(library), each, -1)
    lies, feet = root < character.model.qpos0[2] / 3, np.isin(character.body_names, character.feet)
    touches: NDArray[np.bool_] = (clearance.min(axis=1) < within) | feet | lies[:, None]
    return touches
