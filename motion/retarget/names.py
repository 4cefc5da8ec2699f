"""Which joint is which: from the names of a rig to the joints of SMPL, in whose terms everything is retargeted.

`skeletons/*.toml` hold what common rigs call SMPL's joints, a name or several spellings:

    [joints]
    left_hip = "LeftUpLeg"
    left_foot = ["LeftToeBase", "LeftToe"]

A file of the user's own may name only what is guessed wrongly; `[target]` in it does the same for the skeleton that is moved.
"""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from mprl.errors import SettingError, nearest, unknown_name
from mprl.motion.body.joints import JOINTS

FOLDER = Path(__file__).with_name("skeletons")
REQUIRED = tuple(f"{side}_{joint}" for joint in ("hip", "knee", "ankle") for side in ("left", "right"))

Names = Mapping[str, tuple[str, ...]]
Own = Mapping[str, str | tuple[str, ...]]  # what the user says


@cache
def rigs() -> dict[str, Names]:
    """The maps that ship with the package: for each rig what it calls SMPL's joints."""
    return {path.stem: read(path)[0] for path in sorted(FOLDER.glob("*.toml"))}


def find(names: tuple[str, ...], own: Own | None = None, whose: str = "skeleton") -> dict[str, str]:
    """What a skeleton calls SMPL's joints, guessed from its names; joints that it does not have are left out.

    Namespaces (mixamorig:), prefixes that all names share, capitals and separators make no difference.

    Args:
        names: the skeleton's joints.
        own: what the user says, SMPL's name to the skeleton's, or to several of which it has one; the rest is guessed.
        whose: for messages.

    Raises:
        SettingError: hips, knees or ankles cannot be told: names the closest rig, its file, and what is missing; or two are one joint.
        UnknownNameError: `own` names a joint that does not exist.
    """
    said: dict[str, str] = {}
    for joint, spelled in (own or {}).items():
        if joint not in JOINTS:
            raise unknown_name("joint of SMPL", joint, JOINTS, "in the map of joints")
        spelled = (spelled,) if isinstance(spelled, str) else spelled
        said[joint] = next((name for name in spelled if name in names), "")
        if not said[joint]:
            raise unknown_name("joint", spelled[0], names, f"joints of {whose}, asked for as '{joint}' in the map of joints")
    plain = _plain(names)
    best, found = "", dict[str, str]()
    for rig, spellings in rigs().items():
        matched = {}
        for joint, spelled in spellings.items():
            known = [plain[key] for key in map(_normalised, spelled) if key in plain]
            if known:
                matched[joint] = known[0]
        if len(set(matched.values())) > len(set(found.values())):
            best, found = rig, matched
    found = found | said
    missing = [joint for joint in REQUIRED if joint not in found]
    if missing:
        wanted = rigs().get(best, {}).get(missing[0], (missing[0],))[0] if best else missing[0]
        closest = nearest(wanted, names) or nearest(missing[0], names) or f"; its joints are {', '.join(names)[:200]}"
        rig = f"the closest known rig is '{best}' ({len(found)} joints, {FOLDER / (best + '.toml')})" if best else "no known rig is like it"
        raise SettingError(
            f"{whose}: which joint is {', '.join(missing)}? {rig}{closest} "
            f'Write [joints] {missing[0]} = "..." into a .toml and give it as the map (--map)'
        )
    for first, second in itertools.combinations(REQUIRED, 2):
        if found[first] == found[second]:
            raise SettingError(f"{whose}: '{found[first]}' cannot be both {first} and {second}; say which in the map of joints (--map)")
    found.setdefault("pelvis", names[0])
    return {joint: found[joint] for joint in JOINTS if joint in found}


def read(path: str | Path) -> tuple[Names, Names]:
    """A user's map: what the source and, under [target], the target call SMPL's joints.

    Raises:
        SettingError: no such file, or not of this kind.
        UnknownNameError: a joint that SMPL does not have.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:160]
        raise SettingError(f"{path}: expected TOML with names of joints, cannot be read: {reason}") from None
    for key in content:
        if key not in ("joints", "target"):
            raise unknown_name("key", key, ("joints", "target"), f"in {path}")
    parts = []
    for key in ("joints", "target"):
        part = content.get(key, {})
        if not isinstance(part, dict):
            raise SettingError(f"{path}: [{key}] must be a table of joint names")
        names = {}
        for joint, spelled in part.items():
            if joint not in JOINTS:
                raise unknown_name("joint of SMPL", joint, JOINTS, f"under [{key}] in {path}")
            spelled = [spelled] if isinstance(spelled, str) else spelled
            if not (isinstance(spelled, list) and spelled and all(isinstance(name, str) for name in spelled)):
                raise SettingError(f"{path}: {joint} must be a name or a list of names")
            names[joint] = tuple(spelled)
        parts.append(names)
    return parts[0], parts[1]


def _plain(names: tuple[str, ...]) -> dict[str, str]:
    """Normalised names; of a rig whose names all begin alike (Bip01_, Character1_) without that beginning, too."""
    bare = [name.rpartition(":")[2] for name in names]
    plain: dict[str, str] = {}
    prefix = re.match(r"[A-Za-z0-9]+[ _.-]|", bare[-1])
    shared = prefix.group() if prefix and sum(name.startswith(prefix.group()) for name in bare) > 0.7 * len(bare) else ""
    for start in (shared, ""):
        for name, short in zip(names, bare, strict=True):
            plain.setdefault(_normalised(short.removeprefix(start)), name)
    return plain


def _normalised(name: str) -> str:
    return re.sub(r"[ _.-]", "", name.rpartition(":")[2]).lower()
