"""crossover_models runs on a machine without ROS: nothing in it imports a ROS package, directly or through others."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import crossover_models

PACKAGE = Path(crossover_models.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
# Top-level names of ROS; *_msgs and *_srvs besides. rosbags is a plain library that reads and writes bag files.
ROS_NAMES = {
    "ament_index_python", "builtin_interfaces", "crossover_ros", "cv_bridge", "launch", "launch_pytest", "launch_ros",
    "launch_testing", "message_filters", "rclpy", "rmw_implementation", "rosbag2_py", "rosidl_parser",
    "rosidl_runtime_py", "rpyutils", "sensor_msgs_py", "tf2_py", "tf2_ros", "unique_identifier_msgs",
}  # fmt: skip
# Extras that nothing needs; their adapters cannot be imported without them.
OPTIONAL = {"MinkowskiEngine"}


def is_ros(module: str) -> bool:
    top = module.partition(".")[0]
    return top in ROS_NAMES or top.endswith(("_msgs", "_srvs"))


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
