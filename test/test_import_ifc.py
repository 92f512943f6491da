"""IFC buildings: a planted house in millimeters and in meters, a real one, and files that are none."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ifcopenshell
import ifcopenshell.guid
import numpy as np
import pytest

from crossover_models.building import Building, BuildingError
from crossover_models.floor_plan import FREE, OCCUPIED, UNKNOWN
from crossover_models.map_database import ifc_probe
from crossover_models.map_database.ifc import read_ifc
from crossover_models.places import interior_point

REAL = Path(__file__).parents[2] / "shared" / "data" / "ifc" / "duplex.ifc"
needs_real = pytest.mark.skipif(not REAL.is_file(), reason=f"the real IFC building is not at {REAL}")


class House:
    """Writes a house of boxes: lengths in meters, whatever the file's unit."""

    def __init__(self, schema: str, millimeters: bool, shift: tuple[float, float] = (0.0, 0.0)) -> None:
        self.file = ifcopenshell.file(schema=schema)
        self.unit = 1000.0 if millimeters else 1.0
        self.shift = shift
        self._number = 0
        person = self.make("IfcPerson", FamilyName="T")
        organization = self.make("IfcOrganization", Name="T")
        self.history = self.make(
            "IfcOwnerHistory",
            OwningUser=self.make("IfcPersonAndOrganization", ThePerson=person, TheOrganization=organization),
            OwningApplication=self.make(
                "IfcApplication", ApplicationDeveloper=organization, Version="1", ApplicationFullName="t",
                ApplicationIdentifier="t",
            ),
            ChangeAction="ADDED",
            CreationDate=0,
        )  # fmt: skip
        prefix = {"Prefix": "MILLI"} if millimeters else {}
        unit = self.make("IfcSIUnit", UnitType="LENGTHUNIT", Name="METRE", **prefix)
        axes = self.make("IfcAxis2Placement3D", Location=self.point(0.0, 0.0, 0.0))
        self.context = self.make(
            "IfcGeometricRepresentationContext", ContextIdentifier="Body", ContextType="Model",
            CoordinateSpaceDimension=3, Precision=1e-5, WorldCoordinateSystem=axes,
        )  # fmt: skip
        project = self.root(
            "IfcProject", "P", RepresentationContexts=[self.context],
            UnitsInContext=self.make("IfcUnitAssignment", Units=[unit]),
        )  # fmt: skip
        self.building = self.root("IfcBuilding", "B", CompositionType="ELEMENT")
        self.root("IfcRelAggregates", "", RelatingObject=project, RelatedObjects=[self.building])

    def make(self, kind: str, **values: Any) -> Any:
        return self.file.create_entity(kind, **values)

    def root(self, kind: str, name: str, **values: Any) -> Any:
        guid = ifcopenshell.guid.new()
        return self.make(kind, GlobalId=guid, OwnerHistory=self.history, Name=name or None, **values)

    def point(self, *xyz: float) -> Any:
        return self.make("IfcCartesianPoint", Coordinates=[float(v) * self.unit for v in xyz])

    def placed(self, x: float, y: float, z: float) -> Any:
        axes = self.make("IfcAxis2Placement3D", Location=self.point(x, y, z))
        return self.make("IfcLocalPlacement", RelativePlacement=axes)

    def storey(self, name: str, floor_m: float) -> Any:
        storey = self.root(
            "IfcBuildingStorey", name, ObjectPlacement=self.placed(0.0, 0.0, floor_m), CompositionType="ELEMENT",
            Elevation=floor_m * self.unit,
        )  # fmt: skip
        self.root("IfcRelAggregates", "", RelatingObject=self.building, RelatedObjects=[storey])
        return storey

    def box(self, kind: str, name: str, low: Sequence[float], high: Sequence[float], **values: Any) -> Any:
        """An element whose body is an upright box."""
        (x0, y0, z0), (x1, y1, z1) = low, high
        center = self.make("IfcCartesianPoint", Coordinates=[(x1 - x0) / 2 * self.unit, (y1 - y0) / 2 * self.unit])
        profile = self.make(
            "IfcRectangleProfileDef", ProfileType="AREA", XDim=(x1 - x0) * self.unit, YDim=(y1 - y0) * self.unit,
            Position=self.make("IfcAxis2Placement2D", Location=center),
        )  # fmt: skip
        up = self.make("IfcDirection", DirectionRatios=[0.0, 0.0, 1.0])
        solid = self.make(
            "IfcExtrudedAreaSolid", SweptArea=profile, ExtrudedDirection=up, Depth=(z1 - z0) * self.unit,
            Position=self.make("IfcAxis2Placement3D", Location=self.point(0.0, 0.0, 0.0)),
        )  # fmt: skip
        shape = self.make(
            "IfcShapeRepresentation", ContextOfItems=self.context, RepresentationIdentifier="Body",
            RepresentationType="SweptSolid", Items=[solid],
        )  # fmt: skip
        body = self.make("IfcProductDefinitionShape", Representations=[shape])
        place = self.placed(x0 + self.shift[0], y0 + self.shift[1], z0)
        return self.root(kind, name, ObjectPlacement=place, Representation=body, **values)

    def contain(self, storey: Any, elements: list[Any]) -> None:
        self.root("IfcRelContainedInSpatialStructure", "", RelatingStructure=storey, RelatedElements=elements)

    def space(self, storey: Any, number: str, name: str, low: Sequence[float], high: Sequence[float]) -> Any:
        inside = {"InteriorOrExteriorSpace": "INTERNAL"} if self.file.schema == "IFC2X3" else {}
        space = self.box("IfcSpace", number, low, high, LongName=name or None, CompositionType="ELEMENT", **inside)
        self.root("IfcRelAggregates", "", RelatingObject=storey, RelatedObjects=[space])
        return space


