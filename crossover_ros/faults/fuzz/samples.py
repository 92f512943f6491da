"""Valid samples of every file that is read: small, whole, and made here, so that nothing has to be at hand."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from crossover_models.building import Building, Door, Furnishing, Level, Lift, Mesh, Place
from crossover_models.floor_plan import FREE, OCCUPIED, FloorPlan

ENCODER, DIM = "0123456789abcdef", 16
MODALITIES = ("floor_plan", "text", "image", "point_cloud", "mesh")


def plan() -> FloorPlan:
    """Two rooms of 3 x 4 m with a doorway, without symmetry."""
    occupancy = np.full((44, 64), FREE, dtype=np.int8)
    occupancy[[0, -1], :] = occupancy[:, [0, -1]] = OCCUPIED
    occupancy[:24, 31] = occupancy[33:, 31] = OCCUPIED
    occupancy[30:36, 50:54] = OCCUPIED
    return FloorPlan(occupancy, 0.1, (-1.0, 2.0))


def building() -> Building:
    """A level with two rooms that have every modality, and one that is bare."""
    rng = np.random.default_rng(0)
    box = Mesh(
        np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=np.float32),
        np.array([[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5]], dtype=np.int32),
        np.full((4, 3), 90, dtype=np.uint8),
    )
    outline = np.array([[-1.0, 2.0], [2.0, 2.0], [2.0, 6.0], [-1.0, 6.0]])
    views = (rng.integers(0, 256, (12, 16, 3), dtype=np.uint8),)
    places = tuple(
        Place(
            f"P{k}", f"Room {k}", "kitchen" if k else "", outline + np.array([3.1 * k, 0]), ("A room.", "Two."), views,
            rng.normal(size=(20, 3)).astype(np.float32), (Furnishing(f"o{k}", "table", box),),
        )
        for k in range(2)
    )  # fmt: skip
    door = Door(np.array([[2.1, 4.4], [2.1, 5.3]]))
    lift = Lift("lift", np.array([4.0, 5.0]))
    ground = Level("L1", "Ground", 0.0, 2.8, plan(), places, box, (door,), (lift,), np.zeros(3), views[0])
    small = FloorPlan(np.zeros((8, 9), dtype=np.int8), 0.25, (0.0, 0.0))
    return Building("house", (ground, Level("L2", "Attic", 2.8, 2.0, small, ())), "sample")


def write_map(path: Path) -> None:
    """The building as a map database."""
    from crossover_models.map_database.writer import DatabaseWriter
    from crossover_models.observation import Code, Modality

    rng = np.random.default_rng(1)
    with DatabaseWriter(path, ENCODER, "sample", DIM) as writer:
        writer.add_building(building())
        for name in MODALITIES:
            vectors = rng.normal(size=(2, DIM)).astype(np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            writer.add_embeddings("house", Modality(name), {f"P{k}": Code(vectors[k]) for k in range(2)})
        writer.publish()


def rmf() -> dict[str, Any]:
    """An Open-RMF building of two rooms, as the YAML's tree."""
    corners = [(100, 100), (250, 100), (400, 100), (400, 250), (250, 250), (100, 250), (250, 160), (250, 200)]
    walls = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0), (1, 6), (7, 4)]
    door = {"name": [1, "d"], "type": [1, "hinged"], "motion_axis": [1, "start"]}
    level = {
        "elevation": 0.0,
        "vertices": [
            *([x, y, 0.0, ""] for x, y in corners),
            [150, 150, 0.0, "kitchen"],
            [330, 200, 0.0, "lab", {"lift_cabin": [1, "lift"]}],
        ],
        "walls": [[i, j, {}] for i, j in walls],
        "doors": [[6, 7, door]],
        "floors": [{"vertices": [0, 2, 3, 5], "parameters": {}}],
        "holes": [],
        "measurements": [[0, 2, {"distance": [3, 6.0]}]],
        "models": [{"model_name": "OpenRobotics/Sofa", "name": "s", "x": 150, "y": 200, "z": 0, "yaw": 0}],
        "fiducials": [[100, 100, "a"], [400, 100, "b"]],
        "drawing": {"filename": "none.png"},
    }
    lift = {
        "reference_floor_name": "L1", "x": 330, "y": 200, "yaw": 0.0, "level_doors": {"L1": ["d"]},
        "doors": {"d": {"motion_axis_orientation": 1.57, "width": 1.0, "x": 0.5, "y": 0.0}},
    }  # fmt: skip
    return {
        "name": "house", "coordinate_system": "reference_image", "reference_level_name": "L1",
        "levels": {"L1": level}, "lifts": {"lift": lift},
    }  # fmt: skip


