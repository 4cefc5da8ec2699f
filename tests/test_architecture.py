"""What the folders promise: arrows only point up (scripts → agents, envs → motion → core), and pickle never executes."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

# Folder of each part, and the parts that it may import.
FOLDERS = {"mprl": "mprl", "mprl.motion": "motion", "mprl.envs": "envs", "mprl.agents": "agents", "mprl.scripts": "scripts"}
MAY_IMPORT = {
    "mprl": {"mprl"},
    "mprl.motion": {"mprl", "mprl.motion"},
    "mprl.envs": {"mprl", "mprl.motion", "mprl.envs"},
    "mprl.agents": {"mprl", "mprl.agents"},
    "mprl.scripts": set(FOLDERS),
}
# The one place that knows pickles: its unpickler builds nothing but arrays and plain containers.
RESTRICTED_UNPICKLER = "motion/formats/pickles.py"
UNPICKLERS = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}


def part_of(module: str) -> str:
    """The part that a module of ours belongs to: `mprl.envs.imitation` → `mprl.envs`, `mprl.nn.mlp` → `mprl`."""
    return next((part for part in FOLDERS if part != "mprl" and f"{module}.".startswith(f"{part}.")), "mprl")


def module_name(part: str, folder: Path, file: Path) -> str:
    inside = file.relative_to(folder).with_suffix("").parts
    return ".".join((part, *inside))


@functools.cache
def nodes_of(text: str) -> list[ast.AST]:
    """Those nodes of a source that import, call or name something; both questions are asked of the same text."""
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom | ast.Call | ast.Attribute)]


def imported_modules(nodes: Iterable[ast.AST], module: str) -> Iterator[tuple[int, str]]:
    """(line, module) of every import, wherever in the file: inside functions, under TYPE_CHECKING, relative, or by string."""
    package = module.removesuffix(".__init__") if module.endswith(".__init__") else module.rpartition(".")[0]
    for node in nodes:
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield node.lineno, alias.name
            case ast.ImportFrom(module=source, names=names, level=level):
                parts = package.split(".")
                above = ".".join(parts[: len(parts) - level + 1]) if level else ""
                base = ".".join(filter(None, (above, source)))
                for alias in names:  # `from mprl import envs` imports mprl.envs
                    yield node.lineno, f"{base}.{alias.name}"
            case ast.Call(func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"), args=[first, *_]):
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    yield node.lineno, first.value
            case ast.Attribute(value=ast.Name(id="mprl"), attr=name):  # `mprl.envs.x` works where somebody else imported it
                yield node.lineno, f"mprl.{name}"


def python_files(root: Path) -> Iterator[tuple[str, str, Path]]:
    """(part, module, file) of all our code below `root`."""
    for part, folder in FOLDERS.items():
        for file in sorted((root / folder).rglob("*.py")):
            yield part, module_name(part, root / folder, file), file


def forbidden_imports(root: Path) -> list[str]:
    """`file:line: what` for each import that points down or sideways, or that names a folder instead of `mprl.<folder>`."""
    found = []
    for part, module, file in python_files(root):
        where = file.relative_to(root).as_posix()
        for line, target in imported_modules(nodes_of(file.read_text(encoding="utf-8")), module):
            top = target.partition(".")[0]
            if top == "mprl" and part_of(target) not in MAY_IMPORT[part]:
                found.append(f"{where}:{line}: {part} must not import {part_of(target)}")
            elif top != "mprl" and top in FOLDERS.values():
                found.append(f"{where}:{line}: import mprl.{target}, not {target}: the short name exists only in the root folder")
    return sorted(set(found))


def unsafe_loads(root: Path) -> list[str]:
    """`file:line: what` for everything that could run code out of a data file."""
    found = []
    for _, module, file in python_files(root):
        where = file.relative_to(root).as_posix()
        if where == RESTRICTED_UNPICKLER:
            continue
        nodes = nodes_of(file.read_text(encoding="utf-8"))
        for line, target in imported_modules(nodes, module):
            if target.partition(".")[0] in UNPICKLERS:
                found.append(f"{where}:{line}: {target.partition('.')[0]} executes what it reads")
            if target == "torch.load":
                found.append(f"{where}:{line}: call it as torch.load(..., weights_only=True)")
        for node in nodes:
            if not isinstance(node, ast.Call):
                continue
            keywords = {keyword.arg: keyword.value for keyword in node.keywords}
            allow_pickle = keywords.get("allow_pickle")
            if allow_pickle is not None and not (isinstance(allow_pickle, ast.Constant) and allow_pickle.value is False):
                found.append(f"{where}:{node.lineno}: allow_pickle must be False")
            match node.func:
                case ast.Attribute(value=ast.Name(id="torch"), attr="load"):
                    weights_only = keywords.get("weights_only")
                    if not (isinstance(weights_only, ast.Constant) and weights_only.value is True):
                        found.append(f"{where}:{node.lineno}: torch.load without weights_only=True")
    return sorted(set(found))


def test_arrows_only_point_up(root: Path):
    assert forbidden_imports(root) == []


def test_nothing_unpickles_but_the_restricted_unpickler(root: Path):
    assert unsafe_loads(root) == []


def test_every_folder_was_seen(root: Path):
    seen = {part for part, _, _ in python_files(root)}
    assert seen == set(FOLDERS)
    # A new folder with code must be given its place here first.
    with_code = {folder.name for folder in root.iterdir() if not folder.name.startswith(".") and (folder / "__init__.py").is_file()}
    assert with_code == set(FOLDERS.values())


def test_allowed_imports_are_closed():
    # What a part may import may itself import nothing more; so direct imports are all that needs looking at.
    for part, allowed in MAY_IMPORT.items():
        assert part in allowed
        for other in allowed:
            assert MAY_IMPORT[other] <= allowed


@pytest.fixture
def made_up(tmp_path: Path) -> Path:
    """A tree in which all is well: each part imports all that it may."""
    for part, folder in FOLDERS.items():
        (tmp_path / folder / "inner").mkdir(parents=True)
        lines = [f"import {other}.inner\n" for other in sorted(MAY_IMPORT[part])]
        (tmp_path / folder / "__init__.py").write_text("")
        (tmp_path / folder / "inner" / "__init__.py").write_text("import numpy\n" + "".join(lines))
    return tmp_path


def test_a_tree_in_order_has_no_findings(made_up: Path):
    assert forbidden_imports(made_up) == []
    assert unsafe_loads(made_up) == []


FORBIDDEN = [
    (part, other) for part in FOLDERS for other in FOLDERS if other not in MAY_IMPORT[part]
]  # fmt: skip


@pytest.mark.parametrize(("part", "other"), FORBIDDEN)
def test_every_forbidden_arrow_is_found(made_up: Path, part: str, other: str):
    file = made_up / FOLDERS[part] / "inner" / "new.py"
    file.write_text(f"import torch\nfrom {other} import anything\n")
    assert forbidden_imports(made_up) == [f"{FOLDERS[part]}/inner/new.py:2: {part} must not import {other}"]


@pytest.mark.parametrize(
    "line",
    [
        "import mprl.envs",
        "import mprl.envs.imitation as imitation",
        "from mprl import errors, envs",
        "from mprl.envs.imitation import deepmimic",
        "from ...envs import interop",
        "from ... import envs",
        "from importlib import import_module; import_module('mprl.envs.imitation')",
        "__import__('mprl.envs')",
        "def f():\n    from mprl.envs import interop",
        "if TYPE_CHECKING:\n    from mprl.envs import interop",
        "import mprl; mprl.envs.imitation",
        "import envs",
        "from envs.imitation import deepmimic",
    ],
)
def test_every_way_to_import_is_found(made_up: Path, line: str):
    (made_up / "agents" / "inner" / "new.py").write_text(line + "\n")
    assert len(forbidden_imports(made_up)) == 1


@pytest.mark.parametrize(
    "line", ["from . import inner", "from .inner import x", "from .. import errors", "from mprl.nn import mlp", "import mprl"]
)
def test_imports_upwards_are_allowed(made_up: Path, line: str):
    (made_up / "agents" / "__init__.py").write_text(line + "\n")
    assert forbidden_imports(made_up) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "import numpy as np; np.load('x.npy', allow_pickle=True)",
        "import numpy as np; np.load('x.npy', allow_pickle=flag)",
        "import torch; torch.load('x.pt')",
        "import torch; torch.load('x.pt', weights_only=False)",
        "from torch import load",
        "import joblib",
    ],
)
def test_every_unsafe_load_is_found(made_up: Path, line: str):
    (made_up / "motion" / "inner" / "new.py").write_text(line + "\n")
    assert len(unsafe_loads(made_up)) == 1


@pytest.mark.parametrize("line", ["torch.load('x.pt', weights_only=True)", "np.load('x.npz', allow_pickle=False)", "np.load('x.npz')"])
def test_safe_loads_are_allowed(made_up: Path, line: str):
    (made_up / "motion" / "inner" / "new.py").write_text(f"import numpy as np, torch\n{line}\n")
    assert unsafe_loads(made_up) == []


def test_only_the_restricted_unpickler_may_import_pickle(made_up: Path):
    (made_up / "motion" / "formats").mkdir()
    (made_up / RESTRICTED_UNPICKLER).write_text("import pickle\n")
    assert unsafe_loads(made_up) == []
    (made_up / "envs" / "pickles.py").write_text("import pickle\n")
    assert unsafe_loads(made_up) == ["envs/pickles.py:1: pickle executes what it reads"]
