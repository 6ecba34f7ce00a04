"""Just-in-time compilation: numba functions over flat arrays, kept between processes.

The rule: an input of at most MAX_PLAIN_RECORDS records is worked on in plain Python, which takes
less time than importing the compiler; a larger one by compiled code, which a process loads from
the cache or else compiles once. Both give the same bytes.

Machine code is kept in the first of these folders that can be written: $NUMBA_CACHE_DIR alone if
it is set, else `__pycache__` beside this file, which an image built by root keeps, then
`megastyle/compiled` in the user's cache folder; else for this run only. It is found in any of them,
writable or not. A file is named by a hash of what it was compiled from and for, so that no copy or
update of an installation, and no other kind of processor, finds a wrong one.
"""

import atexit
import logging
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, update_wrapper
from hashlib import sha256
from pathlib import Path
from threading import RLock
from types import CodeType, FunctionType
from typing import Any, TypeVar, cast

import numpy as np

from megastyle_cli.compute.engine import usable_cores
from megastyle_cli.core.atomic_file import atomic_write

log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., object])

MAX_PLAIN_RECORDS = 1000

_SUFFIX = ".numba"

_is_plain = False
_beside: tuple[str, tuple[str, ...]] | None = None
_lock = RLock()


def choose_by_size(records: int) -> None:
    """Sets how many records this process works on: few of them run in plain Python."""
    global _is_plain
    _is_plain = records <= MAX_PLAIN_RECORDS


def is_plain() -> bool:
    """Whether compiled functions run as plain Python; callers may have a faster way then."""
    return _is_plain


def compiled(function: F) -> F:
    """`function` compiled to machine code that runs without the GIL, at its first call.

    So are the compiled functions that it calls, which are named in its module.
    """
    return cast(F, _Compiled(cast(FunctionType, function)))


def compile_beside(module: str, compiles: tuple[str, ...]) -> None:
    """Says that running `module` compiles the functions of the modules that it `compiles`.

    Where this process has to compile, another runs that beside it, and this one waits for it there.
    """
    global _beside
    _beside = module, compiles


def cache_folder() -> Path | None:
    """The folder of cached machine code; None if there is none."""
    return next(filter(_can_write, _folders()), None)


def is_anything_kept() -> bool:
    """Whether an earlier process, of any version, cached machine code."""
    return any(any(folder.glob(f"*{_SUFFIX}")) for folder in _folders())


class _Compiled:
    """A function that is compiled, or loaded from the cache, when it is first called."""

    def __init__(self, function: FunctionType) -> None:
        self.function = function
        self._call: Callable[..., Any] | None = None
        update_wrapper(self, function)

    def __call__(self, *arguments: Any) -> Any:
        if _is_plain:
            with np.errstate(over="ignore"):  # numbers wrap around, as in compiled code
                return self.function(*arguments)
        return (self._call or self.compile())(*arguments)

    def compile(self) -> Any:
        """The function that numba compiles for each combination of types it is called with."""
        with _lock:
            if self._call is None:
                call = _numba().njit(nogil=True, error_model="numpy")(self._with_callees())
                if hasattr(call, "_cache"):  # not if NUMBA_DISABLE_JIT is set
                    call._cache = _Cache(self)
                self._call = call
            return self._call

    @cache  # noqa: B019 - lives as long as the process
    def as_callee(self) -> Any:
        """The same, to be called by compiled functions only: without an entry for Python."""
        options = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
        return _numba().njit(nogil=True, error_model="numpy", **options)(self._with_callees())

    def callees(self) -> dict[str, "_Compiled"]:
        """The compiled functions that it calls, by name."""
        names = self.function.__code__.co_names
        found = {name: self.function.__globals__.get(name) for name in names}
        return {name: value for name, value in found.items() if isinstance(value, _Compiled)}

    def hashed(self) -> bytes:
        """A hash of everything that is compiled: code, constants, and those of its callees."""
        code = self.function.__code__
        # machine code names the modules of its callees, and cannot be loaded without one that moved
        parts = [self.function.__module__.encode(), _code_facts(code)]
        parts.append(repr(self.function.__defaults__).encode())
        for name in code.co_names:
            value = self.function.__globals__.get(name)
            if isinstance(value, _Compiled):
                parts.append(value.hashed())
            elif isinstance(value, np.ndarray | np.generic):  # numpy arrays and numbers
                parts += [name.encode(), str(value.dtype).encode(), value.tobytes()]
            elif isinstance(value, int | float | bytes | str):
                parts.append(f"{name}={value!r}".encode())
        return sha256(b"\0".join(parts)).digest()

    def _with_callees(self) -> FunctionType:
        function = self.function
        scope = function.__globals__ | {
            name: callee.as_callee() for name, callee in self.callees().items()
        }
        copy = FunctionType(
            function.__code__,
            scope,
            function.__name__,
            function.__defaults__,
            function.__closure__,
        )
        copy.__qualname__, copy.__module__ = function.__qualname__, function.__module__
        return copy


