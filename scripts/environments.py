"""Registered environments: finding one by its id, the options it takes, making a batch of it."""

from __future__ import annotations

import copy
import dataclasses
import enum
import functools
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec, load_env_creator

import mprl  # noqa: F401  registers our environments
from mprl import memory
from mprl.errors import SettingError, unknown_name
from mprl.imports import user_module

if TYPE_CHECKING:
    from mprl.envs.wrappers import Source

# Given by options of the command itself, or of no use on a command line.
_NOT_OPTIONS = ("self", "num_envs", "render_mode", "output", "device", "autoreset_mode")


def find(env_id: str) -> EnvSpec:
    """The registered environment of this id; of `module:Name-v0` the module is imported first, from the current folder too.

    Raises:
        UnknownNameError: no such module or environment.
        SettingError: the module cannot be imported.
    """
    module, _, name = env_id.rpartition(":")
    if module:
        user_module(module)
    try:
        return gym.spec(name)
    except gym.error.Error:
        raise unknown_name("environment", name, gym.registry, "mprl list envs") from None


def ours() -> dict[str, str]:
    """Ids of this package's environments, with the first line of what each is."""
    return {name: summary(spec) for name, spec in sorted(gym.registry.items()) if spec.namespace == "mprl"}


def summary(spec: EnvSpec) -> str:
    """What an environment is: the first sentence of its docstring, without headings and links."""
    text = re.sub(r"^#.*$", "", _documentation(spec), flags=re.MULTILINE).strip()
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(text.split("\n\n")[0].split()))
    return re.split(r"(?<=[.!?]) ", text)[0]


def makes_pictures(spec: EnvSpec) -> bool:
    """Whether an environment has the render mode "rgb_array"."""
    return "rgb_array" in ((getattr(_creator(spec), "metadata", None) or {}).get("render_modes") or ())


def make(
    env_id: str, num_envs: int, device: str | None = None, source: Source | None = None, **settings: Any
) -> gym.vector.VectorEnv[Any, Any, Any]:
    """A batch of an environment: its own batched form where it has one, its table of transitions, or copies stepped in turn.

    Args:
        env_id: as `find` takes it.
        num_envs: number of worlds.
        device: where an environment that can choose is simulated.
        source: of pictures that take the place of its observations.
        settings: its own keyword arguments.

    Raises:
        MprlError: unknown, or something in it or its settings a user can get wrong.
    """
    if num_envs < 1:
        raise SettingError(f"expected at least 1 world, found --num-envs {num_envs}")
    spec = find(env_id)
    accepted = _parameters(spec)
    if source is not None:
        return source.see(make(env_id, num_envs, device, **{**settings, **source.environment_settings}))
    if "output" in accepted:
        settings["output"] = "torch"
    if "device" in accepted and device is not None:
        settings["device"] = device
    try:
        with memory.enough(f"a batch of {num_envs:,} worlds", "take fewer with --num-envs"):
            return _from_table(spec, num_envs, settings) or gym.make_vec(spec, num_envs=num_envs, **settings)
    except gym.error.Error as error:  # a package that is missing, say
        raise SettingError(f"{spec.id}: {str(error).splitlines()[0]}") from None
    except TypeError:
        strange = [name for name in settings if name not in accepted]
        if not strange or any(parameter.kind == parameter.VAR_KEYWORD for parameter in accepted.values()):
            raise
        raise unknown_name("argument", strange[0], accepted, f"of {spec.id}") from None


def _from_table(spec: EnvSpec, num_envs: int, settings: dict[str, Any]) -> gym.vector.VectorEnv[Any, Any, Any] | None:
    """One of Gymnasium's environments that is known by its transitions, stepped from those; None of another one.

    Others of such environments may do more than their `P` says: `TabularVectorEnv.from_env` is for who knows theirs.
    """
    rendered = bool(settings.get("render_mode"))  # a table draws nothing
    if rendered or spec.vector_entry_point is not None or not str(spec.entry_point).startswith("gymnasium.envs.toy_text."):
        return None
    single = gym.make(spec, **settings)
    if not hasattr(single.unwrapped, "P") or getattr(single.unwrapped, "fickle_passenger", False):
        single.close()
        return None
    from mprl.envs.tabular import TabularVectorEnv

    made: gym.vector.VectorEnv[Any, Any, Any] = TabularVectorEnv.from_env(single, num_envs)
    return made


def options(spec: EnvSpec) -> type:
    """A dataclass of the keyword arguments that an environment takes, with their help from its docstring."""
    import tyro

    creator = _creator(spec)
    about, hints = _argument_help(_documentation(spec)), _hints(creator)
    for parent in _kin(creator)[1:]:
        about, hints = {**_argument_help(inspect.cleandoc(parent.__doc__)), **about}, {**_hints(parent), **hints}
    fields: list[tuple[str, Any, Any]] = []
    for name, parameter in _parameters(spec).items():
        if name in _NOT_OPTIONS or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        default = spec.kwargs.get(name, parameter.default)
        required = default is parameter.empty
        kind = _simplified(hints.get(name, str if required else type(default)))
        extras = [tyro.conf.arg(help=about.get(name, ""))]
        if kind is None or not (required or default is None or _fits(kind, default)):
            kind, extras = Any, [*extras, _python_literal()]
        elif default is None:
            kind = kind | None
        standard = dataclasses.field() if required else dataclasses.field(default_factory=functools.partial(copy.copy, default))
        fields.append((name, typing.Annotated[(kind, *extras)], standard))
    made = dataclasses.make_dataclass("EnvironmentOptions", fields, frozen=True, kw_only=True)
    made.__doc__ = f"Keyword arguments of {spec.id}."
    return made


