"""What is installed is what stands in the tree."""

import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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
