"""Picture formats that Pillow reads with an additional package: HEIC and JPEG XL."""

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import PurePath

PACKAGES = {
    **dict.fromkeys((".heic", ".heif", ".hif"), "pillow-heif"),
    ".jxl": "pillow-jxl-plugin",
}
FORMATS = ("HEIF", "JXL")  # as Pillow calls them
_MODULES = {"pillow-heif": "pillow_heif", "pillow-jxl-plugin": "pillow_jxl"}


@cache
def is_installed(package: str) -> bool:
    """Whether one of the packages is installed."""
    return find_spec(_MODULES[package]) is not None


def package_to_install(name: str) -> str | None:
    """The package needed to read a picture of this name, if it is not installed."""
    package = PACKAGES.get(PurePath(name).suffix.lower())
    return None if package is None or is_installed(package) else package


@cache
def register_plugins() -> list[str]:
    """Makes Pillow read the formats whose packages are installed, and returns what is readable."""
    readable = []
    for name, (package, module) in zip(FORMATS, _MODULES.items(), strict=True):
        if is_installed(package):
            plugin = import_module(module)  # JPEG XL registers itself
            if package == "pillow-heif":
                plugin.register_heif_opener()
            readable.append(name)
    return readable
