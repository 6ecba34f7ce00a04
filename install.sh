#!/usr/bin/env bash
# Creates a virtual environment with megastyle, its development extras and a suitable torch.
#
#   ./install.sh VENV [PYTHON]
#
# VENV    folder of the environment; an existing one that has torch is only updated
# PYTHON  interpreter, 3.11 or newer (default: found on the PATH)
#
# Torch comes first, before anything that depends on it, since on Linux the build that pip takes by
# itself is for CUDA and fetches gigabytes: your own torch if PYTHON can import one, the default build
# where there is an NVIDIA GPU, a CPU build everywhere else.
#
# Everything else is checked against the hashes of lock.txt. LOCK= (empty) in the environment installs
# the versions of constraints.txt without hashes: for an index or a platform that has other files.
set -euo pipefail
cd "$(dirname "$0")"

venv=${1:?usage: ./install.sh VENV [PYTHON]}
python=${2:-}
lock=${LOCK-lock.txt}
torch=$(sed -n 's/^torch==//p' constraints.txt)

say() { echo "install: $*" >&2; }
stop() { echo "install: error: $*" >&2; exit 2; }

# A shim of pyenv or asdf may be on the PATH and fail when it is run, so each candidate is run.
is_recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; }
can_make_venv() { "$1" -c 'import ensurepip, venv' 2> /dev/null; }
has_torch() { "$1" -c 'import torch' 2> /dev/null; }
has_gpu() { nvidia-smi -L > /dev/null 2>&1; }
pip() { "$venv/bin/python" -m pip --quiet --disable-pip-version-check "$@"; }

pip_error() { sed -n 's/^ERROR: \([^.]*\).*/\1/p' "$venv/pip.log" | head -n 1; }

find_python() {
  local candidate without_venv=
  # An activated environment that has torch takes precedence over a newer interpreter.
  for candidate in python3 python; do
    is_recent "$candidate" && can_make_venv "$candidate" && has_torch "$candidate" \
      && { echo "$candidate"; return; }
  done
  for candidate in python3.13 python3.12 python3.11 python3; do
    is_recent "$candidate" || continue
    can_make_venv "$candidate" && { echo "$candidate"; return; }
    without_venv=$candidate
  done
  [ -z "$without_venv" ] || needs_venv_package "$without_venv"
  stop "no Python 3.11 or newer on the PATH: install one, or give make PYTHON=/path/to/python"
}

needs_venv_package() {
  local version
  version=$("$1" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
  stop "$1 cannot create virtual environments: install its venv package" \
    "(Debian, Ubuntu: apt install $version-venv)"
}

make_venv() {
  if has_torch "$python"; then
    say "using the torch of $python"
    "$python" -m venv --clear --system-site-packages "$venv"
    has_torch "$venv/bin/python" || show_outer_packages
  else
    "$python" -m venv --clear "$venv"
  fi
}

# An environment created from another one sees the packages of the system, not of that other one.
show_outer_packages() {
  local outer inner
  outer=$("$python" -c 'import pathlib, torch; print(pathlib.Path(torch.__file__).parents[1])')
  inner=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  echo "$outer" > "$inner/outer_packages.pth"
}

install_torch() {
  if has_gpu || [ "$(uname -s)" = Darwin ]; then
    say "installing torch $torch"
    pip install "torch==$torch"
    return
  fi
  say "installing torch $torch for the CPU"
  pip install "torch==$torch+cpu" 2> "$venv/torch.log" && return
  # uv knows where to find the CPU builds.
  pip install uv 2>> "$venv/torch.log" \
    && "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --torch-backend=cpu \
      "torch==$torch" 2>> "$venv/torch.log" && return
  stop "no CPU build of torch $torch could be downloaded (see $venv/torch.log): install one into a" \
    "Python as the PyTorch site describes and run make again with PYTHON=/path/to/that/python"
}

# An environment without torch was left by a failed run: it is created again.
if ! has_torch "$venv/bin/python"; then
  [ ! -e "$venv" ] || [ -f "$venv/pyvenv.cfg" ] \
    || stop "$venv exists and is not a virtual environment: give another folder, make VENV=FOLDER"
  python=${python:-$(find_python)}
  # by its path: make puts $venv/bin on the PATH, which will soon contain another python3
  python=$(command -v "$python") || stop "there is no $python: give another, make PYTHON=PATH"
  is_recent "$python" || stop "$python does not run or is older than Python 3.11"
  can_make_venv "$python" || needs_venv_package "$python"
  say "creating $venv with $("$python" --version)"
  make_venv
  has_torch "$venv/bin/python" || install_torch
fi

say "installing megastyle and its dependencies (a minute or two)"
if [ -n "$lock" ]; then
  # setuptools is in the lock file, so building the project downloads nothing
  pip install --require-hashes --no-deps --requirement "$lock" 2> "$venv/pip.log" \
    || stop "$lock could not be installed: $(pip_error) (see $venv/pip.log); where an index or a" \
      "platform has other files, make LOCK= installs the same versions without hashes"
  pip install --no-deps --no-build-isolation --editable .
  exit
fi
# Pinned to the installed build, so that nothing below can replace it.
have=$("$venv/bin/python" -c 'from importlib.metadata import version; print(version("torch"))')
sed "s/^torch==.*/torch==$have/" constraints.txt > "$venv/constraints.txt"
pip install --constraint "$venv/constraints.txt" --editable ".[dev]"
