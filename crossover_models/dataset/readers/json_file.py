"""JSON files of published sets: what is wrong with one is said in a line with its name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from crossover_models.dataset.readers.reader import ReaderError


def read_json(path: Path) -> Any:
    """Content of a JSON file.

    Raises:
        ReaderError: no such file, or it is not JSON; line and column are named.
        OSError: it cannot be read.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ReaderError(f"{path}: no such file") from None
    except json.JSONDecodeError as error:
        raise ReaderError(f"{path}: not JSON: {error.msg} in line {error.lineno}, column {error.colno}") from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise ReaderError(f"{path}: not JSON: {error}") from None


def read_object(path: Path) -> dict[str, Any]:
    """Content of a JSON file that is an object.

    Raises:
        ReaderError: as :func:`read_json`, or it is not an object.
        OSError: it cannot be read.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise ReaderError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content
