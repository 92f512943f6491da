"""Names and shapes of CrossOver's official checkpoints, written from their description, not from our modules."""

from __future__ import annotations

Shapes = dict[str, tuple[int, ...]]


def _linear(name: str, out: int, into: int) -> Shapes:
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _head(name: str, first: tuple[int, int], last: tuple[int, int]) -> Shapes:
    return _linear(f"{name}.0", *first) | _norm(f"{name}.2", first[0]) | _linear(f"{name}.4", *last)


def _batch_norm(name: str, width: int) -> Shapes:
    shapes: Shapes = {f"{name}.bn.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}
    return shapes | {f"{name}.bn.num_batches_tracked": ()}


def instance_baseline() -> Shapes:
    out: Shapes = {}
    for name in ("point", "cad"):
        out |= _head(f"modality_projections.{name}", (192, 384), (768, 192))
    out |= _head("modality_projections.rgb", (768, 1536), (768, 768))
    return out | _head("modality_projections.referral", (384, 768), (768, 384))


def instance_crossover() -> Shapes:
    out = {name: shape for name, shape in instance_baseline().items() if ".rgb." not in name}
    out |= _head("modality_projections.rgb", (384, 1536), (768, 384))
    for kind in ("point", "cad"):
        at = f"modality_encoders.{kind}"
        out |= _head(f"{at}.point_mlp", (96, 192), (384, 96))
        out |= _linear(f"{at}.loc_layers.0.0", 384, 6) | _norm(f"{at}.loc_layers.0.1", 384)
        for layer in range(4):
            here = f"{at}.spatial_encoder.{layer}"
            for part in ("w_qs", "w_ks", "w_vs", "fc"):
                out |= _linear(f"{here}.self_attn.{part}", 384, 384)
            out |= _linear(f"{here}.self_attn.lang_cond_fc", 72, 384) | _norm(f"{here}.self_attn.layer_norm", 384)
            out |= _linear(f"{here}.linear1", 2048, 384) | _linear(f"{here}.linear2", 384, 2048)
            out |= _norm(f"{here}.norm1", 384) | _norm(f"{here}.norm2", 384)
    return out


def scene_crossover() -> Shapes:
    out = {f"objectwise_modality_encoder.{name}": shape for name, shape in instance_crossover().items()}
    for name in ("objectwise_mlp_head", "encoder1D_mlp_head"):
        out |= _head(name, (384, 768), (768, 384))
    out |= {"fusion.weight": (4, 1)}
    out |= _head("encoder3D_mlp_head", (256, 512), (768, 256)) | _head("encoder2D_mlp_head", (384, 1536), (768, 384))
    out |= _linear("frame_mlp.mlp_layers.0", 1536, 3072) | _linear("frame_mlp.mlp_layers.3", 1536, 1536)
    out |= {"encoder3D.conv1.kernel": (125, 3, 64)} | _batch_norm("encoder3D.bn1", 64)
    width = 64
    for number, (channels, blocks) in enumerate(zip((64, 128, 256, 512), (3, 4, 6, 3), strict=True), start=1):
        for block in range(blocks):
            at = f"encoder3D.layer{number}.{block}"
            out |= {f"{at}.conv1.kernel": (27, width, channels), f"{at}.conv2.kernel": (27, channels, channels)}
            out |= _batch_norm(f"{at}.norm1", channels) | _batch_norm(f"{at}.norm2", channels)
            if block == 0:
                out |= {f"{at}.downsample.0.kernel": (1, width, channels)}
                out |= _batch_norm(f"{at}.downsample.1", channels)
            width = channels
    return out | {"encoder3D.conv5.kernel": (27, 512, 512)} | _batch_norm("encoder3D.bn5", 512)
