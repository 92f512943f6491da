"""Prints requirements of pyproject.toml, one a line: the core ones, and those of every extra named as an argument.

`build` names the build requirements. `make setup` installs an environment from `build ros cpu dev` once and the package
often; on a ROS machine `cpu` alone is what apt does not bring.
"""

import sys
import tomllib
from pathlib import Path

settings = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text())
groups = {"build": settings["build-system"]["requires"], **settings["project"]["optional-dependencies"]}
unknown = [name for name in sys.argv[1:] if name not in groups]
if unknown:
    sys.exit(f"no such extra in pyproject.toml: {', '.join(unknown)} (there are {', '.join(groups)})")
print(*settings["project"]["dependencies"], sep="\n")
for name in sys.argv[1:]:
    print(*groups[name], sep="\n")
