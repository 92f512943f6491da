"""Write a tiny ScanNet v2 with Scan2CAD, SceneCAD and SceneVerse in exactly the published layouts; all is known.

The room is L-shaped, 4 m x 3 m; scene-frame truth is in the constants. Run it to have a look at one:
``python test/write_scannet.py FOLDER``.
"""

from __future__ import annotations

import json
import struct
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.geometry import inverse_se3, quaternion_from_matrix, transform_points_se3

Array = NDArray[np.float64]

CORNERS = np.array([[0, 0], [4, 0], [4, 3], [2.5, 3], [2.5, 2], [0, 2]], dtype=np.float64)
HEIGHT_M, FLOOR_M = 2.5, 0.1
DESK = np.array([[1.0, 0.5, 0.0], [2.2, 1.1, 0.75]])
LAMP = np.array([[3.5, 2.5, 1.8], [3.7, 2.7, 2.2]])
CHAIR_SIZE = np.array([0.55, 0.5, 0.9])
CATEGORY, CHAIR, ABSENT = "03001627", "b4371c352f96c4d5a6fee8e2140acec9", "2c03bcb2a133ce28bb6caad47eee6580"
CHAIR_BOX = np.array([[-0.18, -0.35, -0.24], [0.22, 0.25, 0.26]])
LABELS = {
    "wall": "wall",
    "floor": "floor",
    "office chair": "chair",
    "desk": "desk",
    "lamp": "lamp",
    "ceiling": "ceiling",
}
OBJECTS = {0: "wall", 1: "floor", 2: "desk", 3: "office chair", 4: "lamp"}
COLORS = {0: (200, 190, 180), 1: (90, 60, 30), 2: (120, 80, 40), 3: (20, 20, 160), 4: (250, 240, 90)}
COLOR_SIZE, DEPTH_SIZE = (64, 48), (32, 24)
COLOR_K = np.array([[60.0, 0, 31.5], [0, 60.0, 23.5], [0, 0, 1]])
DEPTH_K = np.array([[30.0, 0, 15.5], [0, 30.0, 11.5], [0, 0, 1]])
SCANS = ("scene0000_00", "scene0000_01", "scene0001_00", "scene0707_00")


