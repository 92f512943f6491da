"""Settings of the nodes themselves; those of the core are in :mod:`crossover_models.config`."""

from __future__ import annotations

from dataclasses import dataclass

from crossover_models.config import EncoderSettings, LocalizerSettings, setting


@dataclass(frozen=True)
class EncoderNodeSettings(EncoderSettings):
    """Parameters of the node ``encoder``."""

    threads: int = setting(
        1, "CPU threads of the encoders; more are slower beside other work", minimum=1, maximum=256, read_only=True
    )
    autostart: bool = setting(True, "configure and activate at start; false leaves it to a manager", read_only=True)
    odom_frame: str = setting("odom", "frame in which odometry is continuous", read_only=True)
    base_frame: str = setting("base_link", "frame of the robot", read_only=True)
    transform_timeout_s: float = setting(
        0.3, "wait for the transforms of an observation before it is dropped", unit="s", minimum=0.0, maximum=10.0
    )
    max_image_rate_hz: float = setting(
        2.0, "frames a second that are encoded, of each camera; the rest is skipped", unit="Hz", minimum=0.01
    )
    rectify_images: bool = setting(False, "undistort frames with their camera_info, for raw images of wide lenses")
    max_silence_s: float = setting(
        1.0, "encode again after this time although the robot has not moved", unit="s", minimum=0.1
    )
    image_queue: int = setting(
        2, "frames of a camera that may wait for the encoder before the oldest is dropped", minimum=1, maximum=100
    )
    cloud_queue: int = setting(10, "sweeps that may wait for the encoder before the oldest is dropped", minimum=1)
    overload_s: float = setting(2.0, "age of the data at publishing that counts as overload", unit="s", minimum=0.05)
    bond_heartbeat_period: float = setting(
        0.25,
        "time between two heartbeats for nav2's lifecycle manager; 0 for no bond",
        unit="s",
        minimum=0.0,
        maximum=4.0,
        read_only=True,
    )
    diagnostics_period_s: float = setting(
        1.0, "time between two diagnostics", unit="s", minimum=0.1, maximum=60.0, read_only=True
    )


@dataclass(frozen=True)
class LocalizerNodeSettings(LocalizerSettings):
    """Parameters of the node ``localizer``."""

    database: str = setting("", "map database written by 'crossover map build'", read_only=True)
    checkpoint: str = setting("", "encoders for text queries; empty for the shipped ones", read_only=True)
    device: str = setting("auto", "where they run", choices=("auto", "cpu", "cuda"), read_only=True)
    threads: int = setting(
        1,
        "CPU threads of the search; more are slower beside other work",
        minimum=1,
        maximum=256,
        read_only=True,
    )
    autostart: bool = setting(True, "configure and activate at start; false leaves it to a manager", read_only=True)
    odom_frame: str = setting("odom", "frame in which odometry is continuous", read_only=True)
    base_frame: str = setting("base_link", "frame of the robot", read_only=True)
    publish_tf: bool = setting(
        True,
        "publish map->odom; false makes the node an adviser that seeds another localizer's initialpose",
        read_only=True,
    )
    transform_tolerance: float = setting(
        1.0, "how far map->odom is post-dated, as in nav2_amcl", unit="s", minimum=0.0, maximum=60.0
    )
    transform_rate_hz: float = setting(
        20.0, "map->odom messages a second", unit="Hz", minimum=1.0, maximum=200.0, read_only=True
    )
    transform_correction_m_s: float = setting(
        0.5, "speed at which map->odom follows corrections, so that the robot does not jump", unit="m/s", minimum=0.01
    )
    transform_correction_rad_s: float = setting(0.09, "... and turns", unit="rad/s", minimum=0.001)
    pose_rate_hz: float = setting(
        10.0,
        "poses a second between fixes, carried along odometry; 0 for those of fixes only",
        unit="Hz",
        minimum=0.0,
        maximum=100.0,
    )
    advised_frame: str = setting(
        "map", "frame_id of the poses for another localizer (publish_tf false)", read_only=True
    )
    embedding_queue: int = setting(
        4,
        "embeddings of a kind that may wait, for a search to end, before the oldest is dropped",
        minimum=1,
        maximum=100,
    )
    relocalize_timeout_s: float = setting(
        10.0, "time that relocalize waits where the request names none", unit="s", minimum=0.1, maximum=600.0
    )
    initial_deviation_m: float = setting(
        0.5, "standard deviation of an initialpose that states none", unit="m", minimum=0.01
    )
    initial_deviation_rad: float = setting(0.26, "... of its heading", unit="rad", minimum=0.001, maximum=3.2)
    overload_s: float = setting(2.0, "age of the data at publishing that counts as overload", unit="s", minimum=0.05)
    bond_heartbeat_period: float = setting(
        0.25,
        "time between two heartbeats for nav2's lifecycle manager; 0 for no bond",
        unit="s",
        minimum=0.0,
        maximum=4.0,
        read_only=True,
    )
    diagnostics_period_s: float = setting(
        1.0, "time between two diagnostics", unit="s", minimum=0.1, maximum=60.0, read_only=True
    )
