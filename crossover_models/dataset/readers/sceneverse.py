"""SceneVerse's sentences: a list, or lines, of ``{item_id, scan_id, target_id, instance_type, utterance}`` in JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from crossover_models.dataset.readers.json_file import read_json
from crossover_models.dataset.readers.reader import ReaderError

_PATTERNS = ("*.json", "*.jsonl")


class SceneVerse:
    """Sentences of a data set by scan, in the files' order, each once.

    Entries with a ``target_id`` are about one object, those without are about the whole scan (captions).

    Args:
        path: a file, e.g. ``ssg_ref_rel2_template.json`` or ``scanrefer.jsonl``; or a folder, of which every file that
            is such a list is read.

    Raises:
        ReaderError: no such file, not such a list, or none in the folder; file and entry are named.
        OSError: a file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._referrals: dict[str, dict[tuple[str, str], None]] = {}
        self._captions: dict[str, dict[str, None]] = {}
        if not path.is_dir():
            self._read(path, _entries(path))
            return
        files = sorted(found for pattern in _PATTERNS for found in path.glob(pattern))
        lists = [(found, _entries(found)) for found in files]
        usable = [(found, entries) for found, entries in lists if _is_sentences(entries)]
        if not usable:
            raise ReaderError(f"{path}: no file with a list of {{scan_id, target_id, utterance}}")
        for found, entries in usable:
            self._read(found, entries)

    def referrals(self, scan_id: str) -> tuple[tuple[str, str], ...]:
        """(target_id, utterance) of a scan."""
        return tuple(self._referrals.get(scan_id, ()))

    def captions(self, scan_id: str) -> tuple[str, ...]:
        """Sentences about the whole scan."""
        return tuple(self._captions.get(scan_id, ()))

    def _read(self, path: Path, entries: Any) -> None:
        if not isinstance(entries, list):
            raise ReaderError(f"{path}: expected a list, got {type(entries).__name__}")
        for number, entry in enumerate(entries):
            scan_id, utterance = (entry.get(k) if isinstance(entry, dict) else None for k in ("scan_id", "utterance"))
            if not isinstance(scan_id, str) or not isinstance(utterance, str):
                raise ReaderError(f"{path}: entry {number}: no scan_id or no utterance")
            target, sentence = entry.get("target_id"), utterance.strip()
            if target is None:
                self._captions.setdefault(scan_id, {})[sentence] = None
            elif isinstance(target, str | int) and not isinstance(target, bool):
                self._referrals.setdefault(scan_id, {})[str(target), sentence] = None
            else:
                raise ReaderError(f"{path}: entry {number}: target_id: expected a number or a name, got {target!r}")


def _entries(path: Path) -> Any:
    if path.suffix != ".jsonl":
        return read_json(path)
    out = []
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                if line.strip():
                    out.append(json.loads(line))
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise ReaderError(f"{path}: line {number} is not JSON: {error}") from None
    return out


def _is_sentences(entries: Any) -> bool:
    return isinstance(entries, list) and bool(entries) and isinstance(entries[0], dict) and "utterance" in entries[0]
