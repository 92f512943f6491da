"""The node ``localizer``: embeddings and odometry in; place, pose, map->odom and answers out."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions

import crossover_ros.msg as messages
from crossover_models.estimate import FailureCategory, LocalizationEstimate, LocalizationState, Retrieval
from crossover_models.geometry import se2_from_se3
from crossover_models.localizer import LocalizerError
from crossover_models.observation import SceneEmbedding, WallSlice
from crossover_models.stage_clock import StageClock
from crossover_models.threads import use_threads
from crossover_ros import conversions
from crossover_ros.conversions.answers import read_embedding, stamped_pose
from crossover_ros.encoder_source import EncoderSource
from crossover_ros.input_rates import InputRates
from crossover_ros.managed_node import OTHER_CLOCK_S, ManagedNode
from crossover_ros.map_session import MapSession, open_map
from crossover_ros.map_to_odom import MapToOdom
from crossover_ros.outputs import Outputs
from crossover_ros.relocalize_action import RelocalizeAction
from crossover_ros.services import Services
from crossover_ros.settings import LocalizerNodeSettings
from crossover_ros.stated_poses import believe_stated_pose
from crossover_ros.worker import CALL, Worker

RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
# Where the odometry topic is behind the sensors by so much, or ahead, the odometry poses of the embeddings stand in.
ODOMETRY_LATE_NS, ODOMETRY_AHEAD_NS = 20_000_000, 1_000_000_000


class LocalizerNode(ManagedNode[LocalizerNodeSettings]):
    """Runs :class:`crossover_models.localizer.Localizer` in a worker thread, its only user."""

    def __init__(
        self,
        source: EncoderSource,
        subscribe_embeddings: bool = True,
        elsewhere: Collection[str] = (),
        **options: Any,
    ) -> None:
        super().__init__("localizer", LocalizerNodeSettings(), elsewhere, **options)
        self._source, self._subscribe_embeddings = source, subscribe_embeddings
        self.session: MapSession | None = None
        self._database = self.settings.database
        self._latest: LocalizationEstimate | None = None
        self._told: tuple[LocalizationState, FailureCategory] | None = None
        self._retrieval: Retrieval | None = None
        self._wall_slice: WallSlice | None = None
        self._slice_at = -float("inf")
        self._sensor_ns = self._odometry_ns = self._slice_ns = 0
        self._sensor_age_s: float | None = None
        self._latency_s = 0.0
        self._rates = InputRates()
        self._inputs: list[Any] = []
        self._transform = MapToOdom(self)
        self._pose_ns = 0
        self._outputs = Outputs(self)
        self.clock = StageClock()
        self.worker = Worker("localizer", self._work, self.work_failed, self.clock, untimed=(CALL, "odometry"))
        self.worker.start()
        self._requests = Services(self)
        self._goals = RelocalizeAction(self)
        self._advice = (
            None
            if self.settings.publish_tf
            else self.create_publisher(PoseWithCovarianceStamped, "initialpose", RELIABLE)
        )

    @property
    def diagnostics_period_s(self) -> float:
        """Time between two diagnostics."""
        return self.settings.diagnostics_period_s

    # -- lifecycle -------------------------------------------------------------------------------------------------

    def set_up(self) -> None:
        """Open the database and subscribe; without a database the result says no_database."""
        use_threads(self.settings.threads)
        try:
            self.session = self._open(self._database)
        except (ValueError, OSError) as error:
            self._tell_no_database(str(error))
            raise
        self._transform.open()
        subscriptions: list[tuple[Any, str, str, Callable[[Any], None], QoSProfile]] = [
            (Odometry, "odom", "odometry", self._on_odometry, qos_profile_sensor_data),
        ]
        if self._subscribe_embeddings:
            subscriptions.append((messages.SceneEmbedding, "scene_embedding", "embedding", self._on_message, RELIABLE))
        if self.settings.publish_tf:  # An adviser's own advice must not come back to it.
            subscriptions.append((PoseWithCovarianceStamped, "initialpose", "initialpose", self._on_pose, RELIABLE))
        for kind, topic, name, callback, qos in subscriptions:
            options = QoSOverridingOptions.with_default_policies()
            handler = self.guarded(name, callback)
            self._inputs.append(self.create_subscription(kind, topic, handler, qos, qos_overriding_options=options))
        levels = ", ".join(f"{key.building_id}/{key.level_id}" for key in self.session.levels)
        self.get_logger().info(f"map {self.session.path} ({self.session.fingerprint}): {levels}")
        if self.session.unindexed:
            self.get_logger().warning(
                f"{', '.join(self.session.unindexed)}: many places and no fresh index, so that all are searched; "
                f"'crossover map index {self.session.path}' makes one"
            )

    def _open(self, path: str) -> MapSession:
        s = self.settings
        return open_map(path, s, self._source.fingerprint(s.checkpoint, s.device), self._encode_text, self.clock)

    def _encode_text(self, text: str) -> Any:
        """Text encoder of the map's own kind; loaded with the first question."""
        encoder = self._source.get(self.settings.checkpoint, self.settings.device)
        session = self.session
        if session is not None and encoder.fingerprint != session.encoder_fingerprint:
            raise LocalizerError(
                f"text: this node's encoder is {encoder.fingerprint}, the database's {session.encoder_fingerprint}"
            )
        return encoder.encode_text(text)

    def go(self) -> None:
        """Announce the levels' frames and the state."""
        self._transform.send_frames(self.session)
        self.worker.call(self.publish_now)

    def pause(self) -> None:
        """Forget waiting data; the belief stays, and so does map->odom's silence until new data come."""
        self._latest = None
        self._transform.withdraw()
        self._rates.clear()

    def tear_down(self) -> None:
        """Unsubscribe and let go of the map."""
        self.worker.stop()
        self._requests.abandon()
        self._goals.abandon()
        self.worker.start()
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs.clear()
        self._transform.close()
        self.session = self._latest = self._told = self._retrieval = self._wall_slice = None
        self._slice_at = -float("inf")
        self._sensor_ns = self._odometry_ns = self._slice_ns = self._pose_ns = 0
        self._sensor_age_s = None

    def on_settings(self, old: LocalizerNodeSettings) -> None:
        """Hand changed settings to the core, in the worker."""
        settings = self.settings

        def apply() -> None:
            if self.session is None:
                return
            self.session.localizer.reconfigure(settings)
            if settings.level != old.level:
                self.session.localizer.set_level(settings.building, settings.level)

        self.worker.call(apply)

    def adopt_database(self, path: str) -> str:
        """Take a database while unconfigured; with autostart the node comes up with it. Returns what happened.

        Raises:
            ValueError: it cannot be used.
        """
        if not self.settings.autostart:
            self._open(path)
            self._database = path
            return f"{path} opens; configure the node to use it"
        before, self._database = self._database, path
        if self.autostart():
            return f"{path} is in use and the node is active"
        self._database = before
        raise LocalizerError(self.failure_text or f"{path}: opened, but the node did not become active")

    def replace_session(self, path: str) -> MapSession:
        """In the worker: use another database; the old one stays if the new one does not open.

        Raises:
            ValueError: it cannot be used.
        """
        session = self._open(path)
        self.session, self._database = session, path
        self._retrieval = self._wall_slice = None
        self._slice_at = -float("inf")
        self._transform.send_frames(session)
        self.publish_now()
        return session

    @property
    def newest_ns(self) -> int:
        """Stamp of the newest sensor data or odometry; 0 before any."""
        return self._sensor_ns or self._odometry_ns

    def why_no_database(self) -> str:
        """A sentence for those who ask while there is none."""
        return self.failure_text or "the node is not configured"

    def wake(self) -> None:
        """Let the executor look again at coroutines whose result has come from the worker."""
        if self.executor is not None:
            self.executor.wake()

    # -- executor thread -------------------------------------------------------------------------------------------

    def _on_odometry(self, message: Any) -> None:
        self._rates.heard("odom", time.monotonic())
        reading, s = conversions.read_odometry(message), self.settings
        if (reading.odom_frame, reading.base_frame) != (s.odom_frame, s.base_frame):
            raise conversions.ConversionError(
                f"header.frame_id, child_frame_id: {reading.odom_frame} -> {reading.base_frame} is not the odometry "
                f"wanted, {s.odom_frame} -> {s.base_frame} (parameters odom_frame, base_frame)"
            )
        age_s, sensor_age_s = self.age_s(reading.stamp_ns, "odometry"), self._sensor_age_s
        if sensor_age_s is not None and abs(age_s - sensor_age_s) > OTHER_CLOCK_S:
            apart_s = age_s - sensor_age_s
            raise conversions.ConversionError(f"header.stamp: {apart_s:.0f} s behind the other sensors' clock")
        T_odom_base = se2_from_se3(reading.T_odom_base)
        self._transform.moved(T_odom_base)
        self.worker.put("odometry", (reading.stamp_ns, T_odom_base), depth=1000)

    def _on_message(self, message: Any) -> None:
        self.take(read_embedding(message), float(message.age_s))

    def take(self, embedding: SceneEmbedding, age_s: float) -> None:
        """Queue an embedding, from the topic or from the encoder of the same process."""
        if self.active:
            self._sensor_age_s = self.age_s(embedding.stamp_ns)
            kind = f"embedding:{embedding.modality.value}"
            self.worker.put(kind, embedding, self.settings.embedding_queue)

    def _on_pose(self, message: Any) -> None:
        """A pose stated on initialpose; refused ones are counted and told of."""
        session = self.session
        if session is None:
            return

        def place() -> None:
            try:
                believe_stated_pose(self, session, message)
            except ValueError as error:
                self.report("initialpose_refused", f"initialpose: {error}")

        self.worker.call(place)

    # -- worker thread ---------------------------------------------------------------------------------------------

    def data_at_hand(self) -> bool:
        """Whether a wall slice came in lately, by the time of arrival."""
        return time.monotonic() - self._slice_at <= self.settings.belief.stale_s

    def _work(self, kind: str, items: list[Any]) -> None:
        if kind == CALL:
            items[0]()
            return
        session = self.session
        if session is None or not self.active:
            return
        if kind == "odometry":
            for stamp_ns, T_odom_base in items:
                self._carry(session, stamp_ns, T_odom_base)
            self._track(session)
        else:
            for embedding in items:
                try:
                    self._on_embedding(session, embedding)
                except Exception as error:  # One that is refused takes no other with it.
                    self.work_failed(kind, error)

    def _carry(self, session: MapSession, stamp_ns: int, T_odom_base: Any) -> None:
        """Hand odometry (3,) to the core and to a search beside it."""
        before_ns, self._odometry_ns = self._odometry_ns, stamp_ns
        if stamp_ns < before_ns:
            back_s = (before_ns - stamp_ns) * 1e-9
            self.report("odometry_backwards", f"odometry: header.stamp: runs back by {back_s:.3f} s: begun anew")
            self._pose_ns = 0
        leap = session.localizer.on_odometry(stamp_ns, T_odom_base)
        if leap:
            self.report("odometry_leaps", f"odometry: pose.pose: {leap}: the pose is doubted")
            self.publish_now()
        self._goals.on_odometry(stamp_ns, T_odom_base)

    def _on_embedding(self, session: MapSession, embedding: SceneEmbedding) -> None:
        wall_slice = embedding.wall_slice
        late_ns = embedding.stamp_ns - self._odometry_ns
        if wall_slice is not None and not -ODOMETRY_AHEAD_NS < late_ns < ODOMETRY_LATE_NS:
            session.localizer.on_odometry(embedding.stamp_ns, wall_slice.T_odom_aligned)
        estimate = session.localizer.on_embedding(embedding)
        if wall_slice is None and late_ns > ODOMETRY_LATE_NS and self._odometry_ns and self._sensor_ns:
            # Where odometry ends, the pose is known; at the picture's stamp it is not yet.
            known_ns = max(self._odometry_ns, self._slice_ns)
            estimate = replace(session.localizer.estimate(known_ns), runtime_s=estimate.runtime_s)
        self.counters["embeddings"] += 1
        self._sensor_ns = estimate.stamp_ns
        if wall_slice is not None:
            self._wall_slice, self._slice_at = wall_slice, time.monotonic()
            self._slice_ns = embedding.stamp_ns
        with self.clock.stage("publish"):
            self._publish(session, estimate)
            retrieval = session.localizer.last_retrieval
            if retrieval is not None and retrieval is not self._retrieval:
                self._retrieval = retrieval
                self._outputs.retrieval(retrieval, session.fingerprint)
        self._requests.serve_pending()
        self._goals.on_embedding(embedding)

    def publish_now(self) -> None:
        """Publish the estimate as it is now."""
        session = self.session
        if session is None or not self.active:
            return
        self._publish(session, self._estimate(session))

    def _estimate(self, session: MapSession) -> LocalizationEstimate:
        """The pose at the newest data's stamp, with what the time since then makes of the state (stale)."""
        at_ns = self.newest_ns or self.now_ns()
        now = session.localizer.estimate(self.now_ns() or at_ns)
        return replace(session.localizer.estimate(at_ns), failure=now.failure, message=now.message)

    def _publish(self, session: MapSession, estimate: LocalizationEstimate) -> None:
        self._told = (estimate.state, estimate.failure)
        age_s = self.age_s(estimate.stamp_ns) if estimate.stamp_ns else 0.0
        if estimate.failure == FailureCategory.HEALTHY and self.settings.overload_s < age_s < OTHER_CLOCK_S:
            text = f"the data are {age_s:.1f} s old when answered"
            estimate = replace(estimate, failure=FailureCategory.OVERLOAD, message=text)
        self._latency_s = age_s
        estimate = self._transform.follow(estimate)
        before, self._latest = self._latest, estimate
        self._outputs.result(estimate, session.fingerprint, age_s)
        if estimate.state == LocalizationState.LOCALIZED:
            self._say_pose(session, max(estimate.stamp_ns, self._pose_ns))
        best = estimate.best
        level = best.level if best is not None else (session.levels[0] if len(session.levels) == 1 else None)
        if level is not None:
            plan = session.localizer.plans[level]
            self._outputs.floor_plan(level, plan, estimate.stamp_ns)
            self._outputs.overlay(estimate, plan, self._wall_slice)
        if estimate.T_map_odom is not None and (before is None or before.T_map_odom is None):
            self._advise(estimate)

    def _track(self, session: MapSession) -> None:
        """Between fixes: the announced pose, carried along odometry, at most ``pose_rate_hz`` times a second."""
        latest, rate_hz = self._latest, self.settings.pose_rate_hz
        if latest is None or latest.state != LocalizationState.LOCALIZED or rate_hz <= 0.0:
            return
        if (self._odometry_ns - self._pose_ns) * 1e-9 * rate_hz >= 1.0:
            self._say_pose(session, self._odometry_ns)

    def _say_pose(self, session: MapSession, stamp_ns: int) -> None:
        """The pose believed at a stamp, with its covariance; its stamps never run backwards within a run."""
        estimate = session.localizer.estimate(stamp_ns)
        if estimate.state == LocalizationState.LOCALIZED:
            self._pose_ns = stamp_ns
            self._outputs.pose(estimate)

    def _advise(self, estimate: LocalizationEstimate) -> None:
        """Seed another localizer with a fix that is new."""
        best = estimate.best
        if self._advice is not None and best is not None:
            frame = self.settings.advised_frame
            self._advice.publish(stamped_pose(estimate.stamp_ns, frame, best.T_map_base, best.covariance))

    def _refresh(self) -> None:
        """Publish when time alone has changed the state (stale data)."""
        session = self.session
        if session is None or not self.active:
            return
        estimate = self._estimate(session)
        if (estimate.state, estimate.failure) != self._told:
            self._publish(session, estimate)

    def _tell_no_database(self, reason: str) -> None:
        text = " ".join(reason.split())
        empty = LocalizationEstimate(0, LocalizationState.UNINITIALIZED, FailureCategory.NO_DATABASE, text, (), 1.0)
        self._outputs.result(empty, "", 0.0)

    # -- diagnostics -----------------------------------------------------------------------------------------------

    def status(self) -> tuple[FailureCategory, str, dict[str, str]]:
        """Failure category of the latest estimate, and what it rests on."""
        for kind, count in list(self.worker.dropped.items()):
            self.counters[f"{kind.replace(':', '_')}_dropped"] = count
        values = {"latency_s": f"{self._latency_s:.3f}", "busy_s": f"{self.worker.busy_s:.3f}"}
        values |= self.clock.diagnostics()
        if self.session is None:
            return FailureCategory.NO_DATABASE, self.why_no_database(), values
        values["database"], values["database_fingerprint"] = self.session.path, self.session.fingerprint
        if not self.active:
            return FailureCategory.NO_SENSOR_DATA, "inactive", values
        self.worker.call(self._refresh)
        latest = self._latest
        if latest is None:
            return FailureCategory.NO_SENSOR_DATA, "no embedding yet: is the encoder running?", values
        values["state"], values["unknown_probability"] = latest.state.name, f"{latest.unknown_probability:.3f}"
        values["hypotheses"], values["scans"] = str(len(latest.hypotheses)), str(latest.scans_accumulated)
        values["transform_lag_m"] = f"{self._transform.lag()[0]:.3f}"
        if latest.best is not None:
            level = latest.best.level
            values["best"] = f"{level.building_id}/{level.level_id}/{latest.best.place_name}"
            values["probability"] = f"{latest.best.probability:.3f}"
        rates, weak, _ = self._rates.judge(time.monotonic())
        values |= {f"{name}_hz": f"{rate:.1f}" for name, rate in rates.items()}
        if weak and latest.failure == FailureCategory.HEALTHY:
            return FailureCategory.NO_SENSOR_DATA, "; ".join(weak), values
        return latest.failure, latest.message, values

    def destroy_node(self) -> None:
        """Stop the worker and destroy the node."""
        self.worker.stop()
        self._goals.destroy()
        super().destroy_node()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the localizer alone."""
    from crossover_ros.localize import run

    return run(argv, ("localizer",))


if __name__ == "__main__":
    sys.exit(main())