def planted(
    path: Path, schema: str = "IFC4", millimeters: bool = True, shift: tuple[float, float] = (0.0, 0.0)
) -> Path:
    """A kitchen (5 x 4 m) and an office (3 x 4 m) with a door between; a foundation below and a roof terrace above."""
    house = House(schema, millimeters, shift)
    house.storey("Foundation", -1.0)
    ground = house.storey("Ground floor", 0.5)
    roof = house.storey("Roof", 3.5)
    z0, z1 = 0.5, 3.2
    walls = [
        house.box("IfcWall", f"W{k}", (*low, z0), (*high, z1))
        for k, (low, high) in enumerate(
            [((0, -0.2), (8.2, 0)), ((0, 4), (8.2, 4.2)), ((-0.2, -0.2), (0, 4.2)), ((8.2, -0.2), (8.4, 4.2))]
        )
    ]
    between = house.box("IfcWall", "W9", (5.0, 0.0, z0), (5.2, 4.0, z1))
    opening = house.box("IfcOpeningElement", "O", (4.9, 1.0, z0), (5.3, 2.0, z0 + 2.1))
    house.root("IfcRelVoidsElement", "", RelatingBuildingElement=between, RelatedOpeningElement=opening)
    door = house.box("IfcDoor", "D", (5.05, 1.0, z0), (5.15, 2.0, z0 + 2.1))
    house.root("IfcRelFillsElement", "", RelatingOpeningElement=opening, RelatedBuildingElement=door)
    slab = house.box("IfcSlab", "S", (-0.2, -0.2, 0.3), (8.4, 4.2, 0.5))
    ceiling = house.box("IfcSlab", "C", (-0.2, -0.2, 3.2), (8.4, 4.2, 3.5))
    table = house.box("IfcFurnishingElement", "M_Table-Dining:1 x 2:1234", (1.0, 1.0, z0), (2.0, 3.0, z0 + 0.75))
    desk = house.box("IfcFurnishingElement", "Desk:160x80:99", (6.0, 3.0, z0), (7.6, 3.8, z0 + 0.75))
    house.contain(ground, [*walls, between, door, slab, desk])
    parapet = house.box("IfcWall", "W10", (-0.2, -0.2, 3.5), (8.4, 0.0, 5.0))
    house.contain(roof, [ceiling, parapet])
    kitchen = house.space(ground, "1.01", "Kitchen", (0, 0, z0), (5, 4, z1))
    house.contain(kitchen, [table])
    house.space(ground, "1.02", "Office", (5.2, 0, z0), (8.2, 4, z1))
    house.space(roof, "2.01", "Roof", (0, 0, 3.5), (8.2, 4, 6.0))
    house.file.write(str(path))
    return path


