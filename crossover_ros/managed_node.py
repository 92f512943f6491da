"""What both lifecycle nodes share: parameters, failures that are counted and told, diagnostics."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any, Generic, TypeVar

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from crossover_models.config import Settings
from crossover_models.estimate import FailureCategory
from crossover_ros import parameters
from crossover_ros.bond import Bond

S = TypeVar("S", bound=Settings)

# One warning of a kind in this time; the counters in the diagnostics miss none.
WARN_EVERY_S = 5.0
# A stamp this far from the node's clock is not late, it is of another clock.
OTHER_CLOCK_S = 60.0
NS_PER_S = 1e9


class ManagedNode(LifecycleNode, Generic[S]):
    """A lifecycle node with typed settings.

    Subclasses implement ``set_up`` (may raise ValueError or OSError: the node then stays unconfigured and says why),
    ``go``, ``pause``, ``tear_down`` and ``status``.

    Raises:
        ConfigError: a parameter is unknown, of the wrong type or out of range.
    """

    def __init__(self, name: str, defaults: S, elsewhere: Collection[str], **options: Any) -> None:
        super().__init__(name, **options)
        try:
            self.settings: S = parameters.declare(self, defaults, elsewhere)
        except ValueError:
            super().destroy_node()
            raise
        parameters.follow(self, lambda: self.settings, self._accept)
        self.active = False
        self.configured = False
        # Why the last configuring failed; empty if it did not.
        self.failure_text = ""
        self.counters: Counter[str] = Counter()
        self._warned_at: dict[str, float] = {}
        # The newest thing that was reported, with its time: a counter alone does not say which field was wrong.
        self._last_fault: tuple[str, float] | None = None
        # Timers by the steady clock: with use_sim_time and no /clock, ROS time stands still.
        self.steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.bond = Bond(self, float(self.get_parameter("bond_heartbeat_period").value), self.steady)
        self.create_timer(self.diagnostics_period_s, self.diagnose, clock=self.steady)

    # -- for subclasses --------------------------------------------------------------------------------------------

    @property
    def diagnostics_period_s(self) -> float:
        """Time between two diagnostics."""
        return 1.0

    def set_up(self) -> None:
        """Configure."""

    def go(self) -> None:
        """Activate."""

    def pause(self) -> None:
        """Deactivate."""

    def tear_down(self) -> None:
        """Clean up."""

    def on_settings(self, old: S) -> None:
        """Settings changed while running."""

    def status(self) -> tuple[FailureCategory, str, dict[str, str]]:
        """Failure category, sentence and further values of the diagnostics."""
        raise TypeError(f"{type(self).__name__} tells no status")

    # -- failures --------------------------------------------------------------------------------------------------

    def report(self, kind: str, text: str, count: int = 1) -> None:
        """Count a failure and warn of its kind, at most every few seconds."""
        self.counters[kind] += count
        now = time.monotonic()
        self._last_fault = (text, now)
        if now - self._warned_at.get(kind, -WARN_EVERY_S) >= WARN_EVERY_S:
            self._warned_at[kind] = now
            self.get_logger().warning(f"{text} ({kind}: {self.counters[kind]} so far)")

    def guarded(self, kind: str, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        """A subscription's callback that only runs while active, and reports what is wrong with a message."""

        def run(message: Any) -> None:
            if not self.active:
                return
            try:
                callback(message)
            except Exception as error:  # Whatever a message holds, the node goes on.
                self.work_failed(kind, error)

        return run

    def work_failed(self, kind: str, error: Exception) -> None:
        """A worker's item failed: bad data are a warning, anything else comes with its traceback."""
        if not self.context.ok():  # Interrupted in the middle of work: nobody is left to publish to.
            return
        kind = kind.partition(":")[0]
        if isinstance(error, ValueError):
            self.report(f"{kind}_refused", f"{kind}: {error}")
            return
        self.counters[f"{kind}_failed"] += 1
        self._last_fault = (f"{kind}: {type(error).__name__}: {error}", time.monotonic())
        trace = "".join(traceback.format_exception(error))
        self.get_logger().error(f"{kind}: {type(error).__name__}: {error}\n{trace}")

    def now_ns(self) -> int:
        """The node's clock; 0 while simulated time has not begun."""
        return int(self.get_clock().now().nanoseconds)

    def age_s(self, stamp_ns: int, what: str = "data") -> float:
        """Seconds from the stamp of ``what`` to now, 0 while simulated time has not begun."""
        now = self.now_ns()
        age = (now - stamp_ns) / NS_PER_S if now else 0.0
        if abs(age) > OTHER_CLOCK_S:
            simulated = self.get_parameter("use_sim_time").value
            self.report(
                "other_clock",
                f"{what} are stamped {age:.0f} s before this node's clock: is use_sim_time={simulated} right?",
            )
        return age

    # -- diagnostics -----------------------------------------------------------------------------------------------

    def diagnose(self) -> None:
        """Publish the node's state with its failure category and counters."""
        category, text, values = self.status()
        status = DiagnosticStatus(name=f"{self.get_fully_qualified_name()[1:]}: localization", hardware_id="")
        if self.failure_text:
            status.level = DiagnosticStatus.ERROR
        elif category == FailureCategory.HEALTHY:
            status.level = DiagnosticStatus.OK
        else:
            status.level = DiagnosticStatus.WARN
        status.message = f"{category.value}: {text}" if text else category.value
        values = {"failure_category": category.value, **values, **{k: str(v) for k, v in sorted(self.counters.items())}}
        if self._last_fault is not None:
            text, at = self._last_fault
            values |= {"last_fault": text, "last_fault_age_s": f"{time.monotonic() - at:.1f}"}
        status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)

    # -- lifecycle -------------------------------------------------------------------------------------------------

    def autostart(self) -> bool:
        """Configure and activate, as a lifecycle manager would; False if that failed."""
        return (
            self.trigger_configure() == TransitionCallbackReturn.SUCCESS
            and self.trigger_activate() == TransitionCallbackReturn.SUCCESS
        )

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Set up; a failure leaves the node unconfigured, alive and saying why."""
        self.failure_text = ""
        try:
            self.set_up()
            parameters.refuse_unknown_qos(self)
        except Exception as error:  # rclpy would swallow what it does not expect, without a word.
            expected = isinstance(error, ValueError | OSError | RuntimeError)
            self.failure_text = " ".join(f"{'' if expected else type(error).__name__ + ': '}{error}".split())
            trace = "" if expected else "\n" + traceback.format_exc()
            self.get_logger().error(f"not configured: {self.failure_text}{trace}")
            self.tear_down()
            self.diagnose()
            return TransitionCallbackReturn.FAILURE
        self.configured = True
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to take data."""
        self.active = True
        self.go()
        self.bond.form()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop taking data."""
        self.active = False
        self.bond.dissolve()
        self.pause()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Back to unconfigured."""
        self.active = self.configured = False
        self.bond.dissolve()
        self.tear_down()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Finalize."""
        return self.on_cleanup(state)

    def destroy_node(self) -> None:
        """End the bond and destroy the node."""
        if self.context.ok():
            self.bond.dissolve()
        super().destroy_node()

    def _accept(self, settings: S) -> None:
        old, self.settings = self.settings, settings
        if old != settings:
            self.on_settings(old)
