#!/bin/sh
# Checks for what pip cannot bring: a Python with headers and venv, and a C++ compiler. As root on Debian or Ubuntu it
# installs them, otherwise it says which are missing. Prints the Python to use on standard output.
set -eu

find_python() {
    for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
        # A pyenv shim may exist and still refuse to run.
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
}

missing() {
    python=$(find_python)
    if [ -z "$python" ]; then
        echo python3 python3-venv python3-dev
    else
        version=$("$python" -c 'import sys; print(f"python{sys.version_info[0]}.{sys.version_info[1]}")')
        "$python" -c 'import ensurepip, venv' 2>/dev/null || echo "$version-venv"
        "$python" -c 'import pathlib, sys, sysconfig
sys.exit(not (pathlib.Path(sysconfig.get_path("include")) / "Python.h").is_file())' || echo "$version-dev"
    fi
    command -v "${CXX:-g++}" >/dev/null || echo g++
}

packages=$(missing | tr '\n' ' ')
if [ -n "$packages" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing Debian packages: $packages" >&2
    # shellcheck disable=SC2086
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages; } >&2
    packages=$(missing | tr '\n' ' ')
fi
if [ -n "$packages" ]; then
    echo "Missing on this machine: $packages" >&2
    echo "Install them first, for example: sudo apt-get install $packages" >&2
    exit 1
fi
find_python
