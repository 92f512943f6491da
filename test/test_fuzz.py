"""Fuzzing: planted crashes, deaths and hangs are counted, and a share of each reader is taken as documented."""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="needs ROS 2: install the extra `ros`, or source a ROS environment")

from crossover_models.picture_bytes import PictureError, check_picture
from crossover_ros import conversions
from crossover_ros.faults.fuzz import messages, samples
from crossover_ros.faults.fuzz.campaign import run_target
from crossover_ros.faults.fuzz.mutate import mutated_bytes, mutated_message, mutated_tree
from crossover_ros.faults.fuzz.target import DOCUMENTED, Target, input_rng
from crossover_ros.faults.fuzz.targets import PLANTED, TARGETS, by_name

# Readers that take a second and more an input, or to get ready; `crossover bench faults` has them all.
SLOW = ("IFC building", "shipped weights, description", "localizer", "map database, values")
SOME = 25


def test_planted_crashes_are_counted_with_their_inputs() -> None:
    outcome = run_target(by_name("planted exception"), seed=0, count=20)
    assert outcome.inputs == 20
    assert [crash.index for crash in outcome.crashes] == [3, 13]
    assert "KeyError" in outcome.crashes[0].error
    assert "--first 3 --count 1" in outcome.crashes[0].repeat


def test_a_death_is_counted_and_the_campaign_goes_on_behind_it() -> None:
    outcome = run_target(by_name("planted death"), seed=0, count=20)
    assert outcome.inputs == 20
    assert [(crash.index, crash.error) for crash in outcome.crashes] == [(7, "death by signal 11")]


def test_a_hang_is_counted() -> None:
    outcome = run_target(by_name("planted hang"), seed=0, count=8, hang_s=1.0)
    assert outcome.inputs == 8
    assert [(crash.index, crash.error) for crash in outcome.crashes] == [(5, "hang: more than 1 s")]


def test_planted_targets_are_never_part_of_a_campaign() -> None:
    assert not any(target.planted for target in TARGETS)
    assert all(target.planted for target in PLANTED)
    assert sum(target.share for target in TARGETS) >= 100_000


@pytest.mark.parametrize("target", [t for t in TARGETS if t.name not in SLOW], ids=lambda t: t.name)
def test_some_inputs_of_every_reader(target: Target, tmp_path: Path) -> None:
    make, read = target.prepare(tmp_path)
    taken = 0
    for index in range(SOME):
        try:
            read(make(input_rng(target.name, 99, index)))
            taken += 1
        except DOCUMENTED as error:
            assert str(error), "an error without a word"
    assert taken < SOME, "mutations that nobody minds test nothing"


def test_an_input_depends_on_nothing_but_its_number() -> None:
    sample = messages.cloud()
    one, two = (mutated_message(input_rng("x", 1, 5), sample) for _ in range(2))
    assert repr(one) == repr(two)
    assert mutated_bytes(input_rng("x", 1, 5), b"abc" * 9) == mutated_bytes(input_rng("x", 1, 5), b"abc" * 9)
    tree = samples.rmf()
    assert repr(mutated_tree(input_rng("x", 1, 6), tree)) == repr(mutated_tree(input_rng("x", 1, 6), tree))
    assert tree == samples.rmf(), "the sample itself stays"


@settings(max_examples=150, deadline=None)
@given(
    height=st.integers(0, 2**32 - 1),
    width=st.integers(0, 2**32 - 1),
    point_step=st.integers(0, 2**32 - 1),
    row_step=st.integers(0, 2**32 - 1),
    offset=st.integers(0, 2**32 - 1),
    datatype=st.integers(0, 255),
    data=st.binary(max_size=200),
)
def test_no_layout_of_a_cloud_but_a_conversion_error(data: bytes, datatype: int, offset: int, **sizes: int) -> None:
    message: Any = messages.cloud()
    for name, value in sizes.items():
        setattr(message, name, value)
    message.fields[0].offset, message.fields[0].datatype = offset, datatype
    message.data = np.frombuffer(data, dtype=np.uint8)
    try:
        sweep = conversions.read_cloud(message)
    except conversions.ConversionError:
        return
    assert np.isfinite(sweep.points).all()


def test_a_png_that_promises_four_gigabytes_is_refused_at_once() -> None:
    png = samples.pictures()[1]
    assert check_picture(png) == "PNG"
    at = png.index(b"IDAT") - 4
    broken = png[:at] + struct.pack(">I", 0xFFFFFFFF) + png[at + 4 :]
    began = time.process_time()
    with pytest.raises(PictureError, match="cut short"):
        check_picture(broken)
    message = messages.compressed(1)
    message.data = np.frombuffer(broken, dtype=np.uint8)
    with pytest.raises(conversions.ConversionError, match="PNG is cut short"):
        conversions.read_compressed_image(message)
    assert time.process_time() - began < 5.0


@pytest.mark.parametrize("which", range(3))
def test_whole_pictures_pass_and_cut_ones_do_not(which: int) -> None:
    picture = samples.pictures()[which]
    assert check_picture(picture) == ("JPEG", "PNG", "WEBP")[which]
    with pytest.raises(PictureError):
        check_picture(picture[: len(picture) // 2] if which < 2 else picture[:10])
    with pytest.raises(PictureError, match="no PNG or JPEG picture"):
        check_picture(samples.pictures()[2], ("PNG", "JPEG"))
