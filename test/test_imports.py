"""crossover_models runs on a machine without ROS: nothing in it imports a ROS package, directly or through others.

And whatever either package imports is declared, to pip in pyproject.toml or to rosdep in package.xml.
"""

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

import crossover_models

PACKAGE = Path(crossover_models.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
ROOT = Path(__file__).resolve().parents[1]
# Top-level names of ROS; *_msgs, *_srvs and *_interfaces besides. rosbags is a plain library for bag files.
ROS_NAMES = {
    "ament_index_python", "bond", "crossover_ros", "cv_bridge", "launch", "launch_pytest", "launch_ros",
    "launch_testing", "message_filters", "rclpy", "rmw_implementation", "rosbag2_py", "rosidl_parser",
    "rosidl_runtime_py", "rpyutils", "sensor_msgs_py", "tf2_py", "tf2_ros", "unique_identifier_msgs",
}  # fmt: skip
# Extras that nothing needs; their adapters cannot be imported without them.
OPTIONAL = {"MinkowskiEngine"}
# Import names of optional packages from PyPI whose package name differs, for where they are not installed.
PYPI_PACKAGES = {"lance": "pylance"}
# Import names of ROS packages whose package name differs.
ROS_PACKAGES = {"tf2_ros": "tf2_ros_py"}


def is_ros(module: str) -> bool:
    top = module.partition(".")[0]
    return top in ROS_NAMES or top.endswith(("_msgs", "_srvs", "_interfaces"))


def imported(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, module) of every import, also of those inside functions and by name through importlib."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in ("import_module", "__import__", "find_spec") and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value


def test_there_are_modules_to_check() -> None:
    assert len(MODULES) > 10


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_imports_ros(path: Path) -> None:
    found = [f"{path.name}:{line} imports {name}" for line, name in imported(path.read_text()) if is_ros(name)]
    assert not found, found


@pytest.mark.parametrize(
    "source",
    [
        "import rclpy",
        "import numpy, rclpy.node",
        "from sensor_msgs.msg import Image",
        "def f():\n    from std_srvs.srv import Trigger",
        "import importlib\nimportlib.import_module('tf2_ros')",
        "from crossover_ros import cli",
    ],
)
def test_the_check_sees_every_form(source: str) -> None:
    assert any(is_ros(name) for _, name in imported(source))


@pytest.mark.parametrize("source", ["import rosbags.rosbag2", "from .launch import x", "import numpy as np"])
def test_the_check_lets_others_pass(source: str) -> None:
    assert not any(is_ros(name) for _, name in imported(source))


def test_importing_everything_loads_no_ros() -> None:
    names = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in MODULES]
    names = [name.removesuffix(".__init__") for name in names if not name.endswith(".__main__")]
    program = (
        "import importlib, json, sys\n"
        f"sys.path.insert(0, {str(PACKAGE.parent)!r})\n"
        "for name in json.loads(sys.argv[1]):\n"
        "    try: importlib.import_module(name)\n"
        "    except ModuleNotFoundError as error:\n"
        f"        if error.name not in {OPTIONAL}: raise\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    command = [sys.executable, "-c", program, json.dumps(names)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert "crossover_models.geometry" in loaded
    assert not [name for name in loaded if is_ros(name)]


def third_party_imports() -> set[str]:
    """Top-level names that the two packages import from elsewhere."""
    files = [path for package in ("crossover_models", "crossover_ros") for path in (ROOT / package).rglob("*.py")]
    tops = {name.partition(".")[0] for path in files for _, name in imported(path.read_text())}
    return {top for top in tops if top not in sys.stdlib_module_names and not top.startswith("crossover_")}


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_import_from_pypi_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    declared = {normalized(re.split(r"[=<>~;\[ ]", item)[0]) for group in groups for item in group}
    owners = importlib.metadata.packages_distributions()
    undeclared = {
        top: owners.get(top, "not installed")
        for top in third_party_imports()
        if not is_ros(top)
        and not {normalized(name) for name in owners.get(top, [PYPI_PACKAGES.get(top, top)])} & declared
    }
    assert not undeclared


def test_every_import_from_ros_is_declared() -> None:
    manifest = ElementTree.parse(ROOT / "package.xml").getroot()
    declared = {element.text for tag in ("depend", "exec_depend") for element in manifest.iter(tag)}
    undeclared = {top for top in third_party_imports() if is_ros(top) and ROS_PACKAGES.get(top, top) not in declared}
    assert not undeclared
