"""What is installed is what is in the tree, and what the metadata say agrees with it."""

from __future__ import annotations

import ast
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import pytest
from packaging.requirements import Requirement

FOLDERS = {"mprl": "mprl", "motion": "mprl/motion", "envs": "mprl/envs", "agents": "mprl/agents", "scripts": "mprl/scripts"}
# Where a module does not have the name of the distribution that brings it.
DISTRIBUTION = {
    "PIL": "pillow",
    "imageio_ffmpeg": "imageio-ffmpeg",
    "mujoco_warp": "mujoco-warp",
    "sb3_contrib": "sb3-contrib",
    "stable_baselines3": "stable-baselines3",
    "warp": "warp-lang",
}


@pytest.fixture(scope="module")
def tree_files(root: Path) -> list[str]:
    """All files of the checkout that git knows or would take, relative to the root."""
    if not (root / ".git").exists():
        pytest.skip("not a git checkout: there is no list of files to compare with")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True, encoding="utf-8").stdout
    return sorted({name for name in listed.split("\0") if name and (root / name).is_file()})


def installed_path(name: str) -> str | None:
    """Where a file of the tree goes: `envs/interop.py` → `mprl/envs/interop.py`; None if it is not part of the package."""
    folder, _, rest = name.partition("/")
    return f"{FOLDERS[folder]}/{rest}" if rest and folder in FOLDERS else None


def source_version(root: Path) -> str:
    for node in ast.parse((root / "mprl" / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__version__":
            return ast.literal_eval(node.value)
    raise AssertionError("mprl/__init__.py has no __version__")


def test_package_list_is_the_tree(root: Path, tree_files: list[str]):
    packages, data = runpy.run_path(str(root / "setup.py"), run_name="setup")["find_packages"]()
    installed = {path for path in map(installed_path, tree_files) if path}
    python = {path for path in installed if path.endswith(".py")}
    assert set(packages) == {".".join(PurePosixPath(path).parent.parts) for path in python}
    assert {f"{package.replace('.', '/')}/{name}" for package, names in data.items() for name in names} == installed - python
    assert "mprl/py.typed" in installed
    assert "mprl/motion/characters/humanoid.xml" in installed


def test_a_folder_of_code_without_init_is_refused(root: Path, tmp_path: Path):
    find_packages = runpy.run_path(str(root / "setup.py"), run_name="setup")["find_packages"]
    for folder in FOLDERS:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").touch()
    (tmp_path / "agents" / "presets").mkdir()
    (tmp_path / "agents" / "presets" / "walk.json").touch()
    assert find_packages(tmp_path)[1] == {"mprl.agents": ["presets/walk.json"]}
    (tmp_path / "agents" / "presets" / "tune.py").touch()
    with pytest.raises(SystemExit, match=r"agents/presets: .* no __init__\.py"):
        find_packages(tmp_path)


def test_one_version_everywhere(root: Path):
    version = source_version(root)
    newest = re.search(r"^## (\S+)", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest and newest[1].strip("[]") == version
    cited = re.search(r"^version: (\S+)$", (root / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert cited and cited[1] == version


def third_party_imports(nodes: Iterable[ast.AST]) -> set[str]:
    """Top-level names that some of a file's nodes import."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"mprl"}


@pytest.mark.slow
def test_every_import_is_a_declared_dependency(root: Path, tree_files: list[str]):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    core = {Requirement(text).name for text in project["dependencies"]}
    extras = {Requirement(text).name for texts in project["optional-dependencies"].values() for text in texts}
    undeclared, not_core = set(), set()
    for name in tree_files:
        if name.endswith(".py") and installed_path(name):
            tree = ast.parse((root / name).read_text(encoding="utf-8"))
            for module in third_party_imports(ast.walk(tree)):  # in functions too
                if DISTRIBUTION.get(module, module) not in core | extras:
                    undeclared.add(f"{name}: {module}")
            # The GPU back end is modules of its own, imported where it is asked for.
            if not name.startswith("mprl/simulation/gpu"):
                not_core |= {f"{name}: {m}" for m in third_party_imports(tree.body) if DISTRIBUTION.get(m, m) not in core}
    assert not undeclared
    assert not not_core, "optional packages are imported in the function that needs them"


@pytest.mark.slow
@pytest.mark.parametrize("through_sdist", [False, True], ids=["from the tree", "from the source distribution"])
def test_wheel_is_the_tree(root: Path, tree_files: list[str], tmp_path: Path, through_sdist: bool):
    # In a copy, so that neither a former build nor an ignored file can be taken along.
    source = tmp_path / "source"
    for name in tree_files:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, source / name)

    def build(what: str, folder: Path) -> Path:
        script = f"from setuptools import build_meta; print(build_meta.build_{what}({str(tmp_path)!r}))"
        done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return tmp_path / done.stdout.splitlines()[-1]

    if through_sdist:
        archive = build("sdist", source)
        shutil.unpack_archive(archive, tmp_path, filter="data")
        source = tmp_path / archive.name.removesuffix(".tar.gz")
    wheel = build("wheel", source)
    version = source_version(root)
    assert wheel.name == f"mprl-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        info = f"mprl-{version}.dist-info"
        metadata = archive.read(f"{info}/METADATA").decode()
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
        for name in tree_files:
            if path := installed_path(name):
                assert archive.read(path) == (root / name).read_bytes(), name
    assert sorted(name for name in names if not name.startswith(info)) == sorted(filter(None, map(installed_path, tree_files)))
    assert f"{info}/licenses/LICENSE" in names
    assert "License-Expression: Apache-2.0\n" in metadata
    assert "Requires-Python: >=3.11\n" in metadata
    assert "mprl = mprl.scripts.main:main" in entry_points
