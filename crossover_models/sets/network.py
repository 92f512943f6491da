"""The network with explicit sets: tokens of each modality in, codes of the shared space out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossover_models.encoders.front_ends import FeatureSizes
from crossover_models.sets.cloud import CloudNetwork
from crossover_models.sets.codes import Codes
from crossover_models.sets.colors import ColorNetwork, pooled_palette
from crossover_models.sets.layout import GEOMETRY, LayoutNetwork, raster_geometry
from crossover_models.sets.palette import COLORS
from crossover_models.sets.settings import SetsSettings
from crossover_models.sets.standardized import Standardized

VIEW_GEOMETRY = 4
OBJECT_GEOMETRY = 5


class TokenNetwork(nn.Module):
    """Tokens through one layer, then their mean and maximum; without ``tokens`` their mean alone goes through it."""

    def __init__(self, inputs: int, width: int, dropout: float, tokens: bool) -> None:
        super().__init__()
        self.standardized = Standardized(inputs)
        self.layer = nn.Sequential(nn.Dropout(dropout), nn.Linear(inputs, width), nn.GELU())
        self.tokens = tokens

    def forward(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, inputs) and which exist (B, T) -> pooled (B, 2 width), zero without any; and tokens (B, T, width)."""
        keep = mask[..., None]
        count = keep.sum(dim=1).clamp(min=1)
        if not self.tokens:
            mean = self.layer(self.standardized((tokens * keep).sum(dim=1) / count)) * mask.any(dim=1, keepdim=True)
            return torch.cat([mean, mean], dim=1), mean[:, None, :].expand(-1, tokens.shape[1], -1)
        each = self.layer(self.standardized(tokens)) * keep
        most = each.masked_fill(~keep, -1e4).amax(dim=1)
        most = torch.where(mask.any(dim=1, keepdim=True), most, torch.zeros_like(most))
        return torch.cat([each.sum(dim=1) / count, most], dim=1), each


