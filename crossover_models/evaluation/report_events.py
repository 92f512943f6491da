"""The part of a report that shows what went wrong or was left unsaid, with the sensor data of the moment."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.estimate import LevelKey
from crossover_models.evaluation.events import ABSTAINED, Event
from crossover_models.evaluation.evidence import Evidence
from crossover_models.evaluation.judgement import Judgement
from crossover_models.evaluation.report_style import since_start_s
from crossover_models.floor_plan import FloorPlan
from crossover_models.geometry import compose_se2
from crossover_models.map_source import PlaceOutline
from crossover_models.places import interior_point
from crossover_models.plan_picture import SEARCHING, SEEN, TRUE, WRONG, cloud_picture, plan_patch

# Side of the patches of plan and of the clouds from above, so that one is found again in the other.
SIDE_M = 12.0


def event_cards(
    found: Sequence[Event],
    judgement: Judgement,
    plans: Mapping[LevelKey, FloorPlan],
    evidence: Mapping[int, Evidence],
) -> str:
    """HTML of all events: poses first, then abstentions of retrieval, which are many, folded.

    Args:
        found: of :func:`crossover_models.evaluation.events.events`.
        judgement: the run.
        plans: the map's plans.
        evidence: by stamp; an event without says so.
    """
    poses = [event for event in found if event.kind != ABSTAINED]
    retrievals = [event for event in found if event.kind == ABSTAINED]
    drawn = _Drawn(judgement, plans, evidence)
    parts = [f'<div class="events">{"".join(drawn.card(event) for event in poses)}</div>' if poses else ""]
    if not poses:
        parts.append('<p class="quiet">From the first to the last estimate the right pose was announced.</p>')
    if retrievals:
        count = sum(event.count for event in retrievals)
        parts.append(
            f"<details><summary>Retrieval abstained {count} times, in {len(retrievals)} stretches</summary>"
            f'<div class="events">{"".join(drawn.card(event) for event in retrievals)}</div></details>'
        )
    return "".join(parts)


class _Drawn:
    def __init__(
        self, judgement: Judgement, plans: Mapping[LevelKey, FloorPlan], evidence: Mapping[int, Evidence]
    ) -> None:
        self._judgement, self._plans, self._evidence = judgement, plans, evidence
        self._places = {(place.key, place.place_id): place for place in judgement.places}

    def card(self, event: Event) -> str:
        """One event: what, when, and the pictures."""
        at_s, end_s = (since_start_s(self._judgement, ns) for ns in (event.stamp_ns, event.end_ns))
        when = f"at {at_s:.1f} s" if event.end_ns == event.stamp_ns else f"{at_s:.1f} to {end_s:.1f} s"
        shown = self._evidence.get(event.stamp_ns)
        pictures = [*self._sensors(shown), *self._patches(event, shown)]
        return (
            f'<article class="event{" bad" if event.wrong else ""}"><h3>{html.escape(self._title(event))} '
            f'<span class="quiet">{when}</span></h3><p>{html.escape(self._told(event))}</p>'
            f'<div class="pictures">{"".join(pictures)}</div></article>'
        )

    def _title(self, event: Event) -> str:
        if event.retrieval is not None:
            return f"{event.retrieval.retrieval.query_modality.value.replace('_', ' ').capitalize()}: no place named"
        return event.kind.capitalize()

    def _told(self, event: Event) -> str:
        if event.retrieval is not None:
            ranked, rank = event.retrieval.retrieval.places, event.retrieval.rank
            first = (
                f"{ranked[0].name} came first with {100 * ranked[0].probability:.0f} %" if ranked else "nothing came"
            )
            true = f"the true one, {self._name_of(event.retrieval.place_id)}, "
            true += f"had rank {rank}" if rank else "was not listed"
            often = f"{event.count} times in a row; " if event.count > 1 else ""
            told = f"{often}{first}, {true}."
            return told[0].upper() + told[1:]
        assert event.judged is not None
        estimate, truth = event.judged.event.estimate, event.judged.truth
        best = estimate.best
        believed = "No pose was tracked"
        if best is not None:
            place = best.place_name or self._name_of(best.place_id) or "between places"
            believed = f"{'Announced' if event.judged.localized else 'Best guess'} {place} ({best.level.level_id}), "
            believed += f"{100 * best.probability:.0f} %"
        there = "no truth at that moment" if truth is None else "really "
        if truth is not None:
            there += (
                f"in {self._name_of(truth.place_id)}" if truth.place_id else f"between places of {truth.level.level_id}"
            )
        error = event.judged.error_m
        off = "" if error is None or not np.isfinite(error) else f", {error:.2f} m away"
        why = "" if event.judged.localized else f" {estimate.state.name}, {estimate.failure.value}"
        message = f": {estimate.message}" if estimate.message and why else ""
        return f"{believed}; {there}{off}.{why}{message}"

    def _name_of(self, place_id: str) -> str:
        return next((p.name for p in self._judgement.places if p.place_id == place_id), place_id)

    def _sensors(self, shown: Evidence | None) -> list[str]:
        if shown is None:
            return ['<p class="quiet">The sensor data of this moment were not kept.</p>']
        out = []
        if shown.frame is not None:
            out.append(_picture(shown.frame, f"camera, {shown.frame_age_s:.1f} s before", jpeg=True))
        if shown.cloud is not None and len(shown.cloud):
            out.append(_picture(cloud_picture(shown.cloud, SIDE_M), f"cloud from above, {SIDE_M:.0f} m wide"))
        return out

    def _patches(self, event: Event, shown: Evidence | None) -> list[str]:
        """Plan where the robot was believed to be, and where it was, with the walls that it saw laid over."""
        if event.retrieval is not None:
            return self._place_patches(event)
        assert event.judged is not None
        out = []
        best, truth = event.judged.event.estimate.best, event.judged.truth
        color = WRONG if event.wrong else SEARCHING
        spots = [("believed", best.level, best.T_map_base, color)] if best is not None else []
        spots += [("true", truth.level, truth.T_map_base, TRUE)] if truth is not None else []
        for name, level, pose, pose_color in spots:
            plan = self._plans.get(level)
            if plan is None:
                continue
            patch = plan_patch(plan, pose[:2], SIDE_M)
            if shown is not None and shown.wall_slice is not None:
                patch.draw_slice(compose_se2(pose, shown.T_base_slice), shown.wall_slice, SEEN)
            patch.draw_pose(pose, pose_color)
            out.append(_picture(patch.pixels, f"{name}: plan of {level.level_id}, walls seen in green"))
        return out

    def _place_patches(self, event: Event) -> list[str]:
        assert event.retrieval is not None
        out = []
        ranked = event.retrieval.retrieval.places
        first = self._places.get((ranked[0].level, ranked[0].place_id)) if ranked else None
        true = next((p for p in self._judgement.places if p.place_id == event.retrieval.place_id), None)
        spots: list[tuple[str, PlaceOutline | None]] = [("first", first), ("true", true)]
        if first is not None and first is true:
            spots = [("first and true", true)]
        for name, place in spots:
            if place is None or place.key not in self._plans:
                continue
            patch = plan_patch(self._plans[place.key], interior_point(place.polygon), SIDE_M)
            patch.draw_outline(place.polygon, SEARCHING if name == "first" else TRUE)
            out.append(_picture(patch.pixels, f"{name}: {place.name} ({place.key.level_id})"))
        return out


def _picture(pixels: NDArray[np.uint8], caption: str, jpeg: bool = False) -> str:
    kind, options = (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 80]) if jpeg else (".png", [cv2.IMWRITE_PNG_COMPRESSION, 9])
    done, data = cv2.imencode(kind, np.ascontiguousarray(pixels[..., ::-1]), options)
    if not done:
        raise ValueError(f"picture: {pixels.shape} cannot be encoded as {kind}")
    mime = "image/jpeg" if jpeg else "image/png"
    source = f"data:{mime};base64,{base64.b64encode(data.tobytes()).decode()}"
    text = html.escape(caption)
    return f'<figure><img loading="lazy" alt="{text}" src="{source}"><figcaption>{text}</figcaption></figure>'
