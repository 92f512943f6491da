"""What the live page shows, as it is now; filled by the node, read by the threads of the server."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.estimate import Hypothesis, LevelKey, LocalizationEstimate, LocalizationState, Retrieval
from crossover_models.floor_plan import FloorPlan
from crossover_models.observation import WallSlice
from crossover_models.plan_picture import draw_overlay

# Estimates of which belief and latency are drawn over time, and positions of the trail.
HISTORY, TRAIL = 600, 2000
# Stamps that go back by more than this are of another run; estimates of image and cloud may cross by less.
ANEW_NS = 2 * 10**9
# Wall slices that wait for the estimate with their stamp.
SLICES = 30
SHOWN_PLACES = 5
OUTSIDE = "between places"


@dataclass(frozen=True)
class Picture:
    """An encoded picture and its media type."""

    data: bytes
    media_type: str


class Board:
    """The newest of everything, with a count of changes that readers wait on; any thread may call any method."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0
        self._values: dict[str, Any] = {"nodes": {}, "retrievals": {}}
        self._history: deque[dict[str, Any]] = deque(maxlen=HISTORY)
        self._trail: deque[tuple[LevelKey, float, float]] = deque(maxlen=TRAIL)
        self._plan: tuple[str, FloorPlan] | None = None
        self._estimate: LocalizationEstimate | None = None
        self._slices: deque[WallSlice] = deque(maxlen=SLICES)
        self._seen: tuple[str, NDArray[np.float64], WallSlice] | None = None
        self._frame: Picture | None = None
        self._drawn: tuple[Any, Picture] | None = None
        self._versions = {"plan": 0, "frame": 0}
        self._newest_ns = 0

    # -- written by the node ---------------------------------------------------------------------------------------

    def on_estimate(self, estimate: LocalizationEstimate, age_s: float) -> None:
        """Take what the localizer says, ``age_s`` after its sensor data.

        What is repeated under an old stamp (a change of state by time) answers no new data, and has no latency.
        """
        best = estimate.best
        entry = {
            "t": estimate.stamp_ns * 1e-9,
            "state": estimate.state.name,
            "latency_ms": _number(1e3 * age_s, 1),
            "unknown": _number(estimate.unknown_probability, 4),
            "shares": belief_shares(estimate),
        }
        localized = best is not None and estimate.state == LocalizationState.LOCALIZED
        with self._changed:
            for wall_slice in self._slices:
                # A pose of another moment would turn the walls.
                if best is not None and wall_slice.stamp_ns == estimate.stamp_ns:
                    self._seen = best.level.map_frame, best.T_map_base, wall_slice
            if estimate.stamp_ns < self._newest_ns - ANEW_NS:  # A bag began anew.
                self._history.clear()
                self._trail.clear()
                self._newest_ns = 0
            if estimate.stamp_ns <= self._newest_ns:
                entry["latency_ms"] = None
            self._newest_ns = max(self._newest_ns, estimate.stamp_ns)
            if estimate.stamp_ns:  # Zero is no moment: no sensor data have come yet.
                self._history.append(entry)
            if best is not None and localized:
                self._trail.append((best.level, float(best.T_map_base[0]), float(best.T_map_base[1])))
            self._estimate = estimate
            self._versions["plan"] += 1
            self._values["estimate"] = {
                **entry,
                "failure": estimate.failure.value,
                "message": estimate.message,
                "place": (best.place_name or best.place_id or OUTSIDE) if best is not None else "",
                "level": "/".join(best.level) if best is not None else "",
                "probability": _number(best.probability, 4) if best is not None else 0.0,
                "pose": _rounded(best) if best is not None else None,
                "hypotheses": len(estimate.hypotheses),
                "scans": estimate.scans_accumulated,
                "modalities": [m.value for m in estimate.modalities_used],
                "runtime_ms": _number(1e3 * estimate.runtime_s, 1),
            }
            self._tell()

    def on_retrieval(self, retrieval: Retrieval) -> None:
        """Take ranked places; the newest of each modality is shown."""
        places = [
            {
                "id": [p.level.building_id, p.level.level_id, p.place_id],
                "name": p.name,
                "level": p.level.level_id,
                "category": p.category,
                "probability": _number(p.probability, 4),
            }
            for p in retrieval.places[:SHOWN_PLACES]
        ]
        with self._changed:
            self._values["retrievals"][retrieval.query_modality.value] = {
                "t": retrieval.stamp_ns * 1e-9,
                "abstained": retrieval.abstained,
                "places": places,
            }
            self._tell()

    def on_plan(self, frame: str, plan: FloorPlan) -> None:
        """Take the plan of the level whose map frame it is."""
        with self._changed:
            self._plan = frame, plan
            self._versions["plan"] += 1
            self._tell()

    def on_wall_slice(self, wall_slice: WallSlice) -> None:
        """Take the walls just seen, drawn with the estimate of the same stamp."""
        with self._changed:
            self._slices.append(wall_slice)

    def on_frame(self, image: NDArray[np.uint8]) -> None:
        """Take a camera frame (H, W, 3) RGB."""
        picture = encode(image, jpeg=True)
        with self._changed:
            self._frame = picture
            self._versions["frame"] += 1
            self._tell()

    def on_node(self, name: str, level: int, message: str) -> None:
        """Take a node's diagnostics: level 0 is good, as in diagnostic_msgs/DiagnosticStatus."""
        with self._changed:
            self._values["nodes"][name] = {"level": level, "message": message}
            self._tell()

    def _tell(self) -> None:
        self._count += 1
        self._changed.notify_all()

    # -- read by the server ----------------------------------------------------------------------------------------

    def wait(self, seen: int, timeout_s: float) -> int:
        """Wait until there is something newer than change ``seen``; returns the newest change's number."""
        with self._changed:
            self._changed.wait_for(lambda: self._count != seen, timeout_s)
            return self._count

    def snapshot(self) -> dict[str, Any]:
        """Everything but pictures, ready for JSON; ``versions`` tell which pictures are new."""
        with self._changed:
            plan = self._plan[0] if self._plan is not None else ""
            values = {key: dict(value) if isinstance(value, Mapping) else value for key, value in self._values.items()}
            return {**values, "plan": plan, "versions": dict(self._versions)}

    def history(self) -> list[dict[str, Any]]:
        """Belief and latency over time, oldest first."""
        with self._changed:
            return sorted(self._history, key=lambda entry: float(entry["t"]))

    def frame(self) -> Picture | None:
        """The newest camera frame."""
        with self._changed:
            return self._frame

    def plan(self) -> Picture | None:
        """The plan with belief, walls seen and trail; drawn when somebody asks, once for each change."""
        with self._changed:
            version, current, estimate, seen = self._versions["plan"], self._plan, self._estimate, self._seen
            trail, drawn = list(self._trail), self._drawn
        if drawn is not None and drawn[0] == version:
            return drawn[1]
        if current is None:
            return None
        frame, plan = current
        here = [h for h in estimate.hypotheses if h.level.map_frame == frame] if estimate is not None else []
        path = [(x, y) for level, x, y in trail if level.map_frame == frame]
        pose, walls = (seen[1], seen[2]) if seen is not None and seen[0] == frame else (None, None)
        pixels = draw_overlay(plan, here, walls, trail_xy=path, T_map_slice=pose)
        picture = encode(pixels)
        with self._changed:
            self._drawn = version, picture
        return picture


