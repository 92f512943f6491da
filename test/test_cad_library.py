"""Furniture libraries: labels that hold, axes, boxes, splits, and catalogs with something wrong in them."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crossover_models.building import Building
from crossover_models.geometry import transform_points_se3
from crossover_models.simulation.cad import open_library
from crossover_models.simulation.cad.labels import category_of
from crossover_models.simulation.cad.library import LibraryError, scaled_to, shape_distance
from crossover_models.simulation.cad.obj_mesh import FACE_BUDGET, ModelError, read_obj
from crossover_models.simulation.cad.sweet_home import SweetHomeLibrary, find_catalogs, load_model
from crossover_models.simulation.procedural import generate_building

# A block 1 wide, 2 high and 3 deep with a small nose on its front (+z of the catalog), red; a texture on the nose.
OBJ = """mtllib block.mtl
v 0 0 0
v 1 0 0
v 1 2 0
v 0 2 0
v 0 0 3
v 1 0 3
v 1 2 3
v 0 2 3
v 0.5 1 3.5
vt 0 0
usemtl body
f 1 3 2
f 1 4 3
f 1 2 6
f 1 6 5
f 2 3 7
f 2 7 6
f 3 4 8
f 3 8 7
f 4 1 5
f 4 5 8
f 5 6 7
f 5 7 8
usemtl nose
f 5/1 6/1 9/1
f 6/1 7/1 9/1
f 7/1 7/1 9/1
"""
MTL = "newmtl body\nKd 1 0 0\nnewmtl nose\nKd 0 0 0\nmap_Kd nose.png\n"
HEAD = "id=X\nname=X\nlicense=CC0 1.0\n"


def entry(
    number: int, name: str = "Sofa", category: str = "Living room", model: str = "/m/block.obj", **more: str
) -> str:
    values = {
        "id": f"Maker#block-{number}", "name": name, "category": category, "model": model, "width": "100",
        "depth": "300", "height": "200", "creator": "Ada", **more,
    }  # fmt: skip
    return "".join(f"{key}#{number}={value}\n" for key, value in values.items() if value)


def catalog(folder: Path, name: str, properties: str, files: dict[str, str | bytes] | None = None) -> Path:
    picture = io.BytesIO()
    Image.new("RGB", (4, 4), (0, 0, 255)).save(picture, "PNG")
    content: dict[str, str | bytes] = {"m/block.obj": OBJ, "m/block.mtl": MTL, "m/nose.png": picture.getvalue()}
    path = folder / f"{name}.sh3f"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("PluginFurnitureCatalog.properties", properties.encode("latin-1"))
        for file, data in {**content, **(files or {})}.items():
            archive.writestr(file, data)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    catalog(tmp_path, "Scopia", HEAD + "".join(entry(i) for i in range(1, 30)))
    catalog(tmp_path, "KatorLegaz", HEAD + entry(1, name="Teddy bear") + entry(2, name="Couch"))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "catalog_category", "size_m", "elevation_m", "expected"),
    [
        ("Bed", "Bedroom", (2.1, 1.4, 1.0), 0.0, "bed"),
        ("Bedside table", "Bedroom", (0.4, 0.5, 0.5), 0.0, "nightstand"),
        ("Baby bed", "Bedroom", (0.8, 0.6, 0.8), 0.0, None),
        ("Pillow", "Bedroom", (0.5, 0.5, 0.1), 0.0, None),
        ("Table", "Living room", (1.0, 2.0, 0.7), 0.0, "table"),
        ("Table lamp", "Lights", (0.3, 0.3, 0.4), 0.0, None),
        ("Table tennis", "Miscellaneous", (1.7, 2.7, 1.0), 0.0, None),
        ("Coffee table", "Living room", (0.5, 1.0, 0.5), 0.0, "coffee table"),
        ("Coffee machine", "Kitchen", (0.4, 0.6, 0.4), 0.0, "coffee machine"),
        ("Coffee cup", "Kitchen", (0.1, 0.1, 0.1), 0.0, "cup"),
        ("Chair", "Living room", (0.6, 0.6, 0.9), 0.0, "chair"),
        ("Chair", "Office", (0.64, 0.64, 1.0), 0.0, "office chair"),
        ("Chair", "Office", (0.52, 0.53, 0.9), 0.0, "chair"),
        ("Lamp", "Lights", (0.3, 0.3, 0.6), 0.0, "table lamp"),
        ("Lamp", "Lights", (0.6, 0.4, 1.43), 0.0, "lamp"),
        ("Lamp", "Lights", (0.5, 0.5, 0.6), 1.8, None),
        ("Plant", "Living room", (0.3, 0.3, 0.2), 0.0, "potted plant"),
        ("Bench", "Exterior", (0.4, 1.2, 0.5), 0.0, None),
        ("Plant", "Exterior", (1.0, 1.0, 1.0), 0.0, None),
        ("Car model", "Bedroom", (0.3, 0.1, 0.1), 0.0, None),
    ],
)
def test_labels_mean_what_they_say(
    name: str, catalog_category: str, size_m: tuple[float, float, float], elevation_m: float, expected: str | None
) -> None:
    assert category_of(name, catalog_category, size_m, elevation_m) == expected


def test_models_face_forward_at_their_catalogs_size(folder: Path) -> None:
    library = SweetHomeLibrary(folder)
    mesh = load_model(library.models("sofa", "train")[0])
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    np.testing.assert_allclose(high - low, [3.0, 1.0, 2.0], atol=1e-5)
    np.testing.assert_allclose([low[2], low[0] + high[0], low[1] + high[1]], 0.0, atol=1e-5)
    # The nose, towards the viewer in the catalog, points forward; its texture decides its color.
    nose = mesh.faces[(mesh.face_colors == [0, 0, 255]).all(axis=1)]
    assert len(nose) == 2
    assert mesh.vertices[nose].reshape(-1, 3)[:, 0].max() == pytest.approx(high[0])
    assert (mesh.face_colors == [255, 0, 0]).all(axis=1).sum() == 12
    # Turned outward: the signed volume of the closed body is positive.
    body = mesh.vertices[mesh.faces[:12]].astype(np.float64)
    assert np.einsum("ij,ij->i", body[:, 0], np.cross(body[:, 1], body[:, 2])).sum() > 0


def test_a_rotation_of_the_catalog_is_applied(tmp_path: Path) -> None:
    # A quarter turn about the catalog's vertical axis: the nose then points to the viewer's right, our left.
    catalog(tmp_path, "Scopia", HEAD + entry(1, modelRotation="0 0 1 0 1 0 -1 0 0", width="300", depth="100"))
    mesh = load_model(SweetHomeLibrary(tmp_path).models("sofa")[0])
    nose = mesh.vertices[mesh.faces[(mesh.face_colors == [0, 0, 255]).all(axis=1)]].reshape(-1, 3)
    assert nose[:, 1].max() == pytest.approx(mesh.vertices[:, 1].max())


def test_fitted_models_fill_the_box_and_keep_their_split(folder: Path) -> None:
    library, rng = open_library("auto", folder), np.random.default_rng(0)
    seen = {split: set() for split in ("train", "val", "test")}
    for split, ids in seen.items():
        for _ in range(20):
            fitted = library.fitted("sofa", [2.4, 1.0, 1.5], split, rng)
            assert fitted is not None
            np.testing.assert_allclose(np.ptp(fitted.mesh.vertices, axis=0), [2.4, 1.0, 1.5], atol=1e-5)
            ids.add(fitted.model_id)
    assert not seen["train"] & seen["val"] and not seen["train"] & seen["test"] and not seen["val"] & seen["test"]
    assert all(name.startswith("sweet-home/scopia/") for name in seen["train"] | seen["val"])
    assert seen["test"] == {"sweet-home/katorlegaz/block-2"}
    assert library.credits(sorted(seen["test"])) == ("Couch by Ada; CC0 1.0",)


def test_what_would_be_stretched_out_of_shape_comes_from_the_parametric_library(folder: Path) -> None:
    library, rng = open_library("auto", folder), np.random.default_rng(0)
    flat = library.fitted("sofa", [0.9, 2.4, 0.8], "train", rng)
    assert flat is not None and flat.model_id.startswith("parametric/sofa/")
    assert open_library("sweet-home", folder).fitted("sofa", [0.9, 2.4, 0.8], "train", rng) is None
    assert library.fitted("unicorn", [1, 1, 1], "train", rng) is None
    with pytest.raises(LibraryError, match="three positive lengths"):
        library.fitted("sofa", [1.0, -1.0, 1.0], "train", rng)


def test_shape_distance_is_blind_to_size() -> None:
    sizes = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 1.0, 1.0]])
    distance = shape_distance(sizes, np.array([3.0, 6.0, 9.0]))
    np.testing.assert_allclose(distance, [0.0, 0.0, np.log(3.0)], atol=1e-12)


def test_a_broken_model_stops_nothing_and_is_listed(tmp_path: Path) -> None:
    properties = HEAD + entry(1, model="/m/cut.obj") + entry(2, model="/m/gone.obj") + entry(3)
    catalog(tmp_path, "KatorLegaz", properties, {"m/cut.obj": "v 0 0 0\nf 1 2 nothing\n"})
    library, rng = SweetHomeLibrary(tmp_path), np.random.default_rng(0)
    for _ in range(8):
        fitted = library.fitted("sofa", [3.0, 1.0, 2.0], "test", rng)
        assert fitted is not None and fitted.model_id == "sweet-home/katorlegaz/block-3"
    assert set(library.broken) == {"katorlegaz/block-1", "katorlegaz/block-2"}
    assert "m/gone.obj: cannot be read" in library.broken["katorlegaz/block-2"]


def test_a_missing_material_is_grey(tmp_path: Path) -> None:
    path = catalog(tmp_path, "Scopia", HEAD, {"n/block.obj": OBJ.replace("block.mtl", "lost.mtl")})
    with zipfile.ZipFile(path) as archive:
        mesh = read_obj(archive, "n/block.obj")
        with pytest.raises(ModelError, match=r"holds no triangle|not a readable OBJ"):
            read_obj(archive, "m/nose.png")
    assert mesh.face_colors is not None and len(mesh.faces) == 14


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not a zip", "not a furniture catalog"),
        (HEAD + entry(1, width="wide"), "model 1: could not convert"),
        (HEAD + entry(1, model=""), "model 1: 'model'"),
        (HEAD + entry(1, modelRotation="1 0 0"), "modelRotation has 3 numbers"),
    ],
)
def test_bad_catalogs_are_named(content: bytes | str, message: str, tmp_path: Path) -> None:
    if isinstance(content, bytes):
        (tmp_path / "Scopia.sh3f").write_bytes(content)
    else:
        catalog(tmp_path, "Scopia", content)
    with pytest.raises(LibraryError, match=message) as caught:
        SweetHomeLibrary(tmp_path)
    assert "Scopia.sh3f" in str(caught.value)


def test_without_catalogs_the_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="sweethome3d-furniture"):
        open_library("sweet-home", tmp_path)
    with pytest.raises(LibraryError, match="must be one of auto, sweet-home, parametric"):
        open_library("ikea")
    assert open_library("parametric").fitted("chair", [0.5, 0.5, 0.9], "train", np.random.default_rng(0)) is not None


def digest(building: Building) -> str:
    out = hashlib.sha256()
    for level in building.levels:
        out.update(level.plan.occupancy.tobytes())
        for place in level.places:
            out.update(repr((place.name, place.text)).encode())
            for piece in place.furnishings:
                out.update(piece.model_id.encode() + np.round(piece.mesh.vertices, 4).tobytes())
    return out.hexdigest()


def test_a_library_changes_the_models_and_nothing_else(folder: Path) -> None:
    plain = generate_building(3, levels=1)
    dressed = generate_building(3, levels=1, library=open_library("auto", folder))
    assert digest(dressed) == digest(generate_building(3, levels=1, library=open_library("auto", folder)))
    assert digest(dressed) != digest(plain)
    for before, after in zip(plain.levels[0].places, dressed.levels[0].places, strict=True):
        assert (before.name, before.text) == (after.name, after.text)
        for a, b in zip(before.furnishings, after.furnishings, strict=True):
            assert (a.object_id, a.category) == (b.object_id, b.category)
            assert a.T_map_object is not None
            to_object = np.linalg.inv(a.T_map_object)
            boxes = [transform_points_se3(to_object, f.mesh.vertices) for f in (a, b)]
            for end in ("min", "max"):
                np.testing.assert_allclose(*(getattr(box, end)(axis=0) for box in boxes), atol=2e-3)


def test_every_piece_knows_its_pose(folder: Path) -> None:
    for library in (None, open_library("auto", folder)):
        for place in generate_building(5, levels=1, library=library).levels[0].places:
            for piece in place.furnishings:
                assert piece.T_map_object is not None
                local = transform_points_se3(np.linalg.inv(piece.T_map_object), piece.mesh.vertices)
                low, high = local.min(axis=0), local.max(axis=0)
                np.testing.assert_allclose([low[0] + high[0], low[1] + high[1], low[2]], 0.0, atol=1e-3)


@pytest.mark.skipif(not find_catalogs(), reason="Debian's sweethome3d-furniture is NOT installed: real models not read")
def test_the_real_catalogs_load() -> None:
    library = SweetHomeLibrary()
    models = library.models()
    assert len(models) > 200
    assert {"bed", "chair", "sofa", "table", "toilet", "wardrobe"} <= {m.category for m in library.models(None, "test")}
    for model in models[::12]:
        mesh = load_model(model)
        np.testing.assert_allclose(np.ptp(mesh.vertices, axis=0), model.size_m, atol=1e-4)
        assert len(mesh.faces) <= 2 * FACE_BUDGET, model.model_id
    # People call these by other words.
    names = {m.name for m in models}
    assert not names & {"Baby bed", "Bunk bed", "Table tennis", "Ceiling lamp", "Street lamp", "Electric guitar"}


def test_scaling_fills_any_box() -> None:
    from crossover_models.simulation.furniture import furniture_mesh

    mesh = scaled_to(furniture_mesh("chair", 3), np.array([0.7, 0.2, 1.9]))
    np.testing.assert_allclose(mesh.vertices.min(axis=0), [-0.35, -0.1, 0.0], atol=1e-6)
    np.testing.assert_allclose(mesh.vertices.max(axis=0), [0.35, 0.1, 1.9], atol=1e-6)