def turned(yaw: float, translation: tuple[float, float, float]) -> Array:
    out = np.eye(4)
    out[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    out[:3, 3] = translation
    return out


ALIGNMENT = turned(0.5, (-1.2, 0.7, -0.05))
T_SCENE_SCAN = turned(0.0, (0, 0, -FLOOR_M)) @ ALIGNMENT
T_SCENE_CHAIR = turned(0.7, (2.6, 1.4, 0.0))


def looking_down(x: float, y: float, z: float) -> Array:
    """Optical frame at (x, y, z) of the scene that looks straight down, its x along the scene's."""
    out = np.diag([1.0, -1.0, -1.0, 1.0])
    out[:3, 3] = x, y, z
    return out


T_SCENE_CAMERA = [looking_down(1.0, 1.0, 1.5), None, looking_down(3.0, 1.5, 2.0)]


def box_points(box: Array, step: float = 0.1) -> Array:
    """Points all over a box's surface, its corners among them."""
    axes = [np.linspace(box[0, i], box[1, i], max(2, round((box[1, i] - box[0, i]) / step) + 1)) for i in range(3)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return grid[((grid == box[0]) | (grid == box[1])).any(axis=1)]


def mesh_points() -> tuple[Array, NDArray[np.int64]]:
    """(V, 3) vertices in the scene and the object each is of; the last vertex is of none."""
    x, y = (g.ravel() for g in np.meshgrid(np.linspace(0, 4, 21), np.linspace(0, 3, 16)))
    inside = (y <= 2) | (x >= 2.5)
    floor = np.stack([x, y, np.zeros_like(x)], axis=1)[inside]
    wall = np.stack([np.linspace(0, 4, 41), np.zeros(41), np.linspace(0, HEIGHT_M, 41)], axis=1)
    x, y = CHAIR_SIZE[:2] / 2
    canonical = box_points(np.array([[-x, -y, 0.0], [x, y, CHAIR_SIZE[2]]]))
    parts = [wall, floor, box_points(DESK), transform_points_se3(T_SCENE_CHAIR, canonical), box_points(LAMP)]
    of = np.concatenate([np.full(len(part), i) for i, part in enumerate(parts)] + [np.array([-1])])
    return np.concatenate([*parts, np.array([[2.0, 1.8, 1.0]])]), of


def write_ply(path: Path, points: Array, colors: NDArray[np.uint8]) -> None:
    dtype = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1"), ("alpha", "u1")]
    vertices = np.zeros(len(points), dtype=dtype)
    for i, axis in enumerate("xyz"):
        vertices[axis] = points[:, i]
    for i, channel in enumerate(("red", "green", "blue")):
        vertices[channel] = colors[:, i]
    vertices["alpha"] = 255
    types = {"f4": "float", "u1": "uchar"}
    header = ["ply", "format binary_little_endian 1.0", "comment VCGLIB generated", f"element vertex {len(points)}"]
    header += [f"property {types[kind[-2:]]} {name}" for name, kind in dtype]
    header += ["element face 1", "property list uchar int vertex_indices", "end_header"]
    face = struct.pack("<B3i", 3, 0, 1, 2)
    path.write_bytes("\n".join(header).encode() + b"\n" + vertices.tobytes() + face)


def color_picture(frame: int) -> NDArray[np.uint8]:
    """(48, 64, 3) RGB: left half reddish, right half bluish, another green for each frame."""
    image = np.full((COLOR_SIZE[1], COLOR_SIZE[0], 3), (30, 40 + 60 * frame, 200), dtype=np.uint8)
    image[:, : COLOR_SIZE[0] // 2] = (200, 40 + 60 * frame, 30)
    return image


def depth_picture(frame: int) -> NDArray[np.uint16]:
    """(24, 32) millimetres: the floor seen from straight above; one pixel was not measured."""
    pose = T_SCENE_CAMERA[frame]
    depth = np.full((DEPTH_SIZE[1], DEPTH_SIZE[0]), 1000 if pose is None else round(pose[2, 3] * 1000), dtype=np.uint16)
    depth[0, 0] = 0
    return depth


def pose_in_scan(frame: int) -> Array:
    pose = T_SCENE_CAMERA[frame]
    return np.full((4, 4), -np.inf) if pose is None else inverse_se3(T_SCENE_SCAN) @ pose


def padded(K: Array) -> Array:
    out = np.eye(4)
    out[:3, :3] = K
    return out


def sens_bytes(version: int = 4, color_kind: int = 2, depth_kind: int = 1) -> bytes:
    name = b"StructureSensor"
    out = [struct.pack("<IQ", version, len(name)), name]
    out += [m.astype("<f4").tobytes() for m in (padded(COLOR_K), np.eye(4), padded(DEPTH_K), np.eye(4))]
    out.append(struct.pack("<2i4IfQ", color_kind, depth_kind, *COLOR_SIZE, *DEPTH_SIZE, 1000.0, len(T_SCENE_CAMERA)))
    for frame in range(len(T_SCENE_CAMERA)):
        color = cv2.imencode(".jpg", color_picture(frame)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
        depth = zlib.compress(depth_picture(frame).astype("<u2").tobytes())
        out.append(pose_in_scan(frame).astype("<f4").tobytes())
        out += [struct.pack("<4Q", 1000 + frame, 1001 + frame, len(color), len(depth)), color, depth]
    out.append(struct.pack("<Q", 0))  # no IMU frames
    return b"".join(out)


def write_exported(folder: Path) -> None:
    for name in ("color", "depth", "pose", "intrinsic"):
        (folder / name).mkdir(parents=True)
    for frame in range(len(T_SCENE_CAMERA)):
        cv2.imwrite(
            str(folder / "color" / f"{frame}.jpg"), color_picture(frame)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100]
        )
        cv2.imwrite(str(folder / "depth" / f"{frame}.png"), depth_picture(frame))
        np.savetxt(folder / "pose" / f"{frame}.txt", pose_in_scan(frame), fmt="%f")
    for name, K in (("color", COLOR_K), ("depth", DEPTH_K)):
        np.savetxt(folder / "intrinsic" / f"intrinsic_{name}.txt", padded(K), fmt="%f")
        np.savetxt(folder / "intrinsic" / f"extrinsic_{name}.txt", np.eye(4), fmt="%f")


def write_instance_pictures(path: Path) -> None:
    """Numbers one up from ``objectId``: the desk (2) on the left, the floor (1) on the right, 0 in a corner."""
    numbers = np.full((COLOR_SIZE[1], COLOR_SIZE[0]), 1 + 1, dtype=np.uint8)
    numbers[:, : COLOR_SIZE[0] // 2] = 2 + 1
    numbers[-8:, -8:] = 0
    with zipfile.ZipFile(path, "w") as archive:
        for frame in range(len(T_SCENE_CAMERA)):
            archive.writestr(f"instance-filt/{frame}.png", cv2.imencode(".png", numbers)[1].tobytes())


def write_scan(root: Path, scan_id: str, exported: bool = False, hidden: bool = False) -> None:
    folder = root / ("scans_test" if hidden else "scans") / scan_id
    folder.mkdir(parents=True)
    points, of = mesh_points()
    colors = np.array([COLORS.get(int(i), (0, 0, 0)) for i in of], dtype=np.uint8)
    write_ply(folder / f"{scan_id}_vh_clean_2.ply", transform_points_se3(inverse_se3(T_SCENE_SCAN), points), colors)
    lines = [f"colorHeight = {COLOR_SIZE[1]}", f"colorWidth = {COLOR_SIZE[0]}", "depthHeight = 24", "depthWidth = 32"]
    for camera, K in (("color", COLOR_K), ("depth", DEPTH_K)):
        for name, value in (("fx", K[0, 0]), ("fy", K[1, 1]), ("mx", K[0, 2]), ("my", K[1, 2])):
            lines.append(f"{name}_{camera} = {value:f}")
    lines.append("numColorFrames = 3")
    if exported:
        write_exported(folder)
    else:
        (folder / f"{scan_id}.sens").write_bytes(sens_bytes())
    if not hidden:
        lines.insert(0, "axisAlignment = " + " ".join(f"{v:.6f}" for v in ALIGNMENT.ravel()) + " ")
        lines.append("sceneType = Office")
        write_labels(folder, scan_id, of)
        write_instance_pictures(folder / f"{scan_id}_2d-instance-filt.zip")
    (folder / f"{scan_id}.txt").write_text("\n".join(lines) + "\n")


def write_labels(folder: Path, scan_id: str, of: NDArray[np.int64]) -> None:
    """Two segments an object, numbered with gaps as ScanNet's are."""
    segments = np.where(of < 0, 9999, of * 100 + np.arange(len(of)) % 2 * 7)
    params = {"kThresh": "0.0001", "segMinVerts": "20"}
    (folder / f"{scan_id}_vh_clean_2.0.010000.segs.json").write_text(
        json.dumps({"params": params, "sceneId": scan_id, "segIndices": segments.tolist()})
    )
    groups = [
        {"id": n, "objectId": n, "segments": [n * 100, n * 100 + 7], "label": label} for n, label in OBJECTS.items()
    ]
    (folder / f"{scan_id}.aggregation.json").write_text(
        json.dumps({"sceneId": scan_id, "appId": "Aggregator.v2", "segGroups": groups, "segmentsFile": "x.segs.json"})
    )


def write_shapenet(folder: Path) -> None:
    """A block with a back: its box is CHAIR_BOX."""
    low, high = CHAIR_BOX
    lines = ["# shape of a test"]
    for box in (np.array([low, [high[0], 0.0, high[2]]]), np.array([[low[0], 0.0, 0.15], high])):
        first = sum(line.startswith("v ") for line in lines)
        lines += [f"v {box[i, 0]} {box[j, 1]} {box[k, 2]}" for i in (0, 1) for j in (0, 1) for k in (0, 1)]
        for a, b, c, d in ((1, 2, 4, 3), (5, 7, 8, 6), (1, 5, 6, 2), (3, 4, 8, 7), (1, 3, 7, 5), (2, 6, 8, 4)):
            lines.append(f"f {a + first} {b + first} {c + first} {d + first}")
    path = folder / CATEGORY / CHAIR / "models" / "model_normalized.obj"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines) + "\n")


def trs(T: Array, scale: Array) -> dict[str, Any]:
    x, y, z, w = quaternion_from_matrix(T[:3, :3])
    return {"translation": T[:3, 3].tolist(), "rotation": [w, x, y, z], "scale": scale.tolist()}


def write_scan2cad(path: Path, scans: tuple[str, ...]) -> None:
    T_world_scan = np.eye(4)
    T_world_scan[:3, :3] = [[1, 0, 0], [0, 0, 1], [0, -1, 0]]
    T_world_scan[:3, 3] = -1.7, -0.7, 1.4
    # ShapeNet: x to the right, y up, -z forward. Forward is the object's x, left its y.
    forward, left, up = np.array([0, 0, -1.0]), np.array([-1.0, 0, 0]), np.array([0, 1.0, 0])
    extents = CHAIR_BOX[1] - CHAIR_BOX[0]
    scale = np.array([CHAIR_SIZE[1], CHAIR_SIZE[2], CHAIR_SIZE[0]]) / extents
    center = CHAIR_BOX.mean(axis=0) * scale
    T_shape_object = np.eye(4)
    T_shape_object[:3, :3] = np.stack([forward, left, up], axis=1)
    T_shape_object[:3, 3] = center - up * CHAIR_SIZE[2] / 2
    T_scene_shape = T_SCENE_CHAIR @ inverse_se3(T_shape_object)
    shape = T_world_scan @ inverse_se3(T_SCENE_SCAN) @ T_scene_shape
    box = {"bbox": (extents / 2).tolist(), "center": CHAIR_BOX.mean(axis=0).tolist(), "sym": "__SYM_NONE"}
    keypoints = {
        "keypoints_scan": {"n_keypoints": 0, "position": []},
        "keypoints_cad": {"n_keypoints": 0, "position": []},
    }
    chair = {"trs": trs(shape, scale), **box, "catid_cad": CATEGORY, "id_cad": CHAIR, **keypoints}
    away = shape.copy()
    away[:3, 3] += T_world_scan[:3, :3] @ [0.0, 0.0, 9.0]
    stray = {"trs": trs(away, scale), **box, "catid_cad": CATEGORY, "id_cad": ABSENT, **keypoints}
    entries = [
        {
            "id_scan": scan_id,
            "trs": trs(T_world_scan, np.ones(3)),
            "n_aligned_models": 2,
            "aligned_models": [chair, stray],
            "id_alignment": "5a7f",
        }
        for scan_id in scans
    ]
    path.write_text(json.dumps(entries))


def write_scenecad(folder: Path, scans: tuple[str, ...]) -> None:
    folder.mkdir()
    count = len(CORNERS)
    ring = np.concatenate([np.c_[CORNERS, np.zeros(count)], np.c_[CORNERS, np.full(count, HEIGHT_M)]])
    x, y, z = transform_points_se3(inverse_se3(T_SCENE_SCAN), ring).T
    following = [(i + 1) % count for i in range(count)]
    content = {
        "verts": np.stack([x, z, -y], axis=1).tolist(),
        "edges": [[i, j] for i, j in enumerate(following)]
        + [[i + count, j + count] for i, j in enumerate(following)]
        + [[i, i + count] for i in range(count)],
        "quads": [[i, j, j + count, i + count] for i, j in enumerate(following)]
        + [list(range(count)), list(range(count, 2 * count))],
    }
    for scan_id in scans:
        (folder / f"{scan_id}.json").write_text(json.dumps(content))


def write_sceneverse(folder: Path, scans: tuple[str, ...]) -> None:
    folder.mkdir(parents=True)
    entries = [
        {
            "item_id": f"{scan_id}_{i}",
            "scan_id": scan_id,
            "target_id": target,
            "instance_type": OBJECTS.get(int(target), "nothing"),
            "utterance": sentence,
        }
        for scan_id in scans
        for i, (target, sentence) in enumerate(
            [
                ("3", "the office chair that is next to the desk"),
                (2, "the desk below the lamp "),
                ("1", "the floor of the room"),
                ("77", "something that is not there"),
            ]
        )
    ]
    (folder / "ssg_ref_rel2_template.json").write_text(json.dumps(entries))
    with (folder / "scanrefer.jsonl").open("w") as stream:
        for scan_id in scans:
            entry = {
                "item_id": "scanrefer_0",
                "scan_id": scan_id,
                "target_id": 4,
                "utterance": "a yellow lamp, up high",
            }
            stream.write(json.dumps(entry) + "\n")
    caption = [{"scan_id": scan_id, "utterance": "an office with a desk and a chair"} for scan_id in scans]
    (folder / "ssg_caption_gpt.json").write_text(json.dumps(caption))
    (folder / "scannetv2_raw_categories.json").write_text(json.dumps(sorted(LABELS)))


def write_scannet(root: Path) -> None:
    """Write everything under ``root``, which must not exist or be empty."""
    root.mkdir(parents=True, exist_ok=True)
    rows = ["id\traw_category\tcategory\tcount\tnyu40id\teigen13id\tnyuClass\tnyu40class"]
    rows += [f"{i}\t{raw}\t{raw}\t10\t{i}\t1\t{nyu}\t{nyu}" for i, (raw, nyu) in enumerate(LABELS.items(), 1)]
    (root / "scannetv2-labels.combined.tsv").write_text("\n".join(rows) + "\n")
    lists = {
        "train": ["scene0000_00", "scene0000_01", "scene0404_00"],
        "val": ["scene0001_00"],
        "test": ["scene0707_00"],
    }
    for split, scans in lists.items():
        (root / f"scannetv2_{split}.txt").write_text("\n".join(scans) + "\n")
    for scan_id in SCANS:
        write_scan(root, scan_id, exported=scan_id == "scene0000_01", hidden=scan_id == "scene0707_00")
    annotated = SCANS[:3]
    write_shapenet(root / "ShapeNetCore.v2")
    write_scan2cad(root / "full_annotations.json", annotated[:1])
    write_scenecad(root / "scannet_planes", annotated)
    write_sceneverse(root / "annotations" / "refer", annotated)


if __name__ == "__main__":
    write_scannet(Path(sys.argv[1]))
