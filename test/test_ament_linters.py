"""What ROS's own linters say, where Debian's python3-ament-{flake8,lint-cmake,pep257,pycodestyle,pyflakes,xmllint} are.

Left out: E203 and W503 (the formatter's blanks around a colon and lines that begin with an operator), D105, D107, D402,
D403 and D417 (as in ruff, or taste). ament_mypy knows fewer stubs than our own strict run; ament_copyright wants the
license in every file.
"""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("crossover_models", "crossover_ros", "launch", "docs", "scripts", "setup.py")
PYTHON = "/usr/bin/python3"


def lint(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a linter of the system's own Python."""
    known = (
        subprocess.run([PYTHON, "-c", f"import {name}"], capture_output=True, check=False)
        if shutil.which(PYTHON)
        else None
    )
    if known is None or known.returncode != 0:
        pytest.skip(f"{name} is not installed (Debian: python3-{name.replace('_', '-')})")
    return subprocess.run(
        [PYTHON, "-m", f"{name}.main", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_ament_flake8(tmp_path: Path) -> None:
    found = subprocess.run(
        [PYTHON, "-c", "import ament_flake8; print(ament_flake8.__path__[0])"],
        capture_output=True,
        text=True,
        check=False,
    )
    settings = configparser.ConfigParser()
    settings.read(Path(found.stdout.strip() or ".") / "configuration" / "ament_flake8.ini")
    if settings.has_section("flake8"):
        settings["flake8"]["extend-ignore"] += ",E203"
    with (tmp_path / "flake8.ini").open("w") as out:
        settings.write(out)
    done = lint("ament_flake8", "--config", str(tmp_path / "flake8.ini"), "--linelength", "120", *SOURCES)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_ament_pycodestyle(tmp_path: Path) -> None:
    (tmp_path / "settings.ini").write_text("[pycodestyle]\nignore = E203,W503\nmax-line-length = 120\n")
    done = lint("ament_pycodestyle", "--config", str(tmp_path / "settings.ini"), *SOURCES)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_ament_pyflakes() -> None:
    done = lint("ament_pyflakes", *SOURCES)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_ament_xmllint() -> None:
    done = lint("ament_xmllint", "package.xml")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_ament_pep257() -> None:
    left_out = ("D105", "D107", "D402", "D403", "D417")
    done = lint(
        "ament_pep257", "--convention", "google", "--add-ignore", *left_out, "--", "crossover_models", "crossover_ros"
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_ament_lint_cmake() -> None:
    done = lint("ament_lint_cmake", "CMakeLists.txt", "cmake")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