@pytest.mark.parametrize(
    ("schema", "millimeters"), [("IFC4", True), ("IFC4", False), ("IFC2X3", True), ("IFC2X3", False)]
)
def test_a_planted_house_is_read_in_meters(tmp_path: Path, schema: str, millimeters: bool) -> None:
    building = read_ifc(planted(tmp_path / "my house.ifc", schema, millimeters))
    check_house(building)
    assert np.allclose(building.levels[0].T_building_map, 0.0)
    assert building.building_id == "my_house" and schema in building.source


def check_house(building: Building) -> None:
    (level,) = building.levels
    assert (level.level_id, level.name) == ("Ground_floor", "Ground floor")
    assert level.elevation_m == pytest.approx(0.5) and level.height_m == pytest.approx(3.0)
    origin = np.asarray(level.T_building_map[:2])
    assert [(p.place_id, p.name, p.category) for p in level.places] == [
        ("1.01", "Kitchen 1.01", "kitchen"), ("1.02", "Office 1.02", "office"),
    ]  # fmt: skip
    kitchen, office = level.places
    low, high = kitchen.polygon.min(axis=0), kitchen.polygon.max(axis=0)
    assert np.allclose(high - low, [5.0, 4.0], atol=1e-3)
    (table,), (desk,) = kitchen.furnishings, office.furnishings
    assert (table.category, desk.category) == ("dining table", "desk")
    assert np.allclose(table.mesh.vertices.min(axis=0) - [*low, 0], [1.0, 1.0, 0.0], atol=1e-3)
    assert np.allclose(table.mesh.vertices.max(axis=0) - [*low, 0], [2.0, 3.0, 0.75], atol=1e-3)
    assert kitchen.text == (
        "Kitchen 1.01 on Ground floor, about 20 square meters.",
        "It holds a dining table.",
        "A door leads to Office 1.02.",
    )
    (door,) = level.doors
    assert np.allclose(np.sort(door.segment, axis=0) - low, [[5.1, 1.0], [5.1, 2.0]], atol=0.02)
    wall, free, out = OCCUPIED, FREE, UNKNOWN
    points = np.array([(5.1, 0.5), (5.1, 3.0), (-0.1, 2.0), (5.1, 1.5), (2.0, 2.0), (7.0, 1.0), (1.5, 2.0), (9.0, 2.0)])
    assert level.plan.value(points + low).tolist() == [wall, wall, wall, free, free, free, free, out]
    mesh = level.structure
    assert mesh is not None and mesh.face_colors is not None
    assert mesh.vertices[:, 2].min() == pytest.approx(-0.2, abs=1e-3)
    # The door's leaf is left out: a point in the doorway, at breast height, touches no triangle's box.
    corners = mesh.vertices[mesh.faces] - [*low, 0.0]
    point = np.array([5.1, 1.5, 1.0])
    boxes = (corners.min(axis=1) - 0.06 <= point).all(axis=1) & (corners.max(axis=1) + 0.06 >= point).all(axis=1)
    assert not boxes.any()
    assert (np.abs(low + origin) % 1000.0 < 1e-3).all()


def test_far_coordinates_keep_their_millimeters(tmp_path: Path) -> None:
    shift = (3_512_000.0, 5_404_000.0)
    building = read_ifc(planted(tmp_path / "grid.ifc", shift=shift))
    check_house(building)
    (level,) = building.levels
    assert np.allclose(level.T_building_map[:2] + level.places[0].polygon.min(axis=0), shift, atol=2e-3)
    assert np.abs(level.plan.origin_xy).max() < 10.0


def test_levels_left_out_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        building = read_ifc(planted(tmp_path / "house.ifc"))
    assert "left out: Foundation, Roof" in building.source
    assert "Foundation, Roof" in caplog.text


def refused(path: Path) -> str:
    with pytest.raises(BuildingError) as caught:
        read_ifc(path)
    text = str(caught.value)
    assert "\n" not in text and str(path) in text
    return text


