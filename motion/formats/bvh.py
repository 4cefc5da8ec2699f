"""BVH, read and written: any hierarchy, any order of channels, any unit and any axis up.

A joint's rotations are the file's, relabelled to z up and x forward; its rest pose is the file's. End sites become joints that do not
turn, named after their parent with "_end". Position channels of the root are its place; a root that only carries the hips is left
out. Those of other joints hold bones that change their length: their mean becomes the bone's offset, and the log says so where they move.
"""

from __future__ import annotations

import io
import logging
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from mprl.errors import MotionFormatError, SettingError
from mprl.motion import rotations as rot
from mprl.motion.clip import MotionClip, Provenance, Skeleton
from mprl.motion.formats import axes
from mprl.motion.formats.bvh_text import Joint, Text, parse
from mprl.motion.formats.files import read_text, write_atomically
from mprl.motion.kinematics import forward_kinematics

log = logging.getLogger("mprl")
END = "_end"
_CLOSE = -1  # in place of a joint: its children are written
_LOOKED_AT = 200  # frames, for which way is up


def read(path: str | Path, *, scale: float | str | None = None, up: str | None = None) -> MotionClip:
    """Read a BVH file as a clip of its own skeleton.

    Args:
        path: the file.
        scale: metres in its unit, or "cm", "m", "inch", ...; found by the skeleton's size if not given, and said in the log.
        up: its axis that points up, "y", "z", "-x", ...; found in the motion if not given, and said in the log.

    Raises:
        MotionFormatError: names the line, what was expected and what was found.
        SettingError: an unknown unit or axis.
    """
    path = Path(path)
    text = _without_empty_ends(parse(path, read_text(path)))
    offsets, moves = _offsets(text)
    rotations = np.stack([_rotations(joint, text.table) for joint in text.joints], axis=1)
    start = _moved_root(text, offsets, moves, rotations)
    _tell_stretched(path, text, offsets, moves, start)
    root, offsets, rotations = moves[start], offsets[start:], rotations[:, start:]
    offsets[0] = 0.0
    names = tuple(joint.name for joint in text.joints[start:])
    parents = tuple(joint.parent - start for joint in text.joints[start:])
    parents = (-1, *parents[1:])
    some = np.linspace(0, len(root) - 1, min(len(root), _LOOKED_AT)).round().astype(int)
    posed, _ = forward_kinematics(Skeleton(names, parents, offsets), torch.as_tensor(root[some]), torch.as_tensor(rotations[some]))
    frame = axes.find(names, parents, offsets, posed.numpy(), scale, up)
    if scale is None or up is None:
        axes.say(path.name, frame)
    turned = np.concatenate((rotations[..., :1], rotations[..., 1:] @ frame.relabel.T), axis=-1)
    skeleton = Skeleton(names, parents, offsets @ frame.relabel.T * frame.scale, rest_pose="as in the file")
    source = f"{path.name} ({frame})"
    try:
        return MotionClip(path.stem, skeleton, text.frame_rate, root @ frame.relabel.T * frame.scale, turned, provenance=Provenance(source))
    except MotionFormatError as error:
        raise MotionFormatError(f"{path}: {error}") from None


def write(clip: MotionClip, path: str | Path, *, scale: float | str = "cm", up: str = "y") -> Path:
    """Write a clip as BVH: y up, facing z, centimetres, so that it reads back to within 1e-9.

    BVH has no place for loops, contacts, betas and licences. A joint that is a leaf, never turns and is named after its
    parent with "_end" becomes an End Site.

    Raises:
        MotionFormatError: it cannot be written there.
        SettingError: an unknown unit, or another axis up than y or z.
    """
    if up not in ("y", "z"):
        raise SettingError(f"up: BVH is written with y or z up, not '{up}'")
    back = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]]) if up == "y" else np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    unit = axes.metres(scale)
    offsets = clip.skeleton.offsets @ back.T / unit
    root = clip.root_position @ back.T / unit
    turned = np.concatenate((clip.rotations[..., :1], clip.rotations[..., 1:] @ back.T), axis=-1)
    out = io.StringIO()
    out.write("HIERARCHY\n")
    order = _write_joint(out, clip, offsets, 0, "")
    degrees = [_euler(turned[:, joint]) for joint in order]
    table = np.concatenate((root, *degrees), axis=1)
    out.write(f"MOTION\nFrames: {clip.num_frames}\nFrame Time: {1 / clip.frame_rate!r}\n")
    np.savetxt(out, table, fmt="%.12g")
    return write_atomically(Path(path), lambda file: file.write(out.getvalue().encode()))


def _without_empty_ends(text: Text) -> Text:
    """End sites of no length are left out: they only say that nothing follows."""
    kept = [index for index, joint in enumerate(text.joints) if not joint.is_end or any(joint.offset or ())]
    where = {index: place for place, index in enumerate(kept)}
    joints = [replace(text.joints[index], parent=where.get(text.joints[index].parent, -1)) for index in kept]
    return replace(text, joints=joints)


