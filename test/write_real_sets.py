"""Writes tiny scans in exactly the layouts in which 3RScan, ARKitScenes, MultiScan and Structured3D are published.

Run as a script it writes all four: ``python test/write_real_sets.py FOLDER``.
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

Array = NDArray[np.float64]
CUBE = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
SIZE = (32, 24)
"""Width and height of the pictures."""


def turned(yaw_rad: float, x: float, y: float, z: float) -> Array:
    """(4, 4) turn about z, then shift."""
    T = np.eye(4)
    T[:2, :2] = [[np.cos(yaw_rad), -np.sin(yaw_rad)], [np.sin(yaw_rad), np.cos(yaw_rad)]]
    T[:3, 3] = x, y, z
    return T


def moved(T: Array, points: Array) -> Array:
    return np.asarray(points @ T[:3, :3].T + T[:3, 3])


def looking_down(x: float, y: float, z: float) -> Array:
    """(4, 4) optical frame that looks straight down, its right along x."""
    T = np.diag([1.0, -1.0, -1.0, 1.0])
    T[:3, 3] = x, y, z
    return T


def box_points(center: tuple[float, float, float], size: tuple[float, float, float]) -> Array:
    return CUBE * size + center


def columns(T: Array) -> list[float]:
    return [float(v) for v in T.T.reshape(-1)]


# 3RScan: a floor at z = 0.3 of the scan, a table that stays, a chair that is moved, a lamp that is new in the rescan.
REFERENCE, RESCAN, HIDDEN = "aaaa-ref", "bbbb-re", "cccc-test"
T_REFERENCE_RESCAN = turned(0.7, 1.5, -0.4, 0.1)
MOVE = turned(np.pi / 2, 1.0, 0.5, 0.0)
"""Of the chair, in the reference's frame."""
FLOOR_Z = 0.3
FLOOR = np.array([[0.0, 0.0, FLOOR_Z], [4.0, 0.0, FLOOR_Z], [4.0, 3.0, FLOOR_Z], [0.0, 3.0, FLOOR_Z]])
TABLE = box_points((3.0, 2.0, FLOOR_Z + 0.35), (1.2, 0.8, 0.7))
CHAIR = box_points((1.0, 1.0, FLOOR_Z + 0.45), (0.5, 0.4, 0.9))
LAMP = box_points((0.4, 2.5, FLOOR_Z + 0.8), (0.3, 0.3, 1.6))
SEEN_RGB = {1: (10, 20, 30), 2: (200, 100, 50), 5: (60, 180, 90), 9: (250, 240, 10)}
"""Color of each object in the texture; the labels' colors differ."""


def write_scan3r(root: Path, packed: bool = False) -> None:
    """A room with a rescan, and a scan of the hidden test set; ``sequence.zip`` where ``packed``, else its folder."""
    rescan = {
        "reference": RESCAN,
        "transform": columns(T_REFERENCE_RESCAN),
        "nonrigid": [],
        "removed": [],
        "rigid": [
            {
                "instance_reference": 5,
                "instance_rescan": 5,
                "symmetry": 0,
                "transform": columns(np.linalg.inv(T_REFERENCE_RESCAN) @ MOVE),
            }
        ],
    }
    rooms: list[dict[str, Any]] = [
        {"reference": REFERENCE, "type": "validation", "ambiguity": [], "scans": [rescan]},
        {"reference": HIDDEN, "type": "test", "scans": [{"reference": "dddd-test-re"}]},
    ]
    root.mkdir(parents=True, exist_ok=True)
    (root / "3RScan.json").write_text(json.dumps(rooms))
    there = {1: ("floor", FLOOR), 2: ("table", TABLE), 5: ("Chair", CHAIR)}
    _scan3r_scan(root / REFERENCE, there, np.eye(4), packed)
    back = np.linalg.inv(T_REFERENCE_RESCAN)
    again = {1: ("floor", FLOOR), 2: ("table", TABLE), 5: ("Chair", moved(MOVE, CHAIR)), 9: ("lamp", LAMP)}
    _scan3r_scan(root / RESCAN, {n: (label, moved(back, p)) for n, (label, p) in again.items()}, back, packed)
    _scan3r_scan(root / HIDDEN, there, np.eye(4), packed, labels=False)


