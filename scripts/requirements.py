"""Prints the requirements of pyproject.toml (build, core and the extras named as arguments), one a line.

So that `make setup` can install the environment once and the package often, from one list.
"""

import sys
import tomllib
from pathlib import Path

settings = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text())
extras = settings["project"]["optional-dependencies"]
unknown = [name for name in sys.argv[1:] if name not in extras]
if unknown:
    sys.exit(f"no such extra in pyproject.toml: {', '.join(unknown)} (there are {', '.join(extras)})")
print(*settings["build-system"]["requires"], *settings["project"]["dependencies"], sep="\n")
for name in sys.argv[1:]:
    print(*extras[name], sep="\n")