def _offsets(text: Text) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Offsets (J, 3), and where joints with position channels are in their parent's frame over time (T, 3), in the file's units."""
    offsets = np.array([joint.offset for joint in text.joints])
    moves: dict[int, np.ndarray] = {}
    for index, joint in enumerate(text.joints):
        said = {"XYZ".index(name[0]): joint.column + k for k, name in enumerate(joint.channels or ()) if name.endswith("position")}
        if index and not said:
            continue
        moves[index] = np.broadcast_to(offsets[index], (len(text.table), 3)).copy()
        for axis, column in said.items():
            values = text.table[:, column]
            # most files repeat the offset in the channels, some add to it; the root's are its place
            added = index > 0 and abs(values.mean()) < abs(values.mean() - offsets[index, axis])
            moves[index][:, axis] = values + (offsets[index, axis] if added else 0)
        offsets[index] = moves[index].mean(axis=0)
    return offsets, moves


def _moved_root(text: Text, offsets: np.ndarray, moves: dict[int, np.ndarray], rotations: np.ndarray) -> int:
    """The joint that carries the motion: the root, or its only child where that one is what is moved about (an empty root above the hips).

    The child's place and rotation then include those of what is above it.
    """
    root = 0
    while True:
        children = [index for index, joint in enumerate(text.joints) if joint.parent == root]
        size = np.abs(offsets[1:]).max(initial=0.0)
        if len(children) != 1 or children[0] not in moves or np.ptp(moves[children[0]], axis=0).max() <= 0.1 * size:
            return root
        child, above = children[0], torch.as_tensor(rotations[:, root])
        moves[child] = moves[root] + rot.rotate(above, torch.as_tensor(moves[child])).numpy()
        rotations[:, child] = rot.multiply(above, torch.as_tensor(rotations[:, child])).numpy()
        root = child


def _tell_stretched(path: Path, text: Text, offsets: np.ndarray, moves: dict[int, np.ndarray], root: int) -> None:
    size = np.abs(offsets[1:]).max(initial=0.0)
    stretched = {text.joints[index].name: np.abs(place - place.mean(axis=0)).max() for index, place in moves.items() if index > root}
    stretched = {name: by for name, by in stretched.items() if by > 1e-3 * size}
    if stretched:
        worst = max(stretched, key=lambda name: stretched[name])
        log.warning(
            "%s: %d bones change their length, '%s' by %.3g units; their mean is kept", path.name, len(stretched), worst, stretched[worst]
        )


def _rotations(joint: Joint, table: np.ndarray) -> np.ndarray:
    """A joint's rotation in each frame, (T, 4): its channels one after the other, each about the axes that the former have turned."""
    result = torch.zeros(len(table), 4, dtype=torch.float64)
    result[:, 0] = 1.0
    for column, name in enumerate(joint.channels or (), start=joint.column):
        if name.endswith("rotation"):
            axis = torch.zeros(3, dtype=torch.float64)
            axis["XYZ".index(name[0])] = 1.0
            angle = torch.as_tensor(np.radians(table[:, column]))
            result = rot.multiply(result, rot.from_axis_angle(axis.expand(len(table), 3), angle))
    return result.numpy()


def _euler(rotation: np.ndarray) -> np.ndarray:
    """Rotations (T, 4) as degrees about z, then x, then y, (T, 3), without jumps where there is a choice."""
    from scipy.spatial.transform import Rotation

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # gimbal lock: one of the angles is chosen, the rotation is the same
        angles = Rotation.from_quat(rotation, scalar_first=True).as_euler("ZXY")
    return np.degrees(np.unwrap(angles, axis=0))


def _is_end(skeleton: Skeleton, joint: int) -> bool:
    above = skeleton.names[skeleton.parents[joint]] + END
    return skeleton.names[joint].rstrip("0123456789") == above


def _write_joint(out: io.StringIO, clip: MotionClip, offsets: np.ndarray, root: int, indent: str) -> list[int]:
    """Write the tree; returns the joints in the order in which their channels follow."""
    skeleton, order = clip.skeleton, []
    children: list[list[int]] = [[] for _ in skeleton.names]
    for joint, parent in enumerate(skeleton.parents[1:], start=1):
        children[parent].append(joint)
    still = np.abs(clip.rotations[..., 1:]).max(axis=(0, 2)) < 1e-12
    stack = [(root, 0)]
    while stack:
        joint, depth = stack.pop()
        tabs = "\t" * depth
        if joint == _CLOSE:
            out.write(f"{tabs}}}\n")
            continue
        offset = " ".join(f"{value + 0.0:.12g}" for value in offsets[joint])
        is_end = joint != root and not children[joint] and still[joint] and _is_end(skeleton, joint)
        if is_end:
            out.write(f"{tabs}End Site\n{tabs}{{\n{tabs}\tOFFSET {offset}\n{tabs}}}\n")
            continue
        kind, positions = ("ROOT", "Xposition Yposition Zposition ") if joint == root else ("JOINT", "")
        name = " ".join(skeleton.names[joint].replace("{", "(").replace("}", ")").split())
        out.write(f"{tabs}{kind} {name}\n{tabs}{{\n{tabs}\tOFFSET {offset}\n")
        out.write(f"{tabs}\tCHANNELS {6 if positions else 3} {positions}Zrotation Xrotation Yrotation\n")
        order.append(joint)
        stack.append((_CLOSE, depth))
        if not children[joint]:
            out.write(f"{tabs}\tEnd Site\n{tabs}\t{{\n{tabs}\t\tOFFSET 0 0 0\n{tabs}\t}}\n")
        stack.extend((child, depth + 1) for child in reversed(children[joint]))
    return order
