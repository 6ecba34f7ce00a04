"""Which tests run in one process, and which first, when pytest-xdist runs several at a time.

The tests of a file share a process, so that its fixtures are made once. The marks of xdist for that
have no effect with pytest 9.2, so this is a scheduler of our own.
"""

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# Files that share what takes long: Ray clusters of two nodes, all code compiled, all code parsed.
SHARED = {
    **{f"tests/contract/test_{name}.py": "parsed" for name in ("layers", "names", "one_of_each")},
    "tests/contract/test_engines.py": "ray",
    "tests/compute/test_ray.py": "ray",
    "tests/dedup/test_compile_ahead.py": "compiled",
    "tests/pair/test_compile_pairs.py": "compiled",
}
# Few tests of up to half a minute each: as one group, they would run when all others have ended.
APART = ("tests/contract/test_launchers.py", "tests/commands/test_launched.py", "tests/slurm/")
# The groups that take longest start first, so that the last ones to end are short.
FIRST = (
    *APART,
    "compiled",
    "tests/contract/test_docs.py",
    "tests/contract/test_contract.py",
    "ray",
    "tests/training/flux/test_trainer.py",
    "tests/commands/test_train_flux.py",
    "tests/commands/test_train_encoder.py",
    "tests/commands/",
    "tests/contract/",
)


def group_of(nodeid: str) -> str:
    """The name of what runs in one process with this test."""
    file = nodeid.partition("::")[0]
    return nodeid if file.startswith(APART) else SHARED.get(file, file)


def rank_of(nodeid: str) -> int:
    """The lower, the earlier it starts."""
    group = group_of(nodeid)
    return next((at for at, name in enumerate(FIRST) if group.startswith(name)), len(FIRST))


class GroupScheduling(LoadScopeScheduling):
    """Gives a free process the next group of tests, in the order in which they were collected."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        config.option.loadscopereorder = False  # xdist would start with the groups of most tests
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)