def test_files_that_are_no_ifc_get_one_line(tmp_path: Path) -> None:
    bad = tmp_path / "bad.ifc"
    for content, message in (
        (b"", "not an IFC file"),
        (b"PK\x03\x04" + bytes(5000), "not an IFC file"),
        (np.random.default_rng(0).bytes(5000), "not an IFC file"),
        (b"ISO-10303-21;\n", "truncated IFC file"),
        (b"ISO-10303-21;\nHEADER;\nnonsense\nEND-ISO-10303-21;\n", "not a"),
    ):
        bad.write_bytes(content)
        assert message in refused(bad)


def test_an_ifc_cut_anywhere_gets_one_line(tmp_path: Path) -> None:
    whole = planted(tmp_path / "house.ifc").read_bytes()
    cut = tmp_path / "cut.ifc"
    for share in np.linspace(0.02, 0.98, 13):
        cut.write_bytes(whole[: int(len(whole) * share)])
        assert "truncated IFC file" in refused(cut)


def test_a_damaged_ifc_is_an_error_of_ours_or_a_building(tmp_path: Path) -> None:
    whole = planted(tmp_path / "house.ifc").read_bytes()
    bad = tmp_path / "bad.ifc"
    rng = np.random.default_rng(3)
    outcomes = set()
    for _ in range(12):
        data = bytearray(whole)
        for at in rng.integers(300, len(data) - 100, 3):
            data[at] = int(rng.integers(32, 126))
        bad.write_bytes(data)
        try:
            read_ifc(bad)
            outcomes.add("building")
        except BuildingError as error:
            assert "\n" not in str(error)
            outcomes.add("error")
    assert "error" in outcomes


def test_ifc_without_levels_or_spaces_says_so(tmp_path: Path) -> None:
    house = House("IFC4", True)
    house.file.write(str(tmp_path / "empty.ifc"))
    assert "IfcBuildingStorey: none" in refused(tmp_path / "empty.ifc")
    house.storey("Cellar", -2.0)
    house.file.write(str(tmp_path / "cellar.ifc"))
    assert "no storey holds both spaces and walls; storeys: Cellar" in refused(tmp_path / "cellar.ifc")


@needs_real
def test_the_duplex() -> None:
    building = read_ifc(REAL)
    assert [level.level_id for level in building.levels] == ["Level_1", "Level_2"]
    assert [len(level.places) for level in building.levels] == [10, 10]
    assert [len(level.doors) for level in building.levels] == [6, 8]
    places = {place.place_id: place for level in building.levels for place in level.places}
    assert sum(len(place.furnishings) for place in places.values()) == 61
    assert {place.category for place in places.values()} >= {"kitchen", "bathroom", "bedroom", "living room", "hallway"}
    for kind in ("101", "102", "103", "202", "203"):  # the flats are twins
        a, b = places[f"A{kind}"], places[f"B{kind}"]
        assert a.category == b.category
        assert sorted(f.category for f in a.furnishings) == sorted(f.category for f in b.furnishings) or kind[0] == "2"
    for level in building.levels:
        assert level.structure is not None and level.plan.area_m2 > 100.0
        for place in level.places:
            assert level.plan.value(interior_point(place.polygon)) == FREE, place.name
        for door in level.doors:
            inside = door.segment.mean(axis=0)
            assert level.plan.value(inside) != OCCUPIED


def test_a_file_that_crashes_the_geometry_kernel_is_an_error(tmp_path: Path) -> None:
    """IfcOpenShell 0.8 ends its process with a segmentation fault on this one: an aggregate under a wall's number."""
    path = planted(tmp_path / "house.ifc")
    text, count = re.subn(
        r"(?m)^#28=IFCRELAGGREGATES\(('[^']+'),#5,.*$", r"#102=IFCRELAGGREGATES(\1,#150,$,$,#110,(#187));",
        path.read_text(),
    )  # fmt: skip
    assert count == 1
    path.write_text(text)
    assert "geometry kernel crashes" in refused(path)


def test_a_file_on_which_the_geometry_kernel_turns_in_circles_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ifc_probe, "TIMEOUT_S", 0.01)
    assert "did not finish within" in refused(planted(tmp_path / "house.ifc"))
