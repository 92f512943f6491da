"""Pip build: runs the package's own CMakeLists.txt against the ROS 2 wheels and packs the install tree into the wheel.

Everything else about the package is in pyproject.toml; colcon never reads this file.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Distribution, Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import ExecError, SetupError

ROOT = Path(__file__).resolve().parent
BUILD = ROOT / "build" / "pip"
PYTHON = f"python3.{sys.version_info.minor}"
# What only a later CMake build or a shell of the build machine needs; the entry point replaces bin/crossover.
DROPPED = {"include", "bin", "cmake", "environment", "parent_prefix_path", "__pycache__"}


def wheels_prefix() -> Path:
    """Prefix with the share/ folder of the ROS wheels: an environment, or pip's temporary build environment."""
    spec = importlib.util.find_spec("ament_package")
    if spec is None or spec.origin is None:
        raise SetupError("the ROS 2 wheels of [build-system] in pyproject.toml are not installed")
    site_packages = Path(spec.origin).parents[1]
    prefix = next((p for p in site_packages.parents if (p / "share" / "ament_cmake" / "cmake").is_dir()), None)
    if prefix is None:
        raise SetupError(f"no share/ament_cmake beside {site_packages}: is ros-kilted-ament-cmake installed there?")
    return prefix


def interpreter() -> str:
    """Path of this Python under one name, so that starting pip as python or python3 makes no new build."""
    named = Path(sys.executable).with_name(PYTHON)
    return str(named if named.exists() else sys.executable)


def run(command: list[str], environment: dict[str, str]) -> None:
    """Run a build tool; one line says which one is missing or failed."""
    try:
        # subprocess looks for the program in this process's PATH, not in the one it passes on.
        subprocess.run(
            [shutil.which(command[0], path=environment["PATH"]) or command[0], *command[1:]],
            check=True,
            env=environment,
        )
    except FileNotFoundError as error:
        raise ExecError(f"{command[0]} is not installed") from error
    except subprocess.CalledProcessError as error:
        raise ExecError(f"{' '.join(command[:3])} ... failed with status {error.returncode}") from error


class BuildWithCMake(build_ext):
    """Configures and builds in build/pip, which is kept: a second build with the same interfaces compiles nothing."""

    def run(self) -> None:
        """Build, and lay the packages where setuptools looks for extensions."""
        if self.editable_mode:
            raise SetupError("no editable installs: use `make setup`, or put the source tree first on PYTHONPATH")
        stage = BUILD / "stage"
        shutil.rmtree(stage, ignore_errors=True)
        self.build_and_install(stage)
        python = stage / "lib" / PYTHON / "site-packages"
        for package in sorted(p for p in python.iterdir() if p.is_dir() and p.suffix != ".egg-info"):
            target = Path(self.build_lib) / package.name
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(package, target, ignore=shutil.ignore_patterns("__pycache__", "*.c"))
        self.distribution.data_files = data_files(stage, skip=python)

    def build_and_install(self, stage: Path) -> None:
        """Run CMake against the wheels, into ``stage``."""
        prefix = wheels_prefix()
        # cmake and ninja are wheels too, and a virtual environment need not be activated.
        path = os.pathsep.join([str(prefix / "bin"), os.environ.get("PATH", os.defpath)])
        environment = {**os.environ, "AMENT_PREFIX_PATH": str(prefix), "PATH": path}
        tree = BUILD / f"cmake-{sys.implementation.cache_tag}"
        configure = [
            "cmake", "-S", str(ROOT), "-B", str(tree), "-G", "Ninja",
            "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_TESTING=OFF",
            f"-DCMAKE_INSTALL_PREFIX={stage}",
            f"-DCMAKE_PREFIX_PATH={prefix}",
            f"-DCMAKE_PROJECT_INCLUDE={ROOT / 'cmake' / 'ros_wheels.cmake'}",
            f"-DPython3_EXECUTABLE={interpreter()}",
            f"-DPYTHON_INSTALL_DIR=lib/{PYTHON}/site-packages",
        ]  # fmt: skip
        configured = tree / "configured.txt"
        wanted = "\n".join(configure)
        if not (configured.is_file() and configured.read_text() == wanted):
            shutil.rmtree(tree, ignore_errors=True)
            run(configure, environment)
            configured.write_text(wanted)
        run(["cmake", "--build", str(tree)], environment)
        run(["cmake", "--install", str(tree)], {**environment, "PYTHONDONTWRITEBYTECODE": "1"})

    def get_outputs(self) -> list[str]:
        """Every file that was laid there."""
        return [str(p) for p in Path(self.build_lib).rglob("*") if p.is_file()]


def data_files(stage: Path, skip: Path) -> list[tuple[str, list[str]]]:
    """Files of the install tree outside Python packages as (folder under the prefix, paths)."""
    folders: dict[str, list[str]] = {}
    for path in sorted(p for p in stage.rglob("*") if p.is_file() and skip not in p.parents):
        folder = path.relative_to(stage).parent
        if not DROPPED & set(folder.parts):
            folders.setdefault(str(folder), []).append(str(path))
    return list(folders.items())


class PlatformDistribution(Distribution):
    """A distribution whose wheel is bound to the platform, for the type support libraries are."""

    def has_ext_modules(self) -> bool:
        """Whether there is compiled code: the type support libraries."""
        return True


setup(
    distclass=PlatformDistribution,
    ext_modules=[Extension("crossover_ros", sources=[])],
    cmdclass={"build_ext": BuildWithCMake},
)
