"""A small TF buffer for machines without tf2_ros: the tree of frames over the last seconds."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from threading import Lock
from typing import NamedTuple

import numpy as np

from crossover_models.geometry import Array, interpolate_quaternion, inverse_se3, se3_from_quaternion

CACHE_S = 10.0
NS_PER_S = 1e9
# TF trees are a few frames deep; a longer chain is a loop that grows.
MAX_DEPTH = 64


class TransformError(ValueError):
    """There is no transform between two frames at a stamp; the message names the frames, the stamp and the reason."""


class TransformPendingError(TransformError):
    """As :class:`TransformError`, but the missing part may still arrive."""


class _Sample(NamedTuple):
    parent: str
    translation: tuple[float, float, float]
    quaternion: tuple[float, float, float, float]


@dataclass
class _Track:
    """What was said of one child frame, oldest first."""

    static: bool
    stamps: list[int] = field(default_factory=list)
    samples: list[_Sample] = field(default_factory=list)


class TransformBuffer:
    """Transforms by child frame; safe to fill from one thread and to read from another."""

    def __init__(self, cache_s: float = CACHE_S) -> None:
        self._cache_ns = round(cache_s * NS_PER_S)
        self._tracks: dict[str, _Track] = {}
        self._lock = Lock()

    def clear(self) -> None:
        """Forget all but static transforms (after the clock jumped)."""
        with self._lock:
            self._tracks = {child: track for child, track in self._tracks.items() if track.static}

    def add(
        self,
        parent: str,
        child: str,
        stamp_ns: int,
        translation: tuple[float, float, float],
        quaternion_xyzw: tuple[float, float, float, float],
        static: bool = False,
    ) -> None:
        """Take in one transform.

        Raises:
            TransformError: a frame without name or that is its own parent, or numbers that are no rigid transform.
        """
        parent, child = parent.lstrip("/"), child.lstrip("/")
        if not parent or not child or parent == child:
            raise TransformError(f"transform from {child!r} to {parent!r}: is between no two frames")
        norm = sum(v * v for v in quaternion_xyzw)
        if not (0.81 < norm < 1.21) or not all(np.isfinite(translation)):
            numbers = f"translation {translation}, quaternion {quaternion_xyzw}"
            raise TransformError(f"transform from {child} to {parent}: {numbers} is not rigid")
        sample = _Sample(parent, translation, quaternion_xyzw)
        with self._lock:
            track = self._tracks.get(child)
            if static or track is None or track.static:
                self._tracks[child] = _Track(static, [stamp_ns], [sample])
                return
            if stamp_ns < track.stamps[-1] - self._cache_ns:  # A new run of a bag: the old one is no neighbor in time.
                track.stamps.clear()
                track.samples.clear()
            at = bisect_right(track.stamps, stamp_ns)
            track.stamps.insert(at, stamp_ns)
            track.samples.insert(at, sample)
            old = bisect_left(track.stamps, track.stamps[-1] - self._cache_ns)
            del track.stamps[:old], track.samples[:old]

    def lookup(self, target: str, source: str, stamp_ns: int) -> Array:
        """T_target_source (4, 4) at a stamp, interpolated between neighbors in time and never extrapolated.

        Raises:
            TransformPendingError: a part is unknown so far, or its newest sample is older than the stamp.
            TransformError: the stamp is before all that is kept, or the frames form a loop.
        """
        target, source = target.lstrip("/"), source.lstrip("/")
        with self._lock:
            try:
                return self._between(target, source, stamp_ns)
            except TransformError as error:
                kind = type(error)
                raise kind(f"no transform from {source} to {target} at {stamp_ns / NS_PER_S:.3f} s: {error}") from None

    def _between(self, target: str, source: str, stamp_ns: int) -> Array:
        up, source_error = self._ancestors(source, stamp_ns, stop=target)
        if target in up:
            return up[target]
        down, target_error = self._ancestors(target, stamp_ns, stop=None)
        for frame, T_frame_target in down.items():
            if frame in up:
                return inverse_se3(T_frame_target) @ up[frame]
        heard = {*self._tracks, *(sample.parent for track in self._tracks.values() for sample in track.samples[-1:])}
        for frame in (target, source):
            if frame not in heard:
                raise TransformPendingError(f"{frame} was never heard of")
        error = source_error or target_error
        if error is not None:
            raise error
        raise TransformPendingError(f"they hang in two trees, under {list(up)[-1]} and {list(down)[-1]}")

    def _ancestors(self, frame: str, stamp_ns: int, stop: str | None) -> tuple[dict[str, Array], TransformError | None]:
        """T_ancestor_frame of the frame and all above it, as far as they are known, and what ended the climb."""
        reached: dict[str, Array] = {frame: np.eye(4)}
        at = frame
        while at != stop and at in self._tracks:
            try:
                parent, T_parent_at = self._sample(at, stamp_ns)
            except TransformError as error:
                return reached, error
            if parent in reached or len(reached) > MAX_DEPTH:
                return reached, TransformError(f"the frames form a loop: {' -> '.join([*reached, parent])}")
            reached[parent] = T_parent_at @ reached[at]
            at = parent
        return reached, None

    def _sample(self, child: str, stamp_ns: int) -> tuple[str, Array]:
        track = self._tracks[child]
        stamps, samples = track.stamps, track.samples
        if track.static:
            sample = samples[-1]
            return sample.parent, se3_from_quaternion(sample.translation, sample.quaternion)
        if stamp_ns > stamps[-1]:
            late_s = (stamp_ns - stamps[-1]) / NS_PER_S
            raise TransformPendingError(f"the newest transform of {child} is {late_s:.3f} s older")
        if stamp_ns < stamps[0]:
            raise TransformError(f"the oldest transform of {child} is {(stamps[0] - stamp_ns) / NS_PER_S:.3f} s newer")
        after = bisect_left(stamps, stamp_ns)
        new = samples[after]
        if stamps[after] == stamp_ns:
            return new.parent, se3_from_quaternion(new.translation, new.quaternion)
        old = samples[after - 1]
        if old.parent != new.parent:  # Re-parented in between: the older statement held until the newer one.
            return old.parent, se3_from_quaternion(old.translation, old.quaternion)
        fraction = (stamp_ns - stamps[after - 1]) / (stamps[after] - stamps[after - 1])
        translation = np.asarray(old.translation) * (1.0 - fraction) + np.asarray(new.translation) * fraction
        q0, q1 = (np.asarray(s.quaternion) / np.linalg.norm(s.quaternion) for s in (old, new))
        return new.parent, se3_from_quaternion(translation, interpolate_quaternion(q0, q1, fraction))
