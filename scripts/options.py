"""From the words of a command line to a dataclass; a mistake in them becomes one line."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import re
import typing
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mprl.errors import MprlError, SettingError, unknown_name

T = TypeVar("T")

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_FRAME = "╭╮╰╯│─"
# What tyro and Python say, and what a user should read.
_PLAINER = (
    (r"^Error parsing ", ""),
    (r"^Missing from .*?: ", "missing: "),
    (r"^[a-z-]+-settings: ", ""),  # a dataclass's own check of its values
    (r"no type matching (.*) could be instantiated from \['(.*)'\]", r"expected \1, found '\2'"),
    (r"expected \{None\}\|\{(.*?)\}", r"expected \1"),
    (r"'None', ", ""),
    (r"expected \{None\}\|(INT|FLOAT)", "expected a number"),
    (r"invalid literal for int\(\) with base 10: ", "expected a whole number, found "),
    (r"could not convert string to float: ", "expected a number, found "),
    (r"invalid choice ('.*?') for argument '(.*?)'\. Expected one of \((.*?),?\)", r"\2: expected one of \3, found \1"),
)


def parse(options: type[T], command: str, args: Sequence[str], description: str | None = None, help_command: str | None = None) -> T:
    """Parse a command's arguments into the dataclass that describes them.

    Args:
        options: a dataclass whose attributes' docstrings are the help texts.
        command: "mprl train", for messages.
        args: the words after the command.
        description: shown above the options by `--help`, by default the dataclass's docstring.
        help_command: which shows the options, by default `command --help`.

    Raises:
        SettingError: a value is missing or wrong.
        UnknownNameError: an option that does not exist, with the nearest one that does.
        SystemExit: with code 0, after `--help`.
    """
    import tyro

    printed, help_command = io.StringIO(), help_command or f"{command} --help"
    try:
        with contextlib.redirect_stderr(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about defaults that do not fit their annotation: not the user's doing
            parsed, unknown = tyro.cli(
                options,
                prog=command,
                description=description,
                args=list(args),
                return_unknown_args=True,
                config=(tyro.conf.FlagConversionOff,),
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise SettingError(f"{_first_paragraph(printed.getvalue())} ({help_command})") from None
    if unknown:
        raise _unexpected(unknown[0], names(options), help_command)
    return parsed


def json_object(flag: str, text: str) -> dict[str, Any]:
    """Settings that are given as one JSON object.

    Raises:
        SettingError: it is none.
    """
    try:
        found = json.loads(text)
    except ValueError as error:
        raise SettingError(f"{flag} must be JSON, such as '{{\"beta\": 4}}', found {text[:60]!r}: {error}") from None
    if not isinstance(found, dict):
        raise SettingError(f"{flag} must be a JSON object, such as '{{\"beta\": 4}}', found {text[:60]!r}")
    return found


@contextlib.contextmanager
def settings_of_a_model(flag: str, text: str) -> Iterator[None]:
    """Where a model is made of settings that a user gave, of whatever types: what they cannot be is one line."""
    try:
        yield
    except MprlError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:
        raise SettingError(f"{flag} {text}: {' '.join(str(error).split())[:120]}") from None


def check_folder(path: Path) -> None:
    """Say before the work begins that there is no folder for its result.

    Raises:
        SettingError: the file's folder does not exist.
    """
    if not path.absolute().parent.is_dir():
        raise SettingError(f"{path}: the folder {path.parent} does not exist; make it first")


def check_video(path: Path) -> None:
    """Say before the work begins that no film can be written there.

    Raises:
        SettingError: another ending than .mp4 and .gif, or the file's folder does not exist.
    """
    if path.suffix.lower() not in (".mp4", ".gif"):
        raise SettingError(f"{path}: a video is written as .mp4 or .gif, not '{path.suffix}'")
    check_folder(path)


def make_folder(path: Path) -> None:
    """The folder for results, made where there is none.

    Raises:
        SettingError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(f"{path}: expected a folder, cannot be made: {error.strerror}") from None


def _first_paragraph(box: str) -> str:
    """The message in a box that tyro drew, as one line. Where the terminal knows no box characters, it draws with hyphens."""
    lines: list[str] = []
    for line in _COLOURS.sub("", box).splitlines()[1:]:
        text = line.strip(_FRAME + " ")
        if text.strip("-"):
            lines.append(text)
        elif lines:  # a rule: help follows
            break
    text = " ".join(lines)
    for pattern, better in _PLAINER:
        text = re.sub(pattern, better, text)
    return text.rstrip(".")


def _unexpected(word: str, known: list[str], help_command: str) -> MprlError:
    if word.startswith("-"):
        return unknown_name("option", word.split("=")[0].replace("_", "-"), known, help_command)
    return SettingError(f"did not expect '{word}' ({help_command})")


def names(options: Any, prefix: str = "--") -> list[str]:
    """All options of a dataclass and of the dataclasses in it: `--agent`, `--agent.learning-rate`, ..."""
    import tyro

    found = []
    hints = typing.get_type_hints(options, include_extras=True)
    for field in dataclasses.fields(options):
        kind, name = hints[field.name], field.name.replace("_", "-")
        extras = typing.get_args(kind)[1:] if typing.get_origin(kind) is typing.Annotated else ()
        kind = typing.get_args(kind)[0] if extras else kind
        if tyro.conf.Positional in extras:
            continue
        name = next((given for extra in extras if (given := getattr(extra, "name", None))), name)
        found += names(kind, f"{prefix}{name}.") if dataclasses.is_dataclass(kind) else [prefix + name]
    return found
