"""The live page: what it is told, what it serves, and what a real browser shows of real nodes."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: install the extra `ros`, or source a ROS environment")

from browser import DESKTOP, PHONE, browser, needs_browser
from planted import scan
from rclpy.parameter import Parameter
from ros_graph import L1, L2, PLANS, House, graph, wait_for, write_map
from sensor_messages import image
from sensor_msgs.msg import Image
from test_conversions import widths

from crossover_models.estimate import (
    FailureCategory,
    Hypothesis,
    LevelKey,
    LocalizationEstimate,
    LocalizationState,
    RankedPlace,
    Retrieval,
)
from crossover_models.observation import Modality
from crossover_models.plan_picture import SEEN
from crossover_ros.view.board import Board, Picture, belief_shares
from crossover_ros.view.main import main
from crossover_ros.view.node import ViewNode
from crossover_ros.view.places import PlacePictures
from crossover_ros.view.server import MAX_READERS, ViewServer

S = 10**9


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_map(tmp_path_factory.mktemp("map") / "house.xmap")


def hypothesis(level: LevelKey, x: float, probability: float, name: str) -> Hypothesis:
    return Hypothesis(level, np.array([x, 5.0, 0.0]), np.eye(3), probability, place_id=name, place_name=name)


def estimate(at_s: float, *hypotheses: Hypothesis, state: LocalizationState | None = None) -> LocalizationEstimate:
    state = state if state is not None else LocalizationState.LOCALIZED
    unknown = 1.0 - sum(h.probability for h in hypotheses)
    return LocalizationEstimate(round(at_s * S), state, FailureCategory.HEALTHY, "fine", hypotheses, unknown)


BEST = hypothesis(L1, 2.0, 0.7, "west")
RIVAL = hypothesis(L2, 3.0, 0.2, "attic")


# -- the board -----------------------------------------------------------------------------------------------------


def test_shares_of_places_and_of_nowhere_are_the_whole_belief() -> None:
    told = estimate(1.0, BEST, hypothesis(L1, 3.0, 0.05, "west"), RIVAL)
    assert belief_shares(told) == {"west (L1)": 0.75, "attic (L2)": 0.2}
    assert sum(belief_shares(told).values()) + told.unknown_probability == pytest.approx(1.0)


def test_a_bag_that_begins_anew_forgets_the_time_before() -> None:
    board = Board()
    for at_s in (0.0, 10.0, 11.0, 3.0, 3.5):
        board.on_estimate(estimate(at_s, BEST), 0.1)
    assert [entry["t"] for entry in board.history()] == [3.0, 3.5]


def test_what_is_said_again_of_old_data_has_no_latency_and_time_runs_forward() -> None:
    board = Board()
    for at_s, age_s in ((5.0, 0.1), (5.4, 0.1), (5.2, 0.3), (5.4, 3.0)):
        board.on_estimate(estimate(at_s, BEST), age_s)
    told = [(entry["t"], entry["latency_ms"]) for entry in board.history()]
    assert told == [(5.0, 100.0), (5.2, None), (5.4, 100.0), (5.4, None)]


def test_what_is_no_number_is_null_so_that_a_browser_can_read_it() -> None:
    board = Board()
    board.on_estimate(replace(estimate(1.0), runtime_s=float("nan"), unknown_probability=float("nan")), float("inf"))
    ranked = RankedPlace(L1, "west", "West", "", float("nan"), float("nan"), (0.0, 0.0))
    board.on_retrieval(Retrieval(S, Modality.IMAGE, (ranked,), True))
    text = json.dumps([board.snapshot(), board.history()], allow_nan=False)
    assert '"latency_ms": null' in text and '"probability": null' in text


def test_the_plan_is_drawn_once_for_each_change_and_follows_the_level() -> None:
    board = Board()
    assert board.plan() is None
    board.on_plan(L1.map_frame, PLANS[L1])
    empty = board.plan()
    assert empty is not None and board.plan() is empty
    seen = scan(PLANS[L1], np.array([2.0, 5.0, 0.0]), seed=0)
    board.on_wall_slice(replace(seen, stamp_ns=S))
    board.on_estimate(estimate(1.0, BEST, RIVAL), 0.1)
    drawn = board.plan()
    assert drawn is not None and has_walls(drawn) and not has_walls(empty)
    # The walls stay where they were seen from while the robot turns.
    turned = replace(BEST, T_map_base=np.array([2.0, 5.0, 1.0]))
    board.on_estimate(estimate(1.2, turned), 0.1)
    later = board.plan()
    assert later is not None
    green = [(decoded(p.data) == GREEN).all(axis=2) for p in (drawn, later)]
    assert (green[0] & green[1]).sum() > 0.9 * green[0].sum()
    board.on_plan(L2.map_frame, PLANS[L2])
    other = board.plan()
    assert other is not None and decoded(other.data).shape != decoded(drawn.data).shape


def test_readers_wake_when_something_changed_and_not_before() -> None:
    board = Board()
    assert board.wait(0, 0.05) == 0
    woken: list[int] = []
    reader = threading.Thread(target=lambda: woken.append(board.wait(0, 20.0)))
    reader.start()
    board.on_node("localizer", 0, "healthy")
    reader.join(20.0)
    assert woken == [1]


GREEN = np.array(SEEN[::-1], dtype=np.uint8)


def has_walls(picture: Picture) -> bool:
    return bool((decoded(picture.data) == GREEN).all(axis=2).sum() > 100)


def decoded(data: bytes) -> Any:
    return cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)


# -- the server ----------------------------------------------------------------------------------------------------


@pytest.fixture
def server(house: Path) -> Iterator[ViewServer]:
    places = PlacePictures()
    places.open(house)
    running = ViewServer(("127.0.0.1", 0), Board(), places)
    running.start()
    yield running
    running.stop()
    places.close()


def get(server: ViewServer, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def test_the_page_asks_nobody_but_its_server_and_what_is_not_there_is_404(server: ViewServer) -> None:
    status, headers, body = get(server, "/")
    assert status == 200 and b"Where is the robot?" in body
    for word in (b"http://", b"https://", b"src=", b"@import", b"$"):
        assert word not in body.replace(b"http://www.w3.org/2000/svg", b""), word
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    for path in ("/plan.png", "/frame.jpg", "/nothing", "/place/house/L1", "/place/house/L1/nowhere", "/../etc/passwd"):
        assert get(server, path)[0] == 404, path
    assert get(server, "/", "POST")[0] == 501


def test_a_place_without_photographs_is_shown_on_its_plan(server: ViewServer) -> None:
    status, headers, body = get(server, "/place/house/L1/L1-west")
    assert (status, headers["Content-Type"]) == (200, "image/png")
    assert decoded(body).shape[1] >= 280
    server.places.close()
    assert get(server, "/place/house/L1/L1-west")[0] == 404


def test_events_bring_the_past_first_and_then_what_changes(server: ViewServer) -> None:
    server.board.on_estimate(estimate(1.0, BEST), 0.1)
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    try:
        connection.request("GET", "/events")
        stream = connection.getresponse()
        assert stream.getheader("Content-Type") == "text/event-stream"
        assert [e["t"] for e in event(stream, "history")] == [1.0]
        assert event(stream, "board")["estimate"]["place"] == "west"
        server.board.on_estimate(estimate(2.0, RIVAL), 0.2)
        told = event(stream, "board")["estimate"]
        assert (told["place"], told["level"], told["latency_ms"]) == ("attic", "house/L2", 200.0)
    finally:
        connection.close()


def event(stream: Any, name: str) -> Any:
    assert stream.readline().decode().strip() == f"event: {name}"
    values = json.loads(stream.readline().decode().removeprefix("data: "))
    assert stream.readline() == b"\n"
    return values


def test_a_crowd_is_turned_away_and_readers_that_leave_make_room(server: ViewServer) -> None:
    taken = [server.readers.acquire(blocking=False) for _ in range(MAX_READERS)]
    assert all(taken) and get(server, "/events")[0] == 503
    server.readers.release()
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.request("GET", "/events")
    assert connection.getresponse().status == 200
    connection.close()

    def gone() -> bool:
        server.board.on_node("localizer", 0, "healthy")
        if not server.readers.acquire(blocking=False):
            return False
        server.readers.release()
        return True

    wait_for(gone, 20.0)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--database", "/no/such.xmap"], "/no/such.xmap"),
        (["--port", "70000"], "70000"),
        (["--host", "256.0.0.1", "--port", "0"], "256.0.0.1"),
    ],
)
def test_what_cannot_be_served_is_one_line_and_status_2(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    told = capsys.readouterr().err.strip()
    assert told.startswith("crossover view: ") and text in told and "\n" not in told


def test_the_command_says_where_it_serves_and_ends_when_interrupted(house: Path) -> None:
    arguments = ["view", "--port", "0", "--database", str(house), "--ros-args", "-r", "__ns:=/robot1"]
    command = [sys.executable, "-m", "crossover_ros.cli", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().strip().rstrip("/").rpartition(":")[2])
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", "/place/house/L1/L1-west")
            assert connection.getresponse().status == 200
            connection.close()
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(60.0) == 0


# -- everything together -------------------------------------------------------------------------------------------


class Watched(House):
    """The nodes, and beside them the page."""

    def __init__(self, database: str) -> None:
        super().__init__(database)
        self.board, self.places = Board(), PlacePictures()
        self.server = ViewServer(("127.0.0.1", 0), self.board, self.places)
        self.server.start()
        self.add(ViewNode(self.board, self.places, parameter_overrides=[Parameter("use_sim_time", value=False)]))
        self.camera = self.client.create_publisher(Image, "image", 10)

    def see_and_move(self) -> None:
        blue = np.zeros((48, 64, 3), dtype=np.uint8)
        blue[..., 2], blue[12:24] = 200, 90
        self.camera.publish(widths(image(blue, "rgb8", stamp_ns=self.robot.now_ns()), 64))
        self.robot.advance(0.1)
        self.robot.step(0.0)

    def close(self) -> None:
        self.server.stop()
        super().close()
        self.places.close()


@needs_browser
def test_a_real_browser_shows_what_real_nodes_say_while_they_say_it(house: Path, tmp_path: Path) -> None:
    with graph(lambda: Watched(str(house))) as nodes, browser(tmp_path / "profile") as running:
        nodes.start()
        pages = {width: running.page(width) for width in (PHONE, DESKTOP)}
        for page in pages.values():
            page.open(f"http://127.0.0.1:{nodes.server.server_port}/")
        nodes.drive_until(LocalizationState.LOCALIZED)
        wait_for(
            lambda: nodes.places.fingerprint and "image" in nodes.board.snapshot()["retrievals"],
            30.0,
            nodes.see_and_move,
        )
        for width, page in pages.items():
            page.wait_for("document.getElementById('state').textContent === 'localized'")
            for name in ("plan", "frame"):
                page.wait_for(f"document.getElementById('{name}').naturalWidth > 0")
                assert page.evaluate(f"document.getElementById('{name}').getBoundingClientRect().width") > 250
            page.wait_for("document.querySelectorAll('.matches img').length >= 2")
            page.wait_for("[...document.querySelectorAll('.matches img')].every((i) => i.naturalWidth > 0)")
            where = page.evaluate("document.getElementById('where').textContent")
            assert "L1" in where and "%" in where and "x " in where
            assert float(page.evaluate("document.getElementById('latency').textContent").split()[0]) > 0
            assert page.evaluate("document.querySelectorAll('#shares path').length") >= 2
            shares = page.evaluate("Object.values(latest.estimate.shares).concat(latest.estimate.unknown)")
            assert sum(shares) == pytest.approx(1.0, abs=0.02)
            page.wait_for("document.querySelectorAll('#nodes dt').length >= 4")
            told = page.evaluate("document.getElementById('nodes').textContent")
            assert "encoder" in told and "localizer" in told and "sweeps in the cloud" in told
            assert page.evaluate("document.getElementById('told').textContent").startswith("localized in")
            assert page.sideways_px() <= 0, width
            page.screenshot(tmp_path / f"view_{width}.png")
        # It goes on by itself, without a reload; and says so when nothing comes any more.
        page = pages[DESKTOP]
        before = page.evaluate("past.length")
        wait_for(lambda: page.evaluate("past.length") > before, 30.0, nodes.see_and_move)
        assert all(tab.errors == [] for tab in pages.values()), [tab.errors for tab in pages.values()]
        nodes.server.stop()
        page.wait_for("document.getElementById('state').textContent === 'silent'")