def changed(settings: Any) -> dict[str, Any]:
    """The fields of a dataclass that differ from its defaults."""
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    standard = {f.name: f.default_factory() for f in dataclasses.fields(settings) if callable(f.default_factory)}
    return {name: value for name, value in values.items() if name not in standard or repr(value) != repr(standard[name])}


def _documentation(spec: EnvSpec) -> str:
    """The docstring of the environment's own class, not one that it inherits; of its single form where the batched one has none."""
    for entry in (spec.vector_entry_point, spec.entry_point):
        try:
            creator = load_env_creator(entry) if isinstance(entry, str) else entry
        except (ImportError, AttributeError, gym.error.Error):  # a package that is missing
            continue
        if creator is not None and creator.__doc__:
            return inspect.cleandoc(creator.__doc__)
    return ""


def _creator(spec: EnvSpec) -> Callable[..., Any]:
    entry = spec.vector_entry_point or spec.entry_point
    try:
        creator = load_env_creator(entry) if isinstance(entry, str) else entry
    except (ImportError, AttributeError, gym.error.Error) as error:
        raise SettingError(f"{spec.id}: {str(error).splitlines()[0]}") from None
    if creator is None:
        raise SettingError(f"{spec.id}: registered without an entry point")
    return creator


def _kin(creator: Callable[..., Any]) -> list[Any]:
    """The creator, and those of our own environments that it extends, to which its `**settings` go."""
    classes = inspect.getmro(creator)[1:] if inspect.isclass(creator) else ()
    return [creator, *(kind for kind in classes if kind.__module__.startswith("mprl.envs.") and "__init__" in vars(kind))]


def _parameters(spec: EnvSpec) -> Mapping[str, inspect.Parameter]:
    found: dict[str, inspect.Parameter] = {}
    for kind in _kin(_creator(spec)):
        found = {name: parameter for name, parameter in found.items() if parameter.kind != parameter.VAR_KEYWORD}
        found |= {name: parameter for name, parameter in inspect.signature(kind).parameters.items() if name not in found}
    return found


def _hints(creator: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(creator.__init__ if inspect.isclass(creator) else creator)
    except Exception:  # hints may name what is only imported for type checkers
        return {}


def _simplified(kind: Any) -> Any:
    """The part of a type that can be written on a command line; None if nothing can."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind in (str, int, float, bool, type(None), Path) or origin is typing.Literal:
        return kind
    if inspect.isclass(kind) and issubclass(kind, enum.Enum):
        return kind
    if origin in (typing.Union, types.UnionType):
        members = _distinct(_simplified(member) for member in inner)
        return typing.Union[tuple(members)] if set(members) - {type(None)} else None  # noqa: UP007  made at run time
    if origin in (list, tuple, Sequence) and inner:
        members = _distinct(_simplified(member) for member in inner if member is not Ellipsis)
        if not members or (origin is tuple and Ellipsis not in inner and len(members) != 1):
            return None
        return list[members[0]] if origin is list else tuple[(members[0], ...)]  # type: ignore[valid-type]
    return None


def _fits(kind: Any, value: Any) -> bool:
    """Whether a default value is what its type hint says; people do not always keep to it."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return value in inner
    if origin in (typing.Union, types.UnionType):
        return any(_fits(member, value) for member in inner)
    if origin in (list, tuple):
        return isinstance(value, origin) and all(_fits(inner[0], item) for item in value)
    return isinstance(value, (int, float) if kind is float else kind)


def _distinct(kinds: Iterable[Any]) -> list[Any]:
    found = list(dict.fromkeys(kind for kind in kinds if kind is not None))
    return [kind for kind in found if not (kind is Path and str in found)]


def _python_literal() -> Any:
    """How values without a simple type are read: as Python's literals, otherwise as text."""
    import ast

    import tyro

    def read(words: list[str]) -> Any:
        try:
            return ast.literal_eval(words[0])
        except (ValueError, SyntaxError):
            return words[0]

    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1, metavar="VALUE", instance_from_str=read, is_instance=lambda value: True, str_from_instance=lambda value: [repr(value)]
    )


def _argument_help(docstring: str) -> dict[str, str]:
    """What the section `Args:` of a docstring says about each argument."""
    found: dict[str, str] = {}
    section = re.search(r"^(?:Args|Arguments|Parameters):\n((?:(?: .*)?\n?)*)", docstring, re.MULTILINE)
    for entry in re.split(r"\n(?=    \S)", section.group(1).rstrip()) if section else []:
        names, _, text = entry.strip().partition(":")
        for name in names.split(","):
            found[re.sub(r"\(.*\)", "", name).strip(" `*")] = " ".join(text.split())
    return found
