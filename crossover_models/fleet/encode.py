"""Many buildings encoded side by side by Ray: here, or on a cluster by its address.

A worker reads a source, encodes its places and hands back the building as a database file of its own; this process
puts those together in the order of the sources. The file is the one that a build without Ray writes, row for row. A
worker that dies is replaced and its building encoded again. Sources and checkpoints must lie at the same path on
every machine.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from crossover_models.fleet.assembly import assemble
from crossover_models.fleet.extraction import LocalMap
from crossover_models.fleet.head import BuildingHead
from crossover_models.fleet.stores import EXTRA, TIMEOUT_S
from crossover_models.fleet.units import FleetError
from crossover_models.map_database.build import Progress
from crossover_models.threads import use_threads

LOCAL = "local"


def encode_source(source: str, scales: Mapping[str, float], checkpoint: str, device: str) -> bytes:
    """One building as a database file: what a worker does.

    Raises:
        ValueError, OSError: the source cannot be read, or a place cannot be encoded.
    """
    from crossover_models.encoders import load_encoder
    from crossover_models.map_database.build import build_database
    from crossover_models.map_database.sources import read_source

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "building.xmap"
        build_database(read_source(source, scales), load_encoder(checkpoint, device), out)
        return out.read_bytes()


def _attempt(source: str, scales: Mapping[str, float], checkpoint: str, device: str) -> tuple[bytes, str]:
    """(file, "") or (nothing, what the user did wrong): Ray would wrap an exception in its own and in a traceback."""
    try:
        use_threads(1)
        return encode_source(source, scales, checkpoint, device), ""
    except (ValueError, OSError) as error:
        return b"", str(error) if source in str(error) else f"{source}: {error}"


def build_with_ray(
    sources: Sequence[str],
    out: Path,
    address: str,
    scales: Mapping[str, float] | None = None,
    checkpoint: str = "",
    device: str = "auto",
    progress: Progress | None = None,
) -> None:
    """Encode every source by Ray and write one database.

    Args:
        sources: as :func:`crossover_models.map_database.sources.read_source` takes them.
        address: of a cluster (HOST:PORT, ray://HOST:PORT or ``auto``), or ``local`` for workers on this machine.
        device: ``cuda`` takes a GPU for each building, else one core is taken.
        progress: told each source when it is done.

    Raises:
        FleetError: Ray is not installed or the cluster cannot be reached, a source fails on a worker, two sources hold
            a building of one id, or workers have different encoders.
    """
    results = _with_ray(sources, address, (dict(scales or {}), checkpoint, device), progress)
    with tempfile.TemporaryDirectory(dir=_parent(out), prefix=f".{out.name}.") as folder:
        maps: list[LocalMap] = []
        try:
            for number, data in results:
                path = Path(folder) / f"{number}.xmap"
                path.write_bytes(data)
                maps.append(LocalMap(path))
            write_together(sources, [maps[i] for i in _order(maps, len(sources))], out)
        finally:
            for local in maps:
                local.__exit__()


def write_together(sources: Sequence[str], maps: Sequence[LocalMap], out: Path) -> None:
    """Write files of single buildings as one file, in their order."""
    buildings = [local.building(building_id) for local in maps for building_id in local.building_ids]
    owner: dict[str, tuple[str, LocalMap]] = {}
    for source, local, building in zip(sources, maps, buildings, strict=True):
        head = building.head
        if head.building_id in owner:
            raise FleetError(
                f"building {head.building_id}: in {owner[head.building_id][0]} and in {source}; ids must differ"
            )
        if head.encoder_fingerprint != buildings[0].head.encoder_fingerprint:
            raise FleetError(
                f"{source}: a worker encoded it with {head.encoder_fingerprint}, another {sources[0]} with "
                f"{buildings[0].head.encoder_fingerprint}; install one version on every machine"
            )
        owner[head.building_id] = (source, local)
    levels = {building.head.building_id: building.levels for building in buildings}

    def units(head: BuildingHead) -> Iterator[Iterator[bytes]]:
        local = owner[head.building_id][1]
        for level in levels[head.building_id]:
            yield (local.unit(location) for location in level.locations)

    assemble(out, [building.head for building in buildings], maps[0].interaction, units)


def _with_ray(
    sources: Sequence[str], address: str, settings: tuple[dict[str, float], str, str], progress: Progress | None
) -> Iterator[tuple[int, bytes]]:
    """(number of the source, file) as they are done."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ModuleNotFoundError:
        raise FleetError(f"--ray {address}: needs ray, which the extra fleet brings: {EXTRA}") from None
    started = _start(ray, address)
    waiting: list[Any] = []
    try:
        device = settings[2]
        remote = ray.remote(num_cpus=1, num_gpus=1 if device == "cuda" else 0, max_retries=2)(_attempt)
        numbers = {remote.remote(source, *settings): number for number, source in enumerate(sources)}
        waiting = list(numbers)
        while waiting:
            (done, *_), waiting = ray.wait(waiting, num_returns=1)
            number = numbers[done]
            try:
                data, said = ray.get(done)
            except ray.exceptions.RayError as error:
                first = str(error).strip().splitlines()[0]
                raise FleetError(f"{sources[number]}: the worker failed: {first}") from None
            if said:
                raise FleetError(said)
            if progress is not None:
                progress(sources[number])
            yield number, data
    finally:
        for task in waiting:  # of a build that failed
            ray.cancel(task, force=True)
        if started:
            ray.shutdown()


def _start(ray: Any, address: str) -> bool:
    """Connect or start; whether there was no connection before."""
    if ray.is_initialized():
        return False
    check_reachable(address)
    here: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **here)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise FleetError(f"--ray {address}: cannot be reached: {' '.join(str(error).split())[:200]}") from None
    except Exception as error:  # what Ray raises where its own processes do not start in time has no common class
        raise FleetError(f"--ray {address}: does not start: {' '.join(str(error).split())[:200]}") from None
    return True


def check_reachable(address: str) -> None:
    """Whether somebody listens at HOST:PORT; Ray itself tries a wrong one for many minutes.

    Raises:
        FleetError: nobody does.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return  # local, auto, or a name that Ray refuses at once
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=TIMEOUT_S).close()
    except (OSError, ValueError, OverflowError) as error:
        raise FleetError(f"--ray {address}: cannot be reached: {' '.join(str(error).split())}") from None


def _parent(out: Path) -> Path:
    out.parent.mkdir(parents=True, exist_ok=True)
    return out.parent


def _order(maps: Sequence[LocalMap], count: int) -> list[int]:
    """Positions in ``maps`` of source 0, 1, ..."""
    at = {int(local.path.stem): position for position, local in enumerate(maps)}
    return [at[number] for number in range(count)]