def belief_shares(estimate: LocalizationEstimate) -> dict[str, float]:
    """Place (with its level) -> its share of the belief; poses outside all places together."""
    out: dict[str, float] = {}
    for h in estimate.hypotheses:
        name = f"{h.place_name or h.place_id or OUTSIDE} ({h.level.level_id})"
        out[name] = round(out.get(name, 0.0) + h.probability, 4)
    return out


def encode(pixels: NDArray[np.uint8], jpeg: bool = False) -> Picture:
    """A picture (H, W, 3) RGB as JPEG or PNG.

    Raises:
        ValueError: it cannot be encoded.
    """
    kind, options = (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 80]) if jpeg else (".png", [cv2.IMWRITE_PNG_COMPRESSION, 3])
    done, data = cv2.imencode(kind, np.ascontiguousarray(pixels[..., ::-1]), options)
    if not done:
        raise ValueError(f"picture: {pixels.shape} cannot be encoded as {kind}")
    return Picture(data.tobytes(), "image/jpeg" if jpeg else "image/png")


def _number(value: float, digits: int) -> float | None:
    """JSON has no NaN: what is not finite is null."""
    return round(float(value), digits) if np.isfinite(value) else None


def _rounded(hypothesis: Hypothesis) -> list[float]:
    x, y, yaw = (float(v) for v in hypothesis.T_map_base)
    return [round(x, 2), round(y, 2), round(float(np.degrees(yaw)), 1)]
