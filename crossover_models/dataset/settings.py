"""Everything that decides what a simulated data set holds."""

from __future__ import annotations

from dataclasses import dataclass

from crossover_models.config import Settings, setting

GENERATOR_VERSION = 1
"""Raised whenever the same settings give other scenes, so that an unfinished set is not gone on with."""


@dataclass(frozen=True)
class MakeSettings(Settings):
    """A simulated data set."""

    rooms: int = setting(100, "rooms over all splits, rescans not counted", minimum=3)
    seed: int = setting(0, "seed of everything drawn", minimum=0)
    val_share: float = setting(0.1, "share of rooms for validation", minimum=0.0, maximum=0.5)
    test_share: float = setting(0.15, "share of rooms for test", minimum=0.0, maximum=0.5)
    procthor_share: float = setting(0.4, "share of rooms laid out by ProcTHOR, where it is given", minimum=0, maximum=1)
    rooms_per_building: int = setting(8, "rooms of a procedural building, its corridor included", minimum=4, maximum=20)
    library: str = setting("auto", "furniture models: auto, sweet-home or parametric")
    clutter: float = setting(0.5, "share of surfaces with small things on them", minimum=0.0, maximum=1.0)
    rescans: float = setting(0.15, "share of rooms scanned a second time after things moved", minimum=0.0, maximum=1.0)
    missing: float = setting(0.1, "rate at which each modality is withheld from a scan", minimum=0.0, maximum=0.9)
    views: int = setting(10, "pictures of a room", minimum=1, maximum=100)
    view_width: int = setting(320, "width of a picture", unit="px", minimum=32, maximum=4096)
    view_height: int = setting(240, "height of a picture", unit="px", minimum=24, maximum=4096)
    drive_frames: int = setting(10, "contiguous frames of a robot's drive, 0 for none", minimum=0, maximum=100)
    drive_width: int = setting(224, "width of a frame of the drive", unit="px", minimum=32, maximum=4096)
    drive_height: int = setting(168, "height of a frame of the drive", unit="px", minimum=24, maximum=4096)
    plans: int = setting(4, "drawings of the floor plan, each in another style", minimum=1, maximum=16)
    rgbd_share: float = setting(0.5, "share of clouds taken by an RGB-D camera, else by lidar", minimum=0, maximum=1)
    point_spacing_m: float = setting(0.03, "grid on which clouds are thinned", unit="m", minimum=0.005, maximum=0.5)