class _Step:
    """Numbered lines of an ISO 10303-21 file."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, text: str) -> str:
        self.lines.append(f"#{len(self.lines) + 1}={text};")
        return f"#{len(self.lines)}"


def ifc() -> bytes:
    """An IFC4 house of one storey, four walls and a space, all boxes; metres."""
    step = _Step()
    numbers = iter(range(10_000))

    def guid() -> str:
        return f"'{next(numbers):022d}'"

    def point(*xyz: float) -> str:
        return step.add(f"IFCCARTESIANPOINT(({','.join(f'{v:.2f}' for v in xyz)}))")

    axes = step.add(f"IFCAXIS2PLACEMENT3D({point(0, 0, 0)},$,$)")
    context = step.add(f"IFCGEOMETRICREPRESENTATIONCONTEXT('Body','Model',3,1.E-05,{axes},$)")
    unit = step.add("IFCSIUNIT(*,.LENGTHUNIT.,$,.METRE.)")
    units = step.add(f"IFCUNITASSIGNMENT(({unit}))")
    project = step.add(f"IFCPROJECT({guid()},$,'P',$,$,$,$,({context}),{units})")
    house = step.add(f"IFCBUILDING({guid()},$,'B',$,$,$,$,$,.ELEMENT.,$,$,$)")
    step.add(f"IFCRELAGGREGATES({guid()},$,$,$,{project},({house}))")
    ground = step.add(f"IFCLOCALPLACEMENT($,{axes})")
    storey = step.add(f"IFCBUILDINGSTOREY({guid()},$,'Ground',$,$,{ground},$,$,.ELEMENT.,0.)")
    step.add(f"IFCRELAGGREGATES({guid()},$,$,$,{house},({storey}))")
    up = step.add("IFCDIRECTION((0.,0.,1.))")

    def box(kind: str, name: str, x: float, y: float, dx: float, dy: float, tail: str) -> str:
        center = step.add(f"IFCAXIS2PLACEMENT2D({point(dx / 2, dy / 2)},$)")
        profile = step.add(f"IFCRECTANGLEPROFILEDEF(.AREA.,$,{center},{dx:.2f},{dy:.2f})")
        solid = step.add(f"IFCEXTRUDEDAREASOLID({profile},{axes},{up},2.6)")
        shape = step.add(f"IFCSHAPEREPRESENTATION({context},'Body','SweptSolid',({solid}))")
        body = step.add(f"IFCPRODUCTDEFINITIONSHAPE($,$,({shape}))")
        place = step.add(f"IFCAXIS2PLACEMENT3D({point(x, y, 0)},$,$)")
        where = step.add(f"IFCLOCALPLACEMENT($,{place})")
        return step.add(f"{kind}({guid()},$,'{name}',$,$,{where},{body}{tail})")

    walls = [
        box("IFCWALL", f"W{k}", *spot, ",$,$")
        for k, spot in enumerate(((0, 0, 5, 0.2), (0, 4, 5, 0.2), (0, 0, 0.2, 4), (4.8, 0, 0.2, 4.2)))
    ]
    step.add(f"IFCRELCONTAINEDINSPATIALSTRUCTURE({guid()},$,$,$,({','.join(walls)}),{storey})")
    space = box("IFCSPACE", "1", 0.2, 0.2, 4.6, 3.8, ",'Kitchen',.ELEMENT.,.INTERNAL.,$")
    step.add(f"IFCRELAGGREGATES({guid()},$,$,$,{storey},({space}))")
    head = (
        "ISO-10303-21;\nHEADER;\nFILE_DESCRIPTION(('ViewDefinition [CoordinationView]'),'2;1');\n"
        "FILE_NAME('house.ifc','2026-01-01T00:00:00',(''),(''),'','','');\nFILE_SCHEMA(('IFC4'));\nENDSEC;\nDATA;\n"
    )
    return (head + "\n".join(step.lines) + "\nENDSEC;\nEND-ISO-10303-21;\n").encode()


def write_bag(folder: Path, storage: str) -> None:
    """A second of a robot, with clouds, a picture, odometry and transforms; MCAP or SQLite."""
    from rosbags.rosbag2 import StoragePlugin, Writer

    from crossover_ros.faults.fuzz import messages

    kinds = {
        "/points": messages.cloud,
        "/camera/image_raw": messages.picture,
        "/odom": messages.odometry,
        "/tf": messages.tf,
    }
    with Writer(folder, version=9, storage_plugin=StoragePlugin[storage.upper()]) as writer:
        for topic, make in kinds.items():
            sample = make()
            kind = str(sample.__msgtype__)
            connection = writer.add_connection(topic, kind, typestore=messages.STORE)
            for k in range(3):
                writer.write(connection, 10**9 + k * 10**8, messages.STORE.serialize_cdr(sample, kind))


def write_checkpoint(path: Path) -> None:
    """A checkpoint of the published design's format with two small tensors; its profile is the reference one's."""
    import torch

    from crossover_models.encoders.checkpoint import save_checkpoint
    from crossover_models.encoders.profile import EncoderProfile

    state = {"a.weight": torch.arange(12.0).reshape(3, 4), "a.bias": torch.zeros(3)}
    save_checkpoint(path, EncoderProfile(), state, {"fingerprint": ENCODER})


def pictures() -> tuple[bytes, ...]:
    """One small picture as JPEG, PNG and WebP."""
    ramp = np.linspace(0, 255, 24 * 16 * 3).astype(np.uint8).reshape(16, 24, 3)
    out = []
    for kind in ("JPEG", "PNG", "WEBP"):
        stream = io.BytesIO()
        Image.fromarray(ramp).save(stream, kind)
        out.append(stream.getvalue())
    return tuple(out)


def trajectory() -> bytes:
    """A TUM file of three poses."""
    return b"# stamp x y z qx qy qz qw\n" + b"".join(
        f"{100 + k}.05 {k}.5 2.0 0 0 0 0.0 1.0\n".encode() for k in range(3)
    )


def text_of(tree: Any) -> str:
    """A tree as YAML; what JSON has no word for stays as YAML's."""
    import yaml

    return str(yaml.safe_dump(tree, default_flow_style=None))


def json_of(tree: Any) -> str:
    """A tree as JSON."""
    return json.dumps(tree)
