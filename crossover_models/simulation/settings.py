"""Settings of a simulated run."""

from __future__ import annotations

from dataclasses import dataclass

from crossover_models.config import Settings, setting


@dataclass(frozen=True)
class RunSettings(Settings):
    """A drive of the simulated robot; every default is a plain indoor robot's."""

    seed: int = setting(0, "seed of everything drawn", minimum=0)
    duration_s: float = setting(90.0, "length of the run in the robot's time", unit="s", minimum=1.0, maximum=7200.0)
    speed_m_s: float = setting(0.6, "highest speed", unit="m/s", minimum=0.05, maximum=3.0)
    turn_rad_s: float = setting(1.0, "highest rate of turning", unit="rad/s", minimum=0.1, maximum=5.0)
    acceleration_m_s2: float = setting(0.5, "highest acceleration", unit="m/s^2", minimum=0.05)
    turn_acceleration_rad_s2: float = setting(2.0, "highest angular acceleration", unit="rad/s^2", minimum=0.1)
    radius_m: float = setting(0.25, "radius of the robot", unit="m", minimum=0.05, maximum=1.0)
    lidar: bool = setting(True, "write /points")
    camera: bool = setting(True, "write /camera/image_raw and /camera/camera_info")
    lidar_hz: float = setting(10.0, "sweeps a second", unit="Hz", minimum=0.1, maximum=50.0)
    camera_hz: float = setting(3.0, "pictures a second", unit="Hz", minimum=0.1, maximum=50.0)
    camera_phase_s: float = setting(0.0, "time of the first picture", unit="s", minimum=0.0, maximum=10.0)
    odom_hz: float = setting(20.0, "odometry and transforms a second", unit="Hz", minimum=1.0, maximum=100.0)
    clock_hz: float = setting(50.0, "/clock a second", unit="Hz", minimum=1.0, maximum=100.0)
    lidar_azimuths: int = setting(360, "lidar columns a turn", minimum=16, maximum=4096)
    lidar_height_m: float = setting(0.6, "height of the lidar", unit="m", minimum=0.05, maximum=2.0)
    camera_height_m: float = setting(0.5, "height of the camera", unit="m", minimum=0.05, maximum=2.0)
    camera_width: int = setting(320, "width of a picture", unit="px", minimum=16, maximum=4096)
    camera_height: int = setting(240, "height of a picture", unit="px", minimum=16, maximum=4096)
    camera_fov_deg: float = setting(80.0, "horizontal field of view", unit="deg", minimum=10.0, maximum=150.0)
    odom_translation: float = setting(0.02, "odometry noise after 1 m", unit="m", minimum=0.0)
    odom_rotation: float = setting(0.02, "odometry heading noise after turning 1 rad", unit="rad", minimum=0.0)
    odom_drift: float = setting(0.01, "odometry heading noise after 1 m", unit="rad", minimum=0.0)
    odom_scale_bias: float = setting(0.01, "spread of the odometry's constant error of scale", minimum=0.0)
    odom_drift_bias: float = setting(0.004, "spread of its constant heading error per m", unit="rad/m", minimum=0.0)
    furniture_dropped: float = setting(0.2, "share of mapped furniture that is gone", minimum=0.0, maximum=1.0)
    furniture_moved: float = setting(0.15, "share of mapped furniture that was moved", minimum=0.0, maximum=1.0)
    furniture_added: float = setting(0.2, "furniture added, as a share of what is mapped", minimum=0.0, maximum=2.0)
    kidnap_at_s: float = setting(0.0, "when the robot is carried to another place, 0 for never", unit="s", minimum=0.0)
    lift_at_s: float = setting(0.0, "when the robot sets off for the lift, 0 for never", unit="s", minimum=0.0)
    lift_ride_s: float = setting(8.0, "length of a ride in the lift", unit="s", minimum=1.0, maximum=120.0)
    doors_closed: float = setting(0.0, "share of doors that are closed", minimum=0.0, maximum=1.0)
    doors_ajar: float = setting(0.0, "share of the other doors whose leaf stands open", minimum=0.0, maximum=1.0)
