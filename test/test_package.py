"""What a user has after an installation: messages, services, TF's message, launch files, settings, one version."""

import importlib
import importlib.metadata
import json
import os
import re
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import crossover_models

pytest.importorskip("rclpy", reason="needs ROS 2: install the extra `ros`, or source a ROS environment")

import crossover_ros

ROOT = Path(__file__).resolve().parents[1]
INTERFACES = sorted(path.relative_to(ROOT) for folder in ("action", "msg", "srv") for path in (ROOT / folder).iterdir())


def share(package: str) -> Path:
    """Share folder of an installed package: a ROS prefix if one is sourced, else the environment's."""
    prefixes = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p] + [Path(sys.prefix)]
    found = [p / "share" / package for p in prefixes if (p / "share" / package / "package.xml").is_file()]
    assert found, f"{package} is not installed under {', '.join(map(str, prefixes))}: run `make setup`"
    return found[0]


@pytest.mark.parametrize("path", INTERFACES, ids=str)
def test_interface_is_importable_and_typed(path: Path) -> None:
    from rclpy.type_support import check_for_type_support

    kind, name = path.parts[0], path.stem
    interface = getattr(importlib.import_module(f"crossover_ros.{kind}"), name)
    check_for_type_support(interface)
    part = {"srv": "Request", "action": "Goal"}.get(kind)
    message = getattr(interface, part)() if part else interface()
    assert message.get_fields_and_field_types()


@pytest.mark.parametrize("path", INTERFACES, ids=str)
def test_installed_interface_is_this_one(path: Path) -> None:
    assert (share("crossover_ros") / path).read_text() == (ROOT / path).read_text()


def test_every_interface_is_built() -> None:
    recipe = (ROOT / "CMakeLists.txt").read_text()
    listed = set(re.findall(r"^\s+((?:action|msg|srv)/\w+\.(?:action|msg|srv))$", recipe, re.MULTILINE))
    assert listed == {str(path) for path in INTERFACES}


def test_our_init_replaced_the_generated_one() -> None:
    assert crossover_ros.__doc__


def test_tf_message_is_compatible_with_the_real_one() -> None:
    """The hash of the type is what middleware compares; the expected one is of tf2_msgs since ROS 2 Iron."""
    from tf2_msgs.msg import TFMessage

    assert TFMessage.get_fields_and_field_types() == {"transforms": "sequence<geometry_msgs/TransformStamped>"}
    description = json.loads((share("tf2_msgs") / "msg" / "TFMessage.json").read_text())
    hashes = {entry["type_name"]: entry["hash_string"] for entry in description["type_hashes"]}
    expected = "RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087"
    assert hashes["tf2_msgs/msg/TFMessage"] == expected


@pytest.mark.parametrize("folder", ["launch", "config"])
def test_files_are_installed(folder: str) -> None:
    ours = {path.name: path.read_bytes() for path in (ROOT / folder).iterdir() if path.is_file()}
    assert ours
    installed = share("crossover_ros") / folder
    assert {name: (installed / name).read_bytes() for name in ours} == ours


def test_executables_are_installed() -> None:
    folder = share("crossover_ros").parents[1] / "lib" / "crossover_ros"
    for name in ("bag_player", "crossover", "encoder", "localize", "localizer"):
        assert os.access(folder / name, os.X_OK), f"{folder / name} is not executable"


def test_package_data_is_installed() -> None:
    package = Path(crossover_models.__file__).parent
    source = ROOT / "crossover_models"
    data = [path.relative_to(source) for path in source.rglob("*") if path.suffix in (".safetensors", ".json", ".yaml")]
    assert data, "the package ships trained weights"
    missing = [str(path) for path in data if not (package / path).is_file()]
    assert not missing


def test_one_version() -> None:
    manifest = ElementTree.parse(ROOT / "package.xml").getroot()
    assert manifest.findtext("version") == crossover_models.__version__
    try:
        installed = importlib.metadata.version("crossover_ros")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("built by colcon: no Python distribution of that name")
    assert installed == crossover_models.__version__


def test_ros_dependencies_of_both_builds_agree() -> None:
    """Every wheel of a ROS message package in the extra `ros` is a dependency in package.xml, and the other way."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wheels = {re.sub("==.*", "", item).removeprefix("ros-kilted-") for item in project["optional-dependencies"]["ros"]}
    manifest = ElementTree.parse(ROOT / "package.xml").getroot()
    depends = {element.text or "" for tag in ("depend", "exec_depend") for element in manifest.iter(tag)}
    messages = {name for name in depends if name.endswith(("_msgs", "_srvs")) and name != "tf2_msgs"}
    assert {name.replace("-", "_") for name in wheels if name.endswith(("-msgs", "-srvs"))} == messages
