"""Sizes of the encoders, as written beside their weights."""

from __future__ import annotations

from dataclasses import dataclass, field

from crossover_models.config import Settings, setting


@dataclass(frozen=True)
class SparseResNetSettings(Settings):
    """The 3D backbone: stem, four stages of basic blocks, last convolution (the reference is a ResNet34)."""

    voxel_m: float = setting(0.12, "side of an input voxel", unit="m", minimum=0.005)
    in_channels: int = setting(5, "input channels: one, height, red, green, blue; with 3 the colors alone", minimum=1)
    stem_channels: int = setting(16, "channels after the first convolution", minimum=1)
    stem_kernel: int = setting(3, "kernel of the first convolution", minimum=1)
    stem_pool: bool = setting(False, "average pool of kernel 2 and stride 2 after the stem")
    channels: str = setting("32,64,128,192", "channels of the four stages")
    blocks: str = setting("1,1,1,1", "basic blocks of the four stages")
    strides: str = setting("1,2,2,2", "strides of the four stages")
    last_channels: int = setting(192, "channels of the last convolution and of the pooled vector", minimum=1)
    last_stride: int = setting(1, "stride of the last convolution", minimum=1)

    def stages(self) -> tuple[tuple[int, int, int], ...]:
        """(channels, blocks, stride) of each stage."""
        columns = [[int(v) for v in text.split(",")] for text in (self.channels, self.blocks, self.strides)]
        return tuple(zip(*columns, strict=True))


REFERENCE_3D = SparseResNetSettings(
    voxel_m=0.02,
    in_channels=3,
    stem_channels=64,
    stem_kernel=5,
    stem_pool=True,
    channels="64,128,256,512",
    blocks="3,4,6,3",
    strides="2,2,2,2",
    last_channels=512,
    last_stride=3,
)
"""CrossOver's 3D backbone (section 4 of its supplement; 70.55 M parameters)."""


@dataclass(frozen=True)
class EncoderProfile(Settings):
    """Everything that decides what an embedding means, apart from weights."""

    name: str = setting("small", "profile's name")
    embedding_dim: int = setting(256, "dimension D of the shared space", minimum=2)
    image_front_end: str = setting("efficientnet-lite0", "frozen 2D features")
    text_front_end: str = setting("minilm-l6", "frozen 1D features")
    text_hidden: int = setting(512, "twice the hidden width of the text head", minimum=2)
    frame_hidden: int = setting(512, "hidden width of the per-view network", minimum=1)
    image_hidden: int = setting(1024, "twice the hidden width of the head shared by images and floor plans", minimum=2)
    cloud_hidden: int = setting(512, "twice the hidden width of the 3D head", minimum=2)
    cloud_radius_m: float = setting(8.0, "points farther from the cloud's median are dropped", unit="m", minimum=0.5)
    mesh_points_per_m2: float = setting(150.0, "surface points drawn on meshes", unit="1/m2", minimum=1.0)
    mesh_max_points: int = setting(20000, "most surface points drawn", minimum=100)
    plan_side_m: float = setting(12.8, "side of the floor-plan patch around a place", unit="m", minimum=1.0)
    plan_pixels: int = setting(256, "pixels of the patch before the front end resizes it", minimum=32)
    plan_rotations: int = setting(4, "headings over which a floor plan's features are averaged", minimum=1)
    backbone: SparseResNetSettings = field(default_factory=SparseResNetSettings)


SMALL = EncoderProfile()

BASE = EncoderProfile(
    name="base",
    embedding_dim=512,
    image_front_end="dinov2-base",
    text_hidden=768,
    frame_hidden=768,
    backbone=SparseResNetSettings(voxel_m=0.06, stem_channels=32, channels="32,64,128,256", blocks="2,2,2,2"),
)
"""For a robot with a GPU: DINOv2-B is fetched from the hub; trained by whoever uses it."""

REFERENCE = EncoderProfile(
    name="reference",
    embedding_dim=768,
    image_front_end="dinov2-giant",
    text_front_end="blip-large",
    text_hidden=768,
    frame_hidden=1536,
    image_hidden=768,
    cloud_hidden=512,
    backbone=REFERENCE_3D,
)
"""The unified encoders as published; its weights are imported from the official checkpoints."""