class SetsNetwork(nn.Module):
    """One network a modality, and what they share: the global vector, the attributes, the layouts.

    Args:
        settings: sizes and switches.
        sizes: widths of the frozen features.
        categories: C, known to recognizer and clouds.
        attributes: A.
        shape_dim: width of the frozen shape features of CAD models.
    """

    def __init__(
        self, settings: SetsSettings, sizes: FeatureSizes, categories: int, attributes: int, shape_dim: int
    ) -> None:
        super().__init__()
        width, drop, self.settings = settings.width, settings.dropout, settings
        evidence = 2 * categories
        seen = evidence if settings.objects else 0
        colors = COLORS if settings.appearance else 0
        self.sentences = TokenNetwork(sizes.text, width, drop, settings.tokens)
        self.views = TokenNetwork(sizes.view + seen + colors, width, drop, settings.tokens)
        self.objects = TokenNetwork(shape_dim + OBJECT_GEOMETRY, width, drop, settings.tokens)
        self.object_category = nn.Linear(width, categories)
        self.clouds = CloudNetwork(settings.backbone, categories)
        self.layouts = LayoutNetwork(settings.layout_width, settings.layout_channels)
        # Trained before everything else, see `crossover train colors`.
        self.colors = ColorNetwork().requires_grad_(False)
        self.plan_standardized = Standardized(sizes.plan)
        self.plan = nn.Sequential(nn.Dropout(drop), nn.Linear(sizes.plan, width), nn.GELU())
        laid = self.layouts.pooled + GEOMETRY
        inputs = {
            "text": 2 * width,
            "images": 2 * width + seen + 2 * colors + VIEW_GEOMETRY,
            "points": self.clouds.pooled + seen + colors + laid,
            "mesh": 2 * width + (categories if settings.objects else 0) + laid,
            "plan": width + laid,
        }
        self.trunks = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.LayerNorm(count),
                    nn.Linear(count, settings.trunk),
                    nn.GELU(),
                    nn.LayerNorm(settings.trunk),
                    nn.Dropout(drop),
                    nn.Linear(settings.trunk, width),
                )
                for name, count in inputs.items()
            }
        )
        self.to_vector = nn.Linear(width, settings.embedding_dim)
        self.to_attributes = nn.Linear(width, attributes)

    def _codes(
        self, name: str, parts: list[Tensor], layout: Tensor | None = None, colors: Tensor | None = None
    ) -> Codes:
        hidden = self.trunks[name](torch.cat(parts, dim=1))
        vector = functional.normalize(self.to_vector(hidden), dim=1)
        seen = self.colors(colors) if colors is not None and self.settings.appearance else None
        return Codes(vector, self.to_attributes(hidden), layout if self.settings.layout else None, seen)

    def text(self, sentences: Tensor, mask: Tensor) -> Codes:
        """Sentence vectors (B, S, text) and which exist (B, S)."""
        return self._codes("text", [self.sentences(sentences, mask)[0]])

    def images(self, views: Tensor, evidence: Tensor, colors: Tensor, geometry: Tensor, mask: Tensor) -> Codes:
        """Views (B, V, view), their evidence (B, V, 2C), palettes (B, V, 64), (B, 4) of the poses, mask (B, V)."""
        keep = mask[..., None]
        count = keep.sum(dim=1).clamp(min=1)
        tokens, pooled = [views], []
        if self.settings.objects:
            tokens.append(evidence)
            pooled.append(evidence.masked_fill(~keep, -2.0).amax(dim=1))
        if self.settings.appearance:
            tokens.append(colors)
            pooled += [(colors * keep).sum(dim=1) / count, (colors * keep).amax(dim=1)]
        parts = [self.views(torch.cat(tokens, dim=2), mask)[0], *pooled, geometry]
        return self._codes("images", parts, colors=pooled_palette(colors, mask))

    def laid(self, rasters: Tensor, kind: str) -> tuple[Tensor, Tensor]:
        """Rasters (B, channels, 64, 64) in 0..1 of "points" or "plan" -> what is pooled over them (B, n), layouts."""
        layout, pooled = self.layouts(rasters, kind)
        return torch.cat([pooled, raster_geometry(rasters, kind)], dim=1), layout

    def point_parts(
        self, coordinates: Tensor, features: Tensor, colors: Tensor, rasters: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What goes into the last network of clouds (B, n), layouts, logits of voxels, keys; see :meth:`points`."""
        vectors, evidence, logits, keys = self.clouds(coordinates, features, len(colors))
        pooled, layout = self.laid(rasters, "points")
        parts = [vectors, pooled]
        parts += [evidence] if self.settings.objects else []
        parts += [colors] if self.settings.appearance else []
        return torch.cat(parts, dim=1), layout, logits, keys

    def points(
        self, coordinates: Tensor, features: Tensor, colors: Tensor, rasters: Tensor
    ) -> tuple[Codes, Tensor, Tensor]:
        """Voxels (N, 4) and features (N, C), palettes (B, 64), rasters (B, 4, 64, 64) in 0..1.

        Returns:
            codes; logits (M, C + 1) of coarse voxels and their packed coordinates (M,), see :class:`CloudNetwork`.
        """
        parts, layout, logits, keys = self.point_parts(coordinates, features, colors, rasters)
        return self.points_from(parts, layout, colors), logits, keys

    def points_from(self, parts: Tensor, layout: Tensor, colors: Tensor) -> Codes:
        """Codes of what :meth:`point_parts` gave, and of the palettes (B, 64)."""
        return self._codes("points", [parts], layout, colors)

    def mesh(self, shapes: Tensor, mask: Tensor, laid: tuple[Tensor, Tensor]) -> tuple[Codes, Tensor]:
        """CAD models (B, K, shape + 5), mask (B, K), :meth:`laid` of their rasters -> codes, logits (B, K, C)."""
        pooled, tokens = self.objects(shapes, mask)
        logits = self.object_category(tokens)
        parts = [pooled, laid[0]]
        if self.settings.objects:
            parts.append(torch.log1p((torch.softmax(logits, dim=2) * mask[..., None]).sum(dim=1)))
        return self._codes("mesh", parts, laid[1]), logits

    def floor_plan(self, features: Tensor, laid: tuple[Tensor, Tensor]) -> Codes:
        """Plan vectors (B, plan) and :meth:`laid` of their rasters."""
        return self._codes("plan", [self.plan(self.plan_standardized(features)), laid[0]], laid[1])
