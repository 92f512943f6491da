"""What others' tools read: package.xml, change log, citation, versions; and a wheel that works."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml

from crossover_models import __version__

ROOT = Path(__file__).resolve().parents[1]
# Looked up in ros/rosdistro at commit 8468e88 (August 2026): packages released for Humble, Jazzy and Kilted ...
RELEASED = {
    "ament_cmake", "ament_cmake_pytest", "ament_cmake_python", "ament_index_python", "bond", "builtin_interfaces",
    "diagnostic_msgs", "geometry_msgs", "launch", "launch_pytest", "launch_ros", "lifecycle_msgs", "nav_msgs",
    "rcl_interfaces", "rclpy", "ros2launch", "rosgraph_msgs", "rosidl_default_generators", "rosidl_default_runtime",
    "sensor_msgs", "std_msgs", "std_srvs", "tf2_msgs", "tf2_ros_py", "visualization_msgs",
}  # fmt: skip
# ... and keys of rosdep/python.yaml with packages for Ubuntu 22.04 and 24.04.
SYSTEM_KEYS = {
    "python3-hypothesis", "python3-matplotlib", "python3-numpy", "python3-opencv", "python3-pil", "python3-pytest",
    "python3-rich", "python3-scipy", "python3-shapely", "python3-yaml",
}  # fmt: skip


def manifest() -> ElementTree.Element:
    return ElementTree.parse(ROOT / "package.xml").getroot()


def test_every_dependency_is_a_key_that_exists() -> None:
    keys = {str(tag.text) for tag in manifest() if tag.tag.endswith("depend")}
    assert keys <= RELEASED | SYSTEM_KEYS, f"look these up in ros/rosdistro: {sorted(keys - RELEASED - SYSTEM_KEYS)}"
    assert keys > {"rclpy", "rosidl_default_runtime", "python3-numpy"}


def test_catkin_reads_the_manifest_without_a_warning() -> None:
    package = pytest.importorskip("catkin_pkg.package")
    warnings: list[str] = []
    parsed = package.parse_package(str(ROOT / "package.xml"), warnings=warnings)
    parsed.validate(warnings=warnings)
    assert not warnings and parsed.name == "crossover_ros"


def test_every_import_of_ros_is_a_dependency() -> None:
    """A package that the nodes import and package.xml does not name is missing on a fresh ROS machine."""
    named = {str(tag.text) for tag in manifest() if tag.tag.endswith("depend")}
    sources = [*(ROOT / "crossover_ros").rglob("*.py"), *(ROOT / "launch").glob("*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    imported = set(re.findall(r"^\s*(?:from|import) (\w+)", text, re.MULTILINE))
    # tf2_ros is a module of tf2_ros_py.
    assert {"tf2_ros_py" if name == "tf2_ros" else name for name in imported} & (RELEASED | {"tf2_ros"}) <= named


def test_versions_agree() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert manifest().findtext("version") == __version__ == citation["version"]


def test_the_citation_has_what_readers_need() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation) and citation["cff-version"] == "1.2.0"
    paper = citation["references"][0]
    assert paper["title"].startswith("CrossOver") and len(paper["authors"]) == 5 and paper["year"] == 2025
    assert citation["license"] == manifest().findtext("license")


def test_the_change_log_is_one_that_releases_are_made_from() -> None:
    changelog = pytest.importorskip("catkin_pkg.changelog")
    core = pytest.importorskip("docutils.core")
    text = (ROOT / "CHANGELOG.rst").read_text(encoding="utf-8")
    core.publish_doctree(text, settings_overrides={"halt_level": 2, "report_level": 5})
    # What catkin_prepare_release does: the section gets a version and a date.
    released = text.replace("Forthcoming\n-----------", f"{__version__} (2030-01-01)\n------------------")
    assert released != text or f"\n{__version__} (" in text
    parsed = changelog.populate_changelog_from_rst(changelog.Changelog("crossover_ros"), released)
    (version, _, items), *_ = parsed.foreach_version()
    assert str(version) == __version__ and len(items) > 8


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("ament_package") is None or importlib.util.find_spec("pip") is None:
        pytest.skip("no pip, or not the wheels of ROS 2 that a wheel is built against")
    folder = tmp_path_factory.mktemp("wheel")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "-w", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (built,) = folder.glob("*.whl")
    return built


def test_a_wheel_works_in_an_environment_of_its_own(wheel: Path, tmp_path: Path) -> None:
    """Far from the sources; dependencies alone are borrowed from this environment."""
    environment = {n: v for n, v in os.environ.items() if n not in ("PYTHONPATH", "VIRTUAL_ENV")} | {"COLUMNS": "120"}
    fresh = tmp_path / "fresh"

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    run(sys.executable, "-m", "venv", str(fresh))
    python, crossover = str(fresh / "bin" / "python"), str(fresh / "bin" / "crossover")
    run(python, "-m", "pip", "install", "--no-deps", "--no-index", str(wheel))
    inside = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (inside / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = run(
        python, "-c", "import crossover_ros.msg, crossover_models as m; print(crossover_ros.__file__, m.__file__)"
    )
    assert all(Path(path).is_relative_to(fresh) for path in where.split())
    assert run(crossover, "--version").strip() == f"crossover {__version__}"
    run(crossover, "map", "build", "procedural:1:1:3", "--out", "house.xmap")
    assert "sim_test_1" in run(crossover, "map", "info", "house.xmap")
    share = fresh / "share" / "crossover_ros"
    for folder in ("launch", "config", "msg", "srv", "action"):
        ours = {path.name for path in (ROOT / folder).iterdir() if path.is_file()}
        assert ours <= {path.name for path in (share / folder).iterdir()}, folder
