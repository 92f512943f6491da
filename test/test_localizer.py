"""The localizer on planted maps with known answers, including ones that cannot be localized."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from planted import (
    FINGERPRINT,
    PlantedMap,
    asymmetric_plan,
    drive,
    lidar_embedding,
    other_plan,
    scan,
)

from crossover_models.config import LocalizerSettings
from crossover_models.continuity import slice_seen_before
from crossover_models.estimate import (
    FailureCategory,
    LevelKey,
    LocalizationEstimate,
    LocalizationState,
    PoseFit,
    RelocalizeCode,
    RelocalizeRequest,
)
from crossover_models.floor_plan import FloorPlan
from crossover_models.geometry import compose_se2, inverse_se2, wrap_angle
from crossover_models.localizer import Localizer, LocalizerError
from crossover_models.observation import Code, Modality, SceneEmbedding, WallSlice

L1, L2 = LevelKey("house", "L1"), LevelKey("house", "L2")
START = np.array([1.5, 5.0, 0.1])
# Nothing else in the plan looks like it, so that one scan is enough; START looks much the same from the other end.
DISTINCT = np.array([10.0, 2.0, 0.1])
ODOM_FROM_MAP = np.array([3.0, -2.0, 0.7])


def run(
    localizer: Localizer, plan: FloorPlan, poses: list[NDArray[np.float64]], first_stamp_s: float = 1.0
) -> LocalizationEstimate:
    """Drive through a plan with perfect odometry and a lidar."""
    estimate = None
    for k, pose in enumerate(poses):
        stamp_ns = round((first_stamp_s + 0.5 * k) * 1e9)
        odom = compose_se2(ODOM_FROM_MAP, pose)
        localizer.on_odometry(stamp_ns, odom)
        estimate = localizer.on_embedding(lidar_embedding(scan(plan, pose, odom, stamp_ns, seed=k)))
    assert estimate is not None
    return estimate


def error(estimate: LocalizationEstimate, pose: NDArray[np.float64]) -> tuple[float, float]:
    assert estimate.best is not None
    delta = estimate.best.T_map_base - pose
    return float(np.hypot(delta[0], delta[1])), abs(float(np.degrees(wrap_angle(delta[2]))))


def test_cold_start_in_a_distinct_building_finds_the_pose_and_publishes_map_to_odom() -> None:
    plan = asymmetric_plan()
    localizer = Localizer(PlantedMap({L1: plan, L2: other_plan()}), LocalizerSettings())
    poses = drive(START, 6)
    estimate = run(localizer, plan, poses)
    assert estimate.state == LocalizationState.LOCALIZED and estimate.failure == FailureCategory.HEALTHY
    assert estimate.best is not None and estimate.best.level == L1 and estimate.best.place_id == "L1-west"
    position_m, heading_deg = error(estimate, poses[-1])
    assert position_m < 0.08 and heading_deg < 1.0
    assert estimate.T_map_odom == pytest.approx(inverse_se2(ODOM_FROM_MAP), abs=0.1)
    total = sum(h.probability for h in estimate.hypotheses) + estimate.unknown_probability
    assert total == pytest.approx(1.0)


def test_twin_floors_keep_their_mass_apart_and_are_not_announced() -> None:
    plan = asymmetric_plan()
    localizer = Localizer(PlantedMap({L1: plan, L2: plan}), LocalizerSettings())
    estimate = run(localizer, plan, drive(START, 6))
    assert estimate.state == LocalizationState.INITIALIZING
    assert estimate.failure == FailureCategory.AMBIGUOUS
    assert estimate.T_map_odom is None
    shares = {h.level: h.probability for h in estimate.hypotheses[:2]}
    assert shares[L1] == pytest.approx(shares[L2], abs=0.05)


def test_semantics_decide_between_twin_floors() -> None:
    plan = asymmetric_plan()
    source = PlantedMap({L1: plan, L2: plan})
    # One-hot codes are as sure as they look; nobody has fitted what they are worth.
    localizer = Localizer(source, LocalizerSettings().with_flat({"retrieval.uncalibrated_weight": 1.0}))
    for k, pose in enumerate(drive(START, 12)):
        stamp_ns = round((1 + 0.5 * k) * 1e9)
        localizer.on_odometry(stamp_ns, pose)
        localizer.on_embedding(lidar_embedding(scan(plan, pose, pose, stamp_ns, seed=k)))
        half = "west" if pose[0] < 7 else "east"
        seen = SceneEmbedding(stamp_ns, Modality.IMAGE, source.vector(f"L2-{half}"), FINGERPRINT)
        estimate = localizer.on_embedding(seen)
    assert estimate.best is not None and estimate.best.level == L2
    assert estimate.state == LocalizationState.LOCALIZED


def test_a_place_that_is_not_in_the_map_is_never_announced() -> None:
    localizer = Localizer(PlantedMap({L1: asymmetric_plan()}), LocalizerSettings())
    other = other_plan()
    estimate = run(localizer, other, drive(np.array([3.5, 3.5, 1.2]), 6, step_m=0.25))
    assert estimate.state != LocalizationState.LOCALIZED
    assert estimate.T_map_odom is None


def test_a_kidnapped_robot_loses_its_pose_and_finds_the_new_one() -> None:
    plan = asymmetric_plan()
    localizer = Localizer(PlantedMap({L1: plan}), LocalizerSettings())
    first = run(localizer, plan, drive(START, 6))
    assert first.state == LocalizationState.LOCALIZED
    # Carried to another room: odometry goes on as if nothing had happened.
    T_map_odom_before = compose_se2(START, inverse_se2(compose_se2(ODOM_FROM_MAP, START)))
    away = drive(np.array([10.5, 8.5, -2.2]), 40, step_m=0.25, turn_rad=0.07)
    odom_start = compose_se2(ODOM_FROM_MAP, drive(START, 6)[-1])
    states = []
    for k, pose in enumerate(away):
        odom = compose_se2(odom_start, compose_se2(inverse_se2(away[0]), pose))
        stamp_ns = round((10 + 0.5 * k) * 1e9)
        localizer.on_odometry(stamp_ns, odom)
        estimate = localizer.on_embedding(lidar_embedding(scan(plan, pose, odom, stamp_ns, seed=50 + k)))
        states.append(estimate.state)
    assert LocalizationState.LOST in states
    assert estimate.state == LocalizationState.LOCALIZED
    assert error(estimate, away[-1])[0] < 0.15
    assert np.hypot(*(estimate.T_map_odom - T_map_odom_before)[:2]) > 1.0


def test_data_older_than_all_odometry_at_hand_are_answered_where_the_robot_was_then_and_never_elsewhere() -> None:
    """An overloaded robot: its newest sweep is half a minute old, and odometry has gone on and forgotten that time."""
    plan, poses = asymmetric_plan(), drive(START, 6)
    localizer = Localizer(PlantedMap({L1: plan}), LocalizerSettings())
    assert run(localizer, plan, poses).state == LocalizationState.LOCALIZED
    seen_ns, odom = round((1.0 + 0.5 * (len(poses) - 1)) * 1e9), compose_se2(ODOM_FROM_MAP, poses[-1])
    for k in range(300):
        localizer.on_odometry(seen_ns + (k + 1) * 100_000_000, compose_se2(odom, np.array([0.01 * (k + 1), 0.0, 0.0])))
    then = localizer.estimate(seen_ns)
    assert then.stamp_ns == seen_ns and error(then, poses[-1])[0] < 0.1
    # Between the sweep and what odometry remembers nobody knows; the first moment that is known is answered for.
    later = localizer.estimate(seen_ns + 1_000_000_000)
    way_m = (later.stamp_ns - seen_ns) * 1e-9 * 0.1
    assert 15.0 < (later.stamp_ns - seen_ns) * 1e-9 < 25.0
    assert error(later, compose_se2(poses[-1], np.array([way_m, 0.0, 0.0])))[0] < 0.1


def test_where_odometry_was_lost_the_pose_is_that_of_the_sweep_or_of_the_end_of_the_hole() -> None:
    """A process that stood still for 0.9 s: odometry of that time is gone, and data of it are still to be answered."""
    plan, poses = asymmetric_plan(), drive(START, 6)
    localizer = Localizer(PlantedMap({L1: plan}), LocalizerSettings())
    assert run(localizer, plan, poses).state == LocalizationState.LOCALIZED
    begun_ns, here = round((1.0 + 0.5 * (len(poses) - 1)) * 1e9), poses[-1]

    def at(k: int) -> NDArray[np.float64]:
        """Looks to the left and back, ahead again at 0 and 18 (twentieths of a second)."""
        return compose_se2(here, np.array([0.0, 0.0, 1.2 * np.sin(np.pi * min(max(k, 0), 18) / 18)]))

    for k in [*range(-20, 1), *range(18, 25)]:
        localizer.on_odometry(begun_ns + k * 50_000_000, compose_se2(ODOM_FROM_MAP, at(k)))
    picture = localizer.estimate(begun_ns + 9 * 50_000_000)
    assert picture.stamp_ns == begun_ns + 18 * 50_000_000
    assert error(picture, at(18))[1] < 0.05
    stamp_ns = begun_ns + 9 * 50_000_000
    swept = localizer.on_embedding(
        lidar_embedding(scan(plan, at(9), compose_se2(ODOM_FROM_MAP, at(9)), stamp_ns, seed=3))
    )
    assert swept.stamp_ns == stamp_ns and swept.state == LocalizationState.LOCALIZED
    assert error(swept, at(9))[1] < 0.05


def test_what_odometry_has_not_reached_is_answered_for_the_newest_or_with_the_odometry_of_the_sweep() -> None:
    """A process that stood still for 3 s: what was sensed meanwhile is taken before the odometry of that time."""
    plan, poses = asymmetric_plan(), drive(START, 6)
    localizer = Localizer(PlantedMap({L1: plan}), LocalizerSettings())
    assert run(localizer, plan, poses).state == LocalizationState.LOCALIZED
    here, begun_ns = poses[-1], round((1.0 + 0.5 * (len(poses) - 1)) * 1e9)
    for k in range(-20, 1):
        localizer.on_odometry(begun_ns + k * 50_000_000, compose_se2(ODOM_FROM_MAP, here))
    there, stamp_ns = compose_se2(here, np.array([0.9, 0.0, 0.0])), begun_ns + 3_000_000_000
    picture = localizer.estimate(stamp_ns - 500_000_000)
    assert picture.stamp_ns == begun_ns and error(picture, here)[0] < 0.1
    swept = localizer.on_embedding(
        lidar_embedding(scan(plan, there, compose_se2(ODOM_FROM_MAP, there), stamp_ns, seed=4))
    )
    assert swept.stamp_ns == stamp_ns and swept.state == LocalizationState.LOCALIZED
    assert error(swept, there)[0] < 0.1


def localized_in(
    source: PlantedMap, plan: FloorPlan, settings: LocalizerSettings
) -> tuple[Localizer, NDArray[np.float64]]:
    """A localizer that announced a pose, and the odometry (3,) there."""
    localizer = Localizer(source, settings)
    assert run(localizer, plan, drive(START, 6)).state == LocalizationState.LOCALIZED
    return localizer, compose_se2(ODOM_FROM_MAP, drive(START, 6)[-1])


def see(
    localizer: Localizer, plan: FloorPlan, pose: NDArray[np.float64], odom: NDArray[np.float64], stamp_s: float
) -> LocalizationEstimate:
    stamp_ns = round(stamp_s * 1e9)
    localizer.on_odometry(stamp_ns, odom)
    return localizer.on_embedding(lidar_embedding(scan(plan, pose, odom, stamp_ns, seed=stamp_ns % 97)))


def test_a_robot_that_is_carried_is_lost_with_the_first_look_and_found_with_little_travel() -> None:
    plan = asymmetric_plan()
    localizer, odom = localized_in(PlantedMap({L1: plan}), plan, LocalizerSettings())
    away = drive(DISTINCT, 4, step_m=0.25)
    estimates = [
        see(localizer, plan, pose, compose_se2(odom, compose_se2(inverse_se2(away[0]), pose)), 5.0 + 0.5 * k)
        for k, pose in enumerate(away)
    ]
    # Never an announcement of the old place, not even with the first look.
    for estimate, pose in zip(estimates, away, strict=True):
        assert estimate.state != LocalizationState.LOCALIZED or error(estimate, pose)[0] < 0.15
    assert estimates[-1].state == LocalizationState.LOCALIZED


def test_a_ride_to_another_floor_is_noticed_when_the_doors_open() -> None:
    plan, above = asymmetric_plan(), other_plan()
    localizer, odom = localized_in(PlantedMap({L1: plan, L2: above}), plan, LocalizerSettings())
    up = np.array([3.5, 3.5, 1.2])
    estimate = see(localizer, above, up, odom, 5.0)
    assert estimate.state == LocalizationState.LOCALIZED or estimate.T_map_odom is None
    for k, pose in enumerate(drive(up, 6, step_m=0.25)[1:]):
        moved = compose_se2(odom, compose_se2(inverse_se2(up), pose))
        estimate = see(localizer, above, pose, moved, 5.5 + 0.5 * k)
    assert estimate.state == LocalizationState.LOCALIZED
    assert estimate.best is not None and estimate.best.level == L2 and error(estimate, pose)[0] < 0.15


def cabin(odom: NDArray[np.float64]) -> WallSlice:
    """Four walls of a lift around the robot: too few returns in the band of the slice to be matched."""
    t = np.linspace(-0.6, 0.6, 4)
    side = np.full_like(t, 0.7)
    walls = np.concatenate([np.stack(pair, axis=1) for pair in ((t, side), (t, -side), (side, t), (-side, t))])
    return WallSlice(round(4.5e9), walls.astype(np.float32), np.zeros((1, 2), np.float32), np.zeros(16, np.int32), odom)


def test_after_a_ride_in_a_lift_twin_floors_are_ambiguous_again() -> None:
    plan = asymmetric_plan()
    localizer = Localizer(PlantedMap({L1: plan, L2: plan}), LocalizerSettings())
    odom = compose_se2(ODOM_FROM_MAP, DISTINCT)
    localizer.on_odometry(0, odom)
    localizer.set_pose(L1, DISTINCT, np.diag([0.01, 0.01, 0.001]))
    assert see(localizer, plan, DISTINCT, odom, 4.0).state == LocalizationState.LOCALIZED
    localizer.on_embedding(lidar_embedding(cabin(odom)))
    for k, pose in enumerate(drive(DISTINCT, 5, step_m=0.25)):
        estimate = see(localizer, plan, pose, compose_se2(ODOM_FROM_MAP, pose), 5.0 + 0.5 * k)
        assert estimate.state == LocalizationState.LOST
    shares = {h.level: h.probability for h in estimate.hypotheses[:2]}
    assert shares[L1] == pytest.approx(shares[L2], abs=0.2)


def test_surroundings_that_change_at_once_and_fit_the_announced_pose_are_no_sign_of_being_carried() -> None:
    """Odometry that missed a part of a turn: the next look is like none before, and the plan explains it."""
    plan = asymmetric_plan()
    localizer, odom = localized_in(PlantedMap({L1: plan, L2: other_plan()}), plan, LocalizerSettings())
    here = drive(START, 6)[-1]
    turned = compose_se2(here, np.array([0.0, 0.0, 0.3]))
    before, after = (scan(plan, pose, odom, 0, seed=4) for pose in (here, turned))
    assert slice_seen_before(before, after) < LocalizerSettings().belief.continuity_share
    estimate = see(localizer, plan, turned, odom, 60.0)
    assert estimate.state == LocalizationState.LOCALIZED
    assert error(estimate, turned)[0] < 0.15 and error(estimate, turned)[1] < 3.0


def test_a_carried_robot_is_searched_everywhere_and_not_where_retrieval_says_only() -> None:
    plan = asymmetric_plan()
    source = PlantedMap({L1: plan, L2: other_plan()})
    localizer, odom = localized_in(source, plan, LocalizerSettings())
    # Retrieval goes on being sure of the other building part.
    for k in range(2):
        seen = scan(plan, DISTINCT, odom, round((5.0 + 0.5 * k) * 1e9), seed=k)
        estimate = localizer.on_embedding(replace(lidar_embedding(seen), vector=source.vector("L2-west")))
    assert estimate.state == LocalizationState.LOCALIZED and error(estimate, DISTINCT)[0] < 0.15


def test_surroundings_that_change_for_a_moment_do_not_cost_the_pose() -> None:
    plan = asymmetric_plan()
    pose = drive(START, 6)[-1]
    localizer, odom = localized_in(PlantedMap({L1: plan}), plan, LocalizerSettings())
    # A crowd all around at 0.8 m, and gone again: the robot never moved.
    crowd = scan(plan, pose, odom, round(5e9))
    bearing = np.arctan2(crowd.points[:, 1], crowd.points[:, 0])
    near = 0.8 * np.stack([np.cos(bearing), np.sin(bearing)], axis=1).astype(np.float32)
    hidden = localizer.on_embedding(lidar_embedding(replace(crowd, points=near)))
    assert hidden.state == LocalizationState.LOST
    estimate = see(localizer, plan, pose, odom, 5.5)
    assert estimate.best is not None and error(estimate, pose)[0] < 0.15
    for k in range(1, 5):
        there = compose_se2(pose, np.array([0.25 * k, 0.0, 0.0]))
        estimate = see(localizer, plan, there, compose_se2(odom, np.array([0.25 * k, 0.0, 0.0])), 5.5 + 0.5 * k)
    assert estimate.state == LocalizationState.LOCALIZED and error(estimate, there)[0] < 0.15


def test_a_pose_that_overtakes_the_announced_one_is_not_announced_in_its_stead() -> None:
    plan = asymmetric_plan()
    source = PlantedMap({L1: plan, L2: plan})
    localizer = Localizer(source, LocalizerSettings())
    localizer.on_odometry(0, compose_se2(ODOM_FROM_MAP, START))
    localizer.set_pose(L1, START, np.diag([0.1, 0.1, 0.02]))
    assert run(localizer, plan, drive(START, 2)).state == LocalizationState.LOCALIZED
    belief = localizer._belief
    belief.restart([PoseFit(L2, START, np.eye(3) * 0.01, -0.1, 1.0, 0.0)], compose_se2(ODOM_FROM_MAP, START))
    image = SceneEmbedding(round(3e9), Modality.IMAGE, source.vector("L1-east"), FINGERPRINT)
    estimate = localizer.on_embedding(image)
    assert belief.weight[0] > 0.9
    assert estimate.state == LocalizationState.LOST and estimate.T_map_odom is None


def test_a_pose_found_among_retrieved_places_waits_for_a_search_of_everything() -> None:
    plan = asymmetric_plan()
    source = PlantedMap({L1: plan, L2: plan})
    localizer = Localizer(source, LocalizerSettings())
    localizer.on_embedding(SceneEmbedding(1, Modality.IMAGE, source.vector("L1-east"), FINGERPRINT))
    assert localizer.last_retrieval is not None and not localizer.last_retrieval.abstained
    first = run(localizer, plan, [DISTINCT])
    assert first.best is not None and first.best.level == L1 and first.best.probability > 0.9
    assert first.state == LocalizationState.INITIALIZING, "its twin upstairs has not been looked at"
    later = run(localizer, plan, drive(DISTINCT, 6), first_stamp_s=2.0)
    assert {h.level for h in later.hypotheses[:2]} == {L1, L2}
    assert later.state == LocalizationState.INITIALIZING


def test_a_robot_that_stands_is_searched_for_everywhere_with_its_next_slice_and_announced() -> None:
    plan = asymmetric_plan()
    source = PlantedMap({L1: plan})
    localizer = Localizer(source, LocalizerSettings())
    localizer.on_embedding(SceneEmbedding(1, Modality.IMAGE, source.vector("L1-east"), FINGERPRINT))
    first = run(localizer, plan, [DISTINCT])
    assert first.state == LocalizationState.INITIALIZING and first.best is not None and first.best.probability > 0.9
    second = run(localizer, plan, [DISTINCT], first_stamp_s=2.0)
    assert second.state == LocalizationState.LOCALIZED
    # And not again and again: standing on, nothing more is searched or scored.
    weight = second.best.probability if second.best else 0.0
    third = run(localizer, plan, [DISTINCT], first_stamp_s=3.0)
    assert third.best is not None and third.best.probability == weight


def test_images_alone_name_places_but_no_pose() -> None:
    source = PlantedMap({L1: asymmetric_plan()})
    localizer = Localizer(source, LocalizerSettings())
    estimate = localizer.on_embedding(SceneEmbedding(5, Modality.IMAGE, source.vector("L1-east"), FINGERPRINT))
    assert estimate.state == LocalizationState.INITIALIZING
    assert estimate.failure == FailureCategory.NO_SENSOR_DATA
    assert localizer.last_retrieval is not None
    assert localizer.last_retrieval.places[0].place_id == "L1-east"


def test_estimates_answer_for_the_stamp_of_the_data() -> None:
    plan = asymmetric_plan()
    localizer = Localizer(PlantedMap({L1: plan}), LocalizerSettings())
    poses = drive(START, 6)
    run(localizer, plan, poses)
    middle = localizer.estimate(round((1 + 0.5 * 4.5) * 1e9))
    assert middle.best is not None
    assert middle.best.T_map_base[:2] == pytest.approx((poses[4] + poses[5])[:2] / 2, abs=0.08)
    stale = localizer.estimate(round(60e9))
    assert stale.failure == FailureCategory.STALE


def test_another_encoder_is_refused_with_both_fingerprints() -> None:
    localizer = Localizer(PlantedMap({L1: asymmetric_plan()}), LocalizerSettings())
    with pytest.raises(LocalizerError, match=f"stranger.*{FINGERPRINT}"):
        localizer.on_embedding(SceneEmbedding(0, Modality.IMAGE, np.ones(32, dtype=np.float32), "stranger"))


def test_a_plan_without_walls_is_reported_not_matched() -> None:
    blank = asymmetric_plan()
    blank = FloorPlan(np.zeros_like(blank.occupancy), blank.resolution_m, blank.origin_xy)
    localizer = Localizer(PlantedMap({L1: blank}), LocalizerSettings())
    estimate = localizer.on_embedding(lidar_embedding(scan(asymmetric_plan(), START)))
    assert estimate.state != LocalizationState.LOCALIZED
    assert estimate.failure == FailureCategory.WEAK_OVERLAP and "no occupied cell" in estimate.message


class TestRelocalize:
    """Every response code that the core can give."""

    def test_no_sensor_data(self) -> None:
        localizer = Localizer(PlantedMap({L1: asymmetric_plan()}), LocalizerSettings())
        assert localizer.relocalize(RelocalizeRequest()).code == RelocalizeCode.NO_SENSOR_DATA

    def test_bad_hint_names_what_there_is(self) -> None:
        localizer = Localizer(PlantedMap({L1: asymmetric_plan()}), LocalizerSettings())
        response = localizer.relocalize(RelocalizeRequest(building_hint="castle"))
        assert response.code == RelocalizeCode.BAD_HINT and "house" in response.message

    def test_insufficient_structure(self) -> None:
        plan = asymmetric_plan()
        localizer = Localizer(PlantedMap({L1: plan}), LocalizerSettings())
        localizer.on_embedding(lidar_embedding(scan(plan, START, beams=5)))
        assert localizer.relocalize(RelocalizeRequest()).code == RelocalizeCode.INSUFFICIENT_STRUCTURE

    def test_ambiguous_until_a_level_hint(self) -> None:
        plan = asymmetric_plan()
        localizer = Localizer(PlantedMap({L1: plan, L2: plan}), LocalizerSettings())
        run(localizer, plan, [DISTINCT])
        both = localizer.relocalize(RelocalizeRequest(max_hypotheses=2))
        assert both.code == RelocalizeCode.AMBIGUOUS and both.success and len(both.hypotheses) == 2
        hinted = localizer.relocalize(RelocalizeRequest(level_hint="floor l2"))
        assert hinted.code == RelocalizeCode.OK and hinted.hypotheses[0].level == L2

    def test_text_hint_decides_between_twin_floors(self) -> None:
        plan = asymmetric_plan()
        source = PlantedMap({L1: plan, L2: plan})
        localizer = Localizer(source, LocalizerSettings(), encode_text=lambda text: Code(source.vector("L2-east")))
        run(localizer, plan, [DISTINCT])
        response = localizer.relocalize(RelocalizeRequest(text_hint="east of the second floor"))
        assert response.hypotheses[0].level == L2
        assert response.hypotheses[0].probability > 2 * response.hypotheses[1].probability

    def test_unknown_place(self) -> None:
        localizer = Localizer(PlantedMap({L1: asymmetric_plan()}), LocalizerSettings())
        rng = np.random.default_rng(0)
        noise = scan(asymmetric_plan(), START)
        scattered = rng.uniform(-3, 3, noise.points.shape).astype(np.float32)
        localizer.on_embedding(
            lidar_embedding(type(noise)(1, scattered, noise.origins, noise.origin_index, noise.T_odom_aligned))
        )
        assert localizer.relocalize(RelocalizeRequest()).code == RelocalizeCode.UNKNOWN_PLACE

    def test_asking_changes_nothing_and_applying_does(self) -> None:
        plan = asymmetric_plan()
        localizer = Localizer(PlantedMap({L1: plan, L2: plan}), LocalizerSettings())
        before = run(localizer, plan, [DISTINCT])
        localizer.relocalize(RelocalizeRequest(level_hint="L2"))
        assert localizer.estimate(before.stamp_ns).hypotheses[0].probability < 0.6
        localizer.relocalize(RelocalizeRequest(level_hint="L2", apply=True))
        after = localizer.estimate(before.stamp_ns)
        assert after.state == LocalizationState.LOCALIZED and after.hypotheses[0].level == L2


class TestStatedPose:
    """initialpose and set_level."""

    def test_a_stated_pose_is_believed_and_tracked(self) -> None:
        plan = asymmetric_plan()
        localizer = Localizer(PlantedMap({L1: plan, L2: plan}), LocalizerSettings())
        localizer.on_odometry(0, compose_se2(ODOM_FROM_MAP, START))
        localizer.set_pose(L2, START + np.array([0.2, -0.1, 0.05]), np.diag([0.1, 0.1, 0.02]))
        poses = drive(START, 6)
        estimate = run(localizer, plan, poses)
        assert estimate.state == LocalizationState.LOCALIZED
        assert estimate.best is not None and estimate.best.level == L2
        assert error(estimate, poses[-1])[0] < 0.1

    @pytest.mark.parametrize(
        ("level", "pose", "covariance", "words"),
        [
            (LevelKey("house", "L9"), START, np.eye(3), "L9"),
            (L1, np.array([np.nan, 0, 0]), np.eye(3), "finite"),
            (L1, START, -np.eye(3), "positive definite"),
            (L1, np.array([900.0, 0, 0]), np.eye(3), "off the plan"),
        ],
    )
    def test_nonsense_is_refused(
        self, level: LevelKey, pose: NDArray[np.float64], covariance: NDArray[np.float64], words: str
    ) -> None:
        localizer = Localizer(PlantedMap({L1: asymmetric_plan()}), LocalizerSettings())
        with pytest.raises(LocalizerError, match=words):
            localizer.set_pose(level, pose, covariance)

    def test_a_stated_level_resolves_twin_floors(self) -> None:
        plan = asymmetric_plan()
        localizer = Localizer(PlantedMap({L1: plan, L2: plan}), LocalizerSettings())
        run(localizer, plan, drive(START, 2))
        localizer.set_level("house", "L2")
        estimate = run(localizer, plan, drive(START, 8), first_stamp_s=5.0)
        assert estimate.state == LocalizationState.LOCALIZED
        assert estimate.best is not None and estimate.best.level == L2
        with pytest.raises(LocalizerError, match="attic"):
            localizer.set_level("house", "attic")


@pytest.mark.parametrize(("text", "words"), [("  ", "is empty"), ("kitchen", "without a text encoder")])
def test_text_queries_that_cannot_be_answered_say_why(text: str, words: str) -> None:
    localizer = Localizer(PlantedMap({L1: asymmetric_plan()}), LocalizerSettings())
    with pytest.raises(LocalizerError, match=words):
        localizer.query_text(text)


def relocalizing(text: str = "", encode: bool = True, **request: object) -> tuple[Localizer, RelocalizeCode, str]:
    """A localizer on twin floors that was asked, after one look, with a hint."""
    plan = asymmetric_plan()
    source = PlantedMap({L1: plan, L2: plan})
    encoder = (lambda words: Code(source.vector("L2-east"))) if encode else None
    localizer = Localizer(source, LocalizerSettings().with_flat({"retrieval.uncalibrated_weight": 1.0}), encoder)
    localizer.on_embedding(lidar_embedding(scan(plan, DISTINCT, DISTINCT, round(1e9))))
    response = localizer.relocalize(RelocalizeRequest(text_hint=text, **request))  # type: ignore[arg-type]
    assert response.success == (response.code in (RelocalizeCode.OK, RelocalizeCode.AMBIGUOUS))
    return localizer, response.code, response.message


def test_a_floor_named_in_a_hint_decides_between_twin_floors() -> None:
    assert relocalizing()[1] == RelocalizeCode.AMBIGUOUS
    for text in ("on floor 2", "near L2-east on the second floor", "second floor"):
        localizer, code, message = relocalizing(text, encode=False)
        assert code == RelocalizeCode.OK and "house/L2" in message
        assert localizer.estimate(round(1e9)).state == LocalizationState.INITIALIZING, "asked only"
    localizer, code, _ = relocalizing("on floor 1", apply=True)
    estimate = localizer.estimate(round(1e9))
    assert code == RelocalizeCode.OK and estimate.state == LocalizationState.LOCALIZED
    assert estimate.best is not None and estimate.best.level == L1


def test_words_that_name_nothing_are_left_to_the_text_encoder() -> None:
    _localizer, code, message = relocalizing("where the tall plants are")
    assert code in (RelocalizeCode.OK, RelocalizeCode.AMBIGUOUS) and "house/L2" in message
    _, code, message = relocalizing("where the tall plants are", encode=False)
    assert code == RelocalizeCode.BAD_HINT and "names no level or place" in message and "text encoder" in message
    _, code, message = relocalizing("on the ninth floor")
    assert code == RelocalizeCode.BAD_HINT and "ninth floor" in message


def test_a_hint_in_words_may_be_wrong_and_an_order_may_not() -> None:
    _, code, _ = relocalizing("on floor 1", level_hint="L2")
    assert code == RelocalizeCode.BAD_HINT, "a contradiction: L1 is not among the levels searched"
    plan = asymmetric_plan()
    localizer = Localizer(PlantedMap({L1: plan, L2: other_plan()}), LocalizerSettings())
    for k, pose in enumerate(drive(START, 6)):
        localizer.on_embedding(lidar_embedding(scan(plan, pose, pose, round((1 + k) * 1e9), seed=k)))
    response = localizer.relocalize(RelocalizeRequest(text_hint="on the second floor"))
    assert response.hypotheses[0].level == L1, "what is seen outvotes what is said"