def _scan3r_scan(
    folder: Path, things: dict[int, tuple[str, Array]], T_scan_reference: Array, packed: bool, labels: bool = True
) -> None:
    folder.mkdir(parents=True)
    points = np.concatenate([p for _, p in things.values()])
    numbers = np.concatenate([[n] * len(p) for n, (_, p) in things.items()]).astype(int)
    if labels:
        header = (
            f"ply\nformat ascii 1.0\nelement vertex {len(points)}\nproperty float x\nproperty float y\n"
            "property float z\nproperty uchar red\nproperty uchar green\nproperty uchar blue\n"
            "property ushort objectId\nproperty ushort globalId\nproperty uchar NYU40\nproperty uchar Eigen13\n"
            "property uchar RIO27\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n"
        )
        rows = [f"{p[0]} {p[1]} {p[2]} 255 0 255 {n} 7 1 1 1" for p, n in zip(points, numbers, strict=True)]
        (folder / "labels.instances.annotated.v2.ply").write_text(header + "\n".join([*rows, "3 0 1 2", ""]))
        groups = [{"id": n, "objectId": n, "label": label, "segments": [n]} for n, (label, _) in things.items()]
        (folder / "semseg.v2.json").write_text(json.dumps({"scan_id": folder.name, "segGroups": groups}))
    # The texture: one column of pixels an object; v = 0 is its lowest row.
    order = sorted(things)
    texture = np.zeros((2, len(order), 3), dtype=np.uint8)
    texture[1] = [SEEN_RGB[n][::-1] for n in order]
    cv2.imwrite(str(folder / "mesh.refined_0.png"), texture)
    (folder / "mesh.refined.mtl").write_text("newmtl material0\nmap_Kd mesh.refined_0.png\n")
    lines = ["mtllib mesh.refined.mtl", *(f"v {p[0]} {p[1]} {p[2]}" for p in points)]
    lines += [f"vt {(order.index(n) + 0.5) / len(order)} 0.25" for n in order]
    for i, n in enumerate(numbers):
        j, t = (i + 1) % len(points), order.index(n) + 1
        lines.append(
            f"f {i + 1}/{t} {i + 1}/{t} {i + 1}/{t}" if numbers[j] != n else f"f {i + 1}/{t} {j + 1}/{t} {i + 1}/{t}"
        )
    (folder / "mesh.refined.v2.obj").write_text("\n".join(lines) + "\n")
    files = _scan3r_sequence(T_scan_reference)
    if packed:
        with zipfile.ZipFile(folder / "sequence.zip", "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return
    (folder / "sequence").mkdir()
    for name, data in files.items():
        (folder / "sequence" / name).write_bytes(data)


def _scan3r_sequence(T_scan_reference: Array) -> dict[str, bytes]:
    """Four frames from 2 m above the table's middle; the third one lost its tracking."""
    k, large = "40 0 15.5 0 0 40 11.5 0 0 0 1 0 0 0 0 1", "80 0 31.5 0 0 80 23.5 0 0 0 1 0 0 0 0 1"
    info = (
        "m_versionNumber = 4\nm_sensorName = Tango\nm_colorWidth = 64\nm_colorHeight = 48\nm_depthWidth = 32\n"
        f"m_depthHeight = 24\nm_depthShift = 1000\nm_calibrationColorIntrinsic = {large}\n"
        f"m_calibrationDepthIntrinsic = {k}\nm_frames.size = 4\n"
    )
    out = {"_info.txt": info.encode()}
    for i in range(4):
        pose = T_scan_reference @ looking_down(2.4 + 0.1 * i, 1.6, FLOOR_Z + 2.7)
        text = "\n".join(" ".join(f"{v:.9f}" for v in row) for row in pose)
        out[f"frame-{i:06d}.pose.txt"] = (text if i != 2 else "\n".join(["-inf -inf -inf -inf"] * 4)).encode()
        color = np.full((48, 64, 3), (30 * i, 100, 200), dtype=np.uint8)
        out[f"frame-{i:06d}.color.jpg"] = cv2.imencode(".jpg", color)[1].tobytes()
        depth = np.full((24, 32), 2000, dtype=np.uint16)
        depth[0, 0] = 0
        out[f"frame-{i:06d}.depth.pgm"] = cv2.imencode(".pgm", depth)[1].tobytes()
    return out


# ARKitScenes: a bed turned by 30 degrees on a floor at z = -1.2.
VIDEO, VISIT = "41069021", "420673"
BED_CENTER, BED_SIZE, BED_YAW = (1.0, 2.0, -0.9), (2.0, 1.5, 0.6), np.pi / 6


def write_arkitscenes(root: Path, raw: bool = False) -> None:
    """One video of the 3DOD set, or of the raw one."""
    folder = root / ("raw" if raw else "3dod") / "Training" / VIDEO
    frames = folder if raw else folder / f"{VIDEO}_frames"
    for name in ("lowres_wide", "lowres_depth", "lowres_wide_intrinsics"):
        (frames / name).mkdir(parents=True)
    (root / "3dod_train_val_splits.csv").write_text(f"video_id,visit_id,fold\n{VIDEO},{VISIT},Training\n")
    T = turned(BED_YAW, *BED_CENTER)
    x, y = np.meshgrid(np.arange(-1, 4, 0.25), np.arange(-1, 5, 0.25))
    floor = np.stack([x.ravel(), y.ravel(), np.full(x.size, -1.2)], axis=1)
    points = np.concatenate([moved(T, 0.9 * CUBE * BED_SIZE), floor])
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\nproperty float x\nproperty float y\n"
        "property float z\nproperty uchar red\nproperty uchar green\nproperty uchar blue\nelement face 1\n"
        "property list uchar int vertex_indices\nend_header\n"
    )
    body = b"".join(struct.pack("<fffBBB", *p, i % 256, 7, 9) for i, p in enumerate(points))
    (folder / f"{VIDEO}_3dod_mesh.ply").write_bytes(header.encode() + body + struct.pack("<Biii", 3, 0, 1, 2))
    box = {
        "centroid": list(BED_CENTER),
        "axesLengths": list(BED_SIZE),
        "normalizedAxes": [float(v) for v in T[:3, :3].T.reshape(-1)],
    }
    entry = {"uid": "f00d", "label": "Bed", "segments": {"obb": box, "obbAligned": box}}
    annotation = {"data": [entry], "skipped": False, "stats": {}, "confirm": True}
    (folder / f"{VIDEO}_3dod_annotation.json").write_text(json.dumps(annotation))
    lines = []
    for i in range(4):
        stamp = 6845.7 + 0.1 * i
        T_camera_world = np.linalg.inv(looking_down(1.0 + 0.1 * i, 2.0, 1.4))
        axis = cv2.Rodrigues(T_camera_world[:3, :3])[0].ravel()
        values = [stamp + 0.002, *axis, *T_camera_world[:3, 3]]
        if i == 3:
            values[4] = np.nan
        lines.append(" ".join(f"{v:.9f}" for v in values))
        name = f"{VIDEO}_{stamp:.3f}"
        image = np.full((SIZE[1], SIZE[0], 3), (5, 10, 20 * i), dtype=np.uint8)
        cv2.imwrite(str(frames / "lowres_wide" / f"{name}.png"), image)
        cv2.imwrite(str(frames / "lowres_depth" / f"{name}.png"), np.full((SIZE[1], SIZE[0]), 2000, dtype=np.uint16))
        camera = frames / "lowres_wide_intrinsics" / f"{VIDEO}_{stamp + 0.001:.3f}.pincam"
        camera.write_text(f"{SIZE[0]} {SIZE[1]} 40 41 15.5 11.5\n")
    (frames / "lowres_wide.traj").write_text("\n".join(lines) + "\n")


