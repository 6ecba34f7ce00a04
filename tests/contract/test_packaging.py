"""What is installed is what stands in the tree."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_string

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from megastyle_cli import __version__
from tests.contract.tree import PACKAGE, ROOT


def test_the_package_list_equals_the_tree() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = settings["tool"]["setuptools"]["packages"]
    tree = [
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / PACKAGE).rglob("__init__.py")
    ]

    assert sorted(listed) == sorted([*tree, f"{PACKAGE}.commands"])


def test_the_lock_has_the_versions_of_the_constraints_and_hashes_for_each() -> None:
    lock = _locked()
    pinned = [
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    versions = {canonicalize_name(name): version for name, version in pinned}
    del versions["torch"]  # installed apart: its build depends on the machine

    assert len(pinned) == len(versions) + 1, "a package is pinned twice"
    assert {name: requirement.version for name, (requirement, _) in lock.items()} == versions
    assert all(hashes for _, hashes in lock.values())


def test_the_lock_holds_what_pyproject_asks_for() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = settings["project"]["dependencies"] + settings["build-system"]["requires"]
    asked += [r for extra in settings["project"]["optional-dependencies"].values() for r in extra]
    lock = {name: requirement.version for name, (requirement, _) in _locked().items()}

    for requirement in map(Requirement, asked):
        if requirement.name not in ("megastyle", "torch"):
            assert requirement.specifier.contains(lock[canonicalize_name(requirement.name)])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from what the Dockerfile copies of a checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    skipped = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    source.mkdir()
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        path = ROOT / line.removeprefix("!")
        if line.startswith("!") and path.is_dir():
            shutil.copytree(path, source / path.name, ignore=skipped)
        elif line.startswith("!"):
            shutil.copy(path, source)
    build = [sys.executable, "-c", _BUILD, str(folder)]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


_BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"


def test_the_wheel_holds_every_file_of_the_packages(wheel: zipfile.ZipFile) -> None:
    held = set(wheel.namelist())
    tree = {
        str(path.relative_to(ROOT))
        for path in (ROOT / PACKAGE).rglob("*")
        if path.is_file() and path.suffix != ".pyc" and "__pycache__" not in path.parts
    }
    commands = {f"{PACKAGE}/commands/{path.name}" for path in (ROOT / "commands").glob("*.py")}

    assert tree | commands <= held
    assert f"{PACKAGE}/py.typed" in held


def test_the_wheel_holds_completions_and_examples_below_share(wheel: zipfile.ZipFile) -> None:
    shared = {name.partition("/data/share/")[2] for name in wheel.namelist() if "/data/" in name}

    assert {
        "bash-completion/completions/megastyle.bash",
        "zsh/site-functions/_megastyle",
        "fish/vendor_completions.d/megastyle.fish",
        "man/man1/megastyle.1",
        "megastyle/examples/pipeline.sh",
        "megastyle/examples/pipeline.mk",
        "megastyle/examples/slurm/caption.sbatch",
        "megastyle/examples/accelerate/one_node.yaml",
        "megastyle/examples/containers/megastyle.def",
        "megastyle/examples/pictures/SOURCES.md",
        "megastyle/examples/pictures/styles/great-wave.jpg",
        "megastyle/examples/pictures/contents/metadata.jsonl",
    } <= shared


def test_a_script_of_the_wheel_can_be_run(wheel: zipfile.ZipFile) -> None:
    files = wheel.infolist()
    (script,) = (file for file in files if file.filename.endswith("/examples/pipeline.sh"))

    assert script.external_attr >> 16 & 0o111


def test_the_metadata_of_the_wheel_names_what_it_is(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = message_from_string(wheel.read(name).decode())

    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Author"] == "megastyle developers"
    assert "style transfer" in metadata["Keywords"]
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
    assert "Project-URL" not in metadata, "an address that does not exist"
    assert "builtin" in metadata.get_all("Provides-Extra", [])


def test_both_containers_are_built_alike() -> None:
    """By the same steps: one version of uv, the same arguments, no HOME."""
    docker = (ROOT / "Dockerfile").read_text()
    apptainer = (ROOT / "examples" / "containers" / "megastyle.def").read_text()

    for text in (
        "uv==",
        "python:3",
        "--torch-backend",
        "--constraint constraints.txt",
        "--prepare",
    ):
        (one,) = {line for line in re.findall(rf"{re.escape(text)}[\w.-]*", docker)}
        assert set(re.findall(rf"{re.escape(text)}[\w.-]*", apptainer)) == {one}


def test_the_version_stands_in_one_place() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    citation = (ROOT / "CITATION.cff").read_text()
    changes = re.findall(r"^## \[(\d[\d.]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert settings["project"]["dynamic"] == ["version"]
    assert re.findall(r"^version: (.*)$", citation, re.MULTILINE) == [__version__]
    assert changes[0] == __version__


class _Pinned(Requirement):
    """A requirement of one version."""

    @property
    def version(self) -> str:
        (specifier,) = self.specifier
        return specifier.version


def _locked() -> dict[str, tuple[_Pinned, list[str]]]:
    """The requirement of each package in lock.txt, and its hashes."""
    found = {}
    for block in re.split(r"\n(?=\S)", (ROOT / "lock.txt").read_text().strip()):
        requirement = _Pinned(block.partition("\\")[0].strip())
        found[str(canonicalize_name(requirement.name))] = (
            requirement,
            re.findall(r"--hash=sha256:([0-9a-f]{64})", block),
        )
    return found