class _Cache:
    """Machine code of one function in files, as numba's dispatcher asks for it."""

    def __init__(self, compiled: _Compiled) -> None:
        self._name = f"{compiled.function.__module__}.{compiled.function.__name__}"
        self._hashed = compiled.hashed()

    def load_overload(self, signature: Any, target: Any) -> Any:
        """The compiled function for `signature`, None if it is in no folder."""
        from numba.core.compiler import CompileResult

        target.refresh()
        name = self._file_name(signature, target.codegen())
        for folder in (*_folders(), *_folder_of_run()):
            try:
                content = (folder / name).read_bytes()
            except OSError:
                continue
            return cast(Any, CompileResult)._rebuild(target, *pickle.loads(content))
        process = _begin_to_compile()
        if process and _beside and self._name.startswith(_beside[1]):
            is_running = True
            while is_running:
                is_running = process.poll() is None
                for folder in (*_folders(), *_folder_of_run()):
                    if (folder / name).exists():
                        content = (folder / name).read_bytes()
                        return cast(Any, CompileResult)._rebuild(target, *pickle.loads(content))
                time.sleep(0.02)
        return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Caches a compiled function in the first folder that is writable."""
        from numba.core import serialize

        name = self._file_name(signature, result.target_context.codegen())
        content = cast(Any, serialize).dumps(result._reduce())
        for folder in (*_folders(), *_folder_of_run()):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                atomic_write(folder / name, content)
            except OSError:
                continue
            return

    def _file_name(self, signature: Any, codegen: Any) -> str:
        made_for = (signature, codegen.magic_tuple(), _numba().__version__, sys.version)
        key = sha256(self._hashed + repr(made_for).encode()).hexdigest()[:32]
        return f"{self._name}-{key}{_SUFFIX}"


def _code_facts(code: CodeType) -> bytes:
    facts = (code.co_code, code.co_consts, code.co_names, code.co_varnames, code.co_argcount)
    return repr(facts).encode()


def _folders() -> Iterator[Path]:
    named = os.environ.get("NUMBA_CACHE_DIR")
    if named:
        yield Path(named)
        return
    yield Path(__file__).parent / "__pycache__"
    with suppress(RuntimeError):  # there is no home
        home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        yield home / "megastyle" / "compiled"


def _can_write(folder: Path) -> bool:
    nearest = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


@cache
def _folder_of_run() -> tuple[Path, ...]:
    """A folder that is deleted at the end, if machine code can be kept in no other."""
    if cache_folder():
        return ()
    folder = tempfile.mkdtemp(prefix="megastyle-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return (Path(folder),)


@cache
def _begin_to_compile() -> "subprocess.Popen[bytes] | None":
    """Says, once in a process, that it compiles, and has another process take part, if it can."""
    folder = cache_folder()
    kept = f"kept in {folder}" if folder else "not kept: set NUMBA_CACHE_DIR to a writable folder"
    log.warning("compiling once (a few seconds), %s", kept)
    if _beside is None or usable_cores() < 2:
        return None
    named = {"NUMBA_CACHE_DIR": str(*_folder_of_run())} if _folder_of_run() else {}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", _beside[0], "beside"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | named,
    )
    atexit.register(process.wait)  # it ends at once when it is killed; exits run in reverse order
    atexit.register(process.kill)
    return process


@cache
def _numba() -> Any:
    # numba imports scipy's linear algebra for compiled functions that call it; none of ours does,
    # and importing it takes longer than all of our modules
    with _hidden("scipy.linalg.cython_blas"):
        import numba
        import numba.np.arraymath
    return numba


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """Inside, `module` cannot be imported unless it was imported before."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # Python's own convention
    try:
        yield
    finally:
        del sys.modules[module]
