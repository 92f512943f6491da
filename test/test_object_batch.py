"""Objects of scans as stage 1 sees them: which are there, their features, padding, and what is kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scene_features import shuffled, synthetic_features

from crossover_models.encoders.shapes import SHAPE_POINTS, ShapeEncoder, object_locations, object_points, spread
from crossover_models.reference.objects import OBJECT_MODALITIES
from crossover_models.training.feature_set import FeatureSet
from crossover_models.training.object_batch import ObjectSource, mean_referrals


class Counting(ShapeEncoder):
    """Counts the shapes that it is asked for."""

    asked = 0

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        """As the encoder does."""
        self.asked += len(points)
        return super().forward(points)


@pytest.fixture(scope="module")
def features() -> FeatureSet:
    return synthetic_features(rooms=4, object_points=20, cad_points=40)


@pytest.fixture
def source() -> tuple[ObjectSource, Counting]:
    torch.manual_seed(0)
    encoder = Counting()
    return ObjectSource(encoder), encoder


def test_batch_holds_what_the_scans_hold(features: FeatureSet, source: tuple[ObjectSource, Counting]) -> None:
    objects, encoder = source
    first = features.scans[0]
    crops = first.object_crops.copy()
    crops[0] = 0
    first = replace(first, object_crops=crops, referral_objects=np.maximum(first.referral_objects, 1).astype(np.int32))
    scans = (first, *features.scans[1:])
    batch = objects.batch(scans)
    slots = max(len(scan.object_ids) for scan in scans)
    widths = objects.widths(first)
    for name in OBJECT_MODALITIES:
        assert batch.features[name].shape == (4, slots, widths[name])
        assert not batch.features[name][~batch.present[name]].any()
    assert not batch.present["rgb"][0, 0]
    assert not batch.present["referral"][0, 0]
    for row, scan in enumerate(scans):
        count = len(scan.object_ids)
        assert not any(mask[row, count:].any() for mask in batch.present.values())
        assert batch.present["point"][row, :count].all()
        assert batch.present["cad"][row, :count].tolist() == (scan.object_cad >= 0).tolist()
        shown = scan.object_crops > 0
        np.testing.assert_array_equal(batch.features["rgb"][row, :count][shown], scan.object_views[shown])
        for name, where in object_locations(scan).items():
            np.testing.assert_array_equal(batch.locations[name][row, :count], where)
            assert not batch.locations[name][row, count:].any()
        for i in range(count):
            about = [v for v, o in zip(scan.referrals, scan.referral_objects, strict=True) if o == i]
            if about:
                np.testing.assert_allclose(batch.features["referral"][row, i], np.mean(about, axis=0), atol=1e-6)
            if scan.object_cad[i] >= 0:
                model = torch.from_numpy(spread(scan.cad_points[scan.object_cad[i]], SHAPE_POINTS))
                torch.testing.assert_close(batch.features["cad"][row, i], encoder(model[None])[0])
        clouds = torch.from_numpy(object_points(scan)[0])
        torch.testing.assert_close(batch.features["point"][row, :count], encoder(clouds))


def test_shapes_are_made_once_and_sets_are_kept_apart(
    features: FeatureSet, source: tuple[ObjectSource, Counting]
) -> None:
    objects, encoder = source
    once = objects.batch(features.scans)
    asked = encoder.asked
    assert asked == sum(len(s.object_ids) + len(s.cad_points) for s in features)
    again = objects.batch(features.scans[::-1])
    assert encoder.asked == asked
    assert torch.equal(again.features["point"].flip(0), once.features["point"])
    other = objects.batch(shuffled(features).scans)
    assert encoder.asked == 2 * asked
    assert other.features["point"].shape != once.features["point"].shape or not torch.equal(
        other.features["point"], once.features["point"]
    )
    assert not any(p.requires_grad for p in encoder.parameters())


def test_scan_without_objects_is_padding_and_no_scans_are_refused(
    features: FeatureSet, source: tuple[ObjectSource, Counting]
) -> None:
    objects, _ = source
    scan = features.scans[0]
    per_object = ("object_poses", "object_sizes", "object_views", "object_crops", "object_cad", "cad_points")
    bare = replace(
        scan,
        object_ids=(),
        object_categories=(),
        referrals=scan.referrals[:0],
        referral_objects=scan.referral_objects[:0],
        instance=np.full_like(scan.instance, -1),
        **{name: getattr(scan, name)[:0] for name in per_object},
    )
    batch = objects.batch([bare])
    assert batch.features["cad"].shape == (1, 1, 256)
    assert not any(mask.any() for mask in batch.present.values())
    assert objects.batch([bare, scan]).present["point"].sum() == len(scan.object_ids)
    with pytest.raises(ValueError, match="scans: none"):
        objects.batch([])


def test_referrals_may_be_chosen(features: FeatureSet) -> None:
    scan = features.scans[1]
    last = np.zeros(len(scan.referrals), bool)
    last[-1] = True
    mean, present = mean_referrals(scan, last)
    assert np.flatnonzero(present).tolist() == [scan.referral_objects[-1]]
    np.testing.assert_array_equal(mean[present][0], scan.referrals[-1])
    assert not mean[~present].any()
