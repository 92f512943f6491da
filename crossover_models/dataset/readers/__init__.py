"""Readers of published data sets, by name; a reader's module is imported when it is used."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from crossover_models.dataset.readers.reader import Reader, ReaderError, ReaderOptions, ReadScan

DATASETS: dict[str, tuple[str, str]] = {
    "scannet": ("crossover_models.dataset.readers.scannet", "ScanNetReader"),
    "scan3r": ("crossover_models.dataset.readers.scan3r", "Scan3rReader"),
    "arkitscenes": ("crossover_models.dataset.readers.arkitscenes", "ArkitScenesReader"),
    "multiscan": ("crossover_models.dataset.readers.multiscan", "MultiScanReader"),
    "structured3d": ("crossover_models.dataset.readers.structured3d", "Structured3dReader"),
}
"""Name -> module and class."""


def reader_class(dataset: str) -> type[Reader]:
    """Class of a data set's reader.

    Raises:
        ReaderError: an unknown name; the message lists the known ones.
    """
    if dataset not in DATASETS:
        raise ReaderError(f"data set: unknown {dataset!r}; known: {', '.join(sorted(DATASETS))}")
    module, name = DATASETS[dataset]
    found: type[Reader] = getattr(import_module(module), name)
    return found


def open_reader(dataset: str, root: Path, options: ReaderOptions | None = None) -> Reader:
    """Open a data set.

    Raises:
        ReaderError: an unknown name, an option that the reader does not know, or ``root`` lacks its files.
    """
    cls, options = reader_class(dataset), options or ReaderOptions()
    default = ReaderOptions()
    for option in vars(options):
        if option not in cls.uses and getattr(options, option) != getattr(default, option):
            raise ReaderError(f"--{option}: {dataset} has no use for it; it goes by {', '.join(sorted(cls.uses))}")
    if not root.is_dir():
        raise ReaderError(f"{root}: no such folder")
    return cls(root, options)


__all__ = ["DATASETS", "ReadScan", "Reader", "ReaderError", "ReaderOptions", "open_reader", "reader_class"]