# MultiScan: a cabinet whose front points along -y of the mesh, a floor, and a rescan aligned to the first scan.
SCENE_0, SCENE_1 = "scene_00000_00", "scene_00000_01"
T_WORLD_MESH = turned(0.4, 2.0, 1.0, -0.5) @ np.array(
    [[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]], dtype=np.float64
)
T_FIRST_SECOND = turned(0.2, 0.3, -0.1, 0.0)
CABINET_CENTER, CABINET_LENGTHS = (1.0, 2.0, 0.5), (1.2, 1.0, 0.4)
"""Lengths along x, z and y: the second axis of its box is the upward one."""


def write_multiscan(root: Path) -> None:
    """Two scans of a scene; Apple's bare deflate in the first depth stream, zlib's header in the second."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "scans_split.csv").write_text(f"scanId,split\n{SCENE_0},val\n{SCENE_1},val\nscene_00003_00,\n")
    for scan in (SCENE_0, SCENE_1):
        folder = root / scan
        folder.mkdir()
        floor = np.array([[0.0, 0, 0], [3, 0, 0], [3, 3, 0], [0, 3, 0]])
        size = (CABINET_LENGTHS[0], CABINET_LENGTHS[2], CABINET_LENGTHS[1])
        points = np.concatenate([floor, box_points(CABINET_CENTER, size)])
        faces = [(0, 1, 2, 1), (0, 2, 3, 1), *((4, 5 + i, 6 + i, 2) for i in range(6))]
        header = (
            f"ply\nformat binary_little_endian 1.0\ncomment VCGLIB generated\nelement vertex {len(points)}\n"
            + "".join(f"property double {n}\n" for n in ("x", "y", "z", "nx", "ny", "nz"))
            + "".join(f"property uchar {n}\n" for n in ("red", "green", "blue", "alpha"))
            + f"element face {len(faces)}\nproperty list uchar int vertex_indices\nproperty ushort objectId\n"
            "property ushort partId\nend_header\n"
        )
        body = b"".join(struct.pack("<6d4B", *p, 0, 0, 1, i, 50, 60, 255) for i, p in enumerate(points))
        body += b"".join(struct.pack("<BiiiHH", 3, *f[:3], f[3], f[3]) for f in faces)
        (folder / f"{scan}.ply").write_bytes(header.encode() + body)
        cabinet = {
            "centroid": list(CABINET_CENTER),
            "axesLengths": list(CABINET_LENGTHS),
            "normalizedAxes": [-1.0, 0, 0, 0, 0, 1, 0, 1, 0],
            "front": [0.0, -1, 0],
            "up": [0.0, 0, 1],
        }
        flat = {
            "centroid": [1.5, 1.5, 0.0],
            "axesLengths": [3.0, 0.1, 3.0],
            "normalizedAxes": [1, 0, 0, 0, 0, 1, 0, -1, 0],
        }
        objects = [
            {"objectId": 1, "label": "floor.1", "mobilityType": "arch", "partIds": [1], "obb": flat},
            {"objectId": 2, "label": "wall_cabinet.1", "mobilityType": "fixed", "partIds": [2], "obb": cabinet},
        ]
        parts = [{"partId": 1, "label": "floor.1"}, {"partId": 2, "label": "wall_cabinet.1"}]
        annotations = {"version": "multiscan@0.0.1", "scanId": scan, "objects": objects, "parts": parts}
        (folder / f"{scan}.annotations.json").write_text(json.dumps(annotations))
        align: dict[str, Any] = {"version": "multiscan@0.0.1", "coordinate_transform": columns(T_WORLD_MESH)}
        if scan == SCENE_1:
            align["reference_scan_alignment"] = {"target_id": SCENE_0, "transformation": columns(T_FIRST_SECOND)}
        (folder / f"{scan}.align.json").write_text(json.dumps(align))
        _multiscan_streams(folder, scan, headed=scan == SCENE_1)


def _multiscan_streams(folder: Path, scan: str, headed: bool) -> None:
    """Four frames from 2 m above the cabinet's top; the third one lost its tracking."""
    width, height = 2 * SIZE[0], 2 * SIZE[1]
    streams = [
        {"id": "color_back_1", "file_extension": "mp4", "resolution": [height, width], "encoding": "h264"},
        {
            "id": "depth_back_1",
            "file_extension": "depth.zlib",
            "resolution": [SIZE[1], SIZE[0]],
            "encoding": "float16_zlib",
        },
    ]
    meta = {"scene": {"type": "Kitchen", "description": "planted"}, "depth_unit": "m", "streams": streams}
    (folder / f"{scan}.json").write_text(json.dumps(meta))
    video = cv2.VideoWriter(str(folder / f"{scan}.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 60, (width, height))
    lines, depths = [], []
    for i in range(4):
        video.write(np.full((height, width, 3), (200, 120, 60 * i), dtype=np.uint8))
        T_world_camera = T_WORLD_MESH @ looking_down(1.0 + 0.05 * i, 2.0, 3.0)
        arkit = T_world_camera @ np.diag([1.0, -1, -1, 1])
        transform: list[float | None] = [*columns(arkit)]
        if i == 2:
            transform = [float("nan")] * 16
        k = np.array([[80.0, 0, 31.5], [0, 80, 23.5], [0, 0, 1]])
        lines.append(json.dumps({"timestamp": i, "intrinsics": columns(k), "transform": transform}))
        depth = np.full((SIZE[1], SIZE[0]), 2.0, dtype="<f2")
        depth[0, 0] = i
        depths.append(depth.tobytes())
    video.release()
    (folder / f"{scan}.jsonl").write_text("\n".join(lines) + "\n")
    deflate = zlib.compressobj(wbits=zlib.MAX_WBITS if headed else -zlib.MAX_WBITS)
    (folder / f"{scan}.depth.zlib").write_bytes(deflate.compress(b"".join(depths)) + deflate.flush())


# Structured3D: a room of 4 x 3 m with a door in its lower wall, a sofa seen from above, another room beside it.
HOUSE, ROOM, OTHER_ROOM = "scene_03100", 485142, 490854
SOFA_CENTER, SOFA_RADII, SOFA_YAW = (2.0, 1.8, 0.4), (0.9, 0.45, 0.4), 0.3
EYE_Z = 2.4


def write_structured3d(root: Path) -> None:
    """A house of two rooms; only one of them is rendered. Everything in mm."""
    house = root / HOUSE
    (house / "2D_rendering").mkdir(parents=True)
    junctions: list[list[float]] = []
    lines: list[tuple[int, int]] = []
    planes: list[tuple[str, list[int]]] = []

    def ring(corners: list[tuple[float, float]], z: float, kind: str) -> int:
        first = len(junctions)
        junctions.extend([x * 1000, y * 1000, z * 1000] for x, y in corners)
        n, start = len(corners), len(lines)
        lines.extend((first + i, first + (i + 1) % n) for i in range(n))
        planes.append((kind, list(range(start, start + n))))
        return len(planes) - 1

    main, beside = [(1.0, 1.0), (5.0, 1.0), (5.0, 4.0), (1.0, 4.0)], [(5.1, 1.0), (8.0, 1.0), (8.0, 4.0), (5.1, 4.0)]
    semantics = [
        {"ID": ROOM, "type": "living room", "planeID": [ring(main, 0.0, "floor"), ring(main, 2.8, "ceiling")]},
        {"ID": OTHER_ROOM, "type": "bedroom", "planeID": [ring(beside, 0.0, "floor")]},
        {"ID": 3, "type": "door", "planeID": [ring([(2.0, 0.98), (2.9, 0.98), (2.9, 1.0), (2.0, 1.0)], 0.0, "wall")]},
        {"ID": 4, "type": "outwall", "planeID": []},
    ]
    annotation = {
        "junctions": [{"ID": i, "coordinate": c} for i, c in enumerate(junctions)],
        "lines": [{"ID": i, "point": [0, 0, 0], "direction": [1, 0, 0]} for i in range(len(lines))],
        "planes": [{"ID": i, "type": kind, "normal": [0, 0, 1], "offset": 0} for i, (kind, _) in enumerate(planes)],
        "semantics": semantics,
        "planeLineMatrix": [[int(i in its) for i in range(len(lines))] for _, its in planes],
        "lineJunctionMatrix": [[int(j in ends) for j in range(len(junctions))] for ends in lines],
        "cuboids": [],
        "manhattan": [],
    }
    (house / "annotation_3d.json").write_text(json.dumps(annotation))
    c, s = np.cos(SOFA_YAW), np.sin(SOFA_YAW)
    center = [1000 * (1.0 + SOFA_CENTER[0]), 1000 * (1.0 + SOFA_CENTER[1]), 1000 * SOFA_CENTER[2]]
    boxes = [
        {
            "ID": 12,
            "basis": [[c, s, 0], [-s, c, 0], [0, 0, 1]],
            "coeffs": [1000 * v for v in SOFA_RADII],
            "centroid": center,
        },
        {"ID": 13, "basis": np.eye(3).tolist(), "coeffs": [100, 100, 100], "centroid": [1500, 1500, 100]},
        {"ID": 14, "basis": np.eye(3).tolist(), "coeffs": [100, 100, 100], "centroid": [6500, 1500, 100]},
    ]
    (house / "bbox_3d.json").write_text(json.dumps(boxes))
    half_x, half_y = np.arctan(SIZE[0] / 2 / 20.0), np.arctan(SIZE[1] / 2 / 20.0)
    for k in range(2):
        folder = house / "2D_rendering" / str(ROOM) / "perspective" / "full" / str(k)
        folder.mkdir(parents=True)
        eye = [center[0] + 100 * k, center[1], 1000 * EYE_Z]
        values = [*eye, 0, 0, -1, 0, 1, 0, half_x, half_y, 1]
        (folder / "camera_pose.txt").write_text(" ".join(f"{v:.9f}" for v in values) + "\n")
        (folder / "layout.json").write_text(json.dumps({"junctions": [], "planes": []}))
        seen = np.zeros((SIZE[1], SIZE[0]), dtype=bool)
        seen[8:16, 10:22] = True
        depth = np.rint(np.where(seen, 1000 * (EYE_Z - 0.8), 1000 * EYE_Z)).astype(np.uint16)
        cv2.imwrite(
            str(folder / "rgb_rawlight.png"), np.where(seen[..., None], (1, 2, 250), (90, 91, 92)).astype(np.uint8)
        )
        cv2.imwrite(str(folder / "depth.png"), depth)
        cv2.imwrite(str(folder / "instance.png"), np.where(seen, 12, 65535).astype(np.uint16))
        cv2.imwrite(str(folder / "semantic.png"), np.where(seen, 6, 2).astype(np.uint8))
        cv2.imwrite(str(folder / "albedo.png"), np.zeros((SIZE[1], SIZE[0], 3), dtype=np.uint8))
        cv2.imwrite(str(folder / "normal.png"), np.zeros((SIZE[1], SIZE[0], 3), dtype=np.uint8))


if __name__ == "__main__":
    out = Path(sys.argv[1])
    write_scan3r(out / "3RScan")
    write_arkitscenes(out / "ARKitScenes")
    write_multiscan(out / "MultiScan")
    write_structured3d(out / "Structured3D")
