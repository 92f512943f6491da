"""PLY files, with what labels they carry, in all three encodings."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from crossover_models.dataset.ply import PlyData, PlyError, read_ply

FORMATS = ("ascii", "binary_little_endian", "binary_big_endian")
VERTICES = [
    (0.0, 0.0, 0.5, 255, 1, 2, 300),
    (1.0, 0.0, 0.5, 0, 4, 5, 7),
    (1.0, 2.0, 0.5, 6, 7, 8, 65535),
    (0.0, 2.0, 0.5, 9, 9, 9, 0),
]
VERTEX_HEADER = (
    "element vertex 4\nproperty float x\nproperty float y\nproperty double z\nproperty uchar red\n"
    "property uchar green\nproperty uint8 blue\nproperty ushort objectId\n"
)
FACE_HEADER = "element face {}\nproperty list uchar int vertex_indices\nproperty short label\n"


def ply(form: str, faces: list[tuple[list[int], int]], trailing: bool = False) -> bytes:
    header = f"ply\nformat {form} 1.0\ncomment made by hand\n{VERTEX_HEADER}{FACE_HEADER.format(len(faces))}"
    if trailing:
        header += "element camera 1\nproperty float fov\n"
    header += "end_header\n"
    if form == "ascii":
        rows = [" ".join(map(str, v)) for v in VERTICES]
        rows += [f"{len(corners)} {' '.join(map(str, corners))} {label}" for corners, label in faces]
        return (header + "\n".join(rows) + ("\n60.0\n" if trailing else "\n")).encode()
    order = "<" if form == "binary_little_endian" else ">"
    body = b"".join(struct.pack(f"{order}ffdBBBH", *v) for v in VERTICES)
    body += b"".join(struct.pack(f"{order}B{len(c)}ih", len(c), *c, label) for c, label in faces)
    return header.encode() + body + (struct.pack(f"{order}f", 60.0) if trailing else b"")


def read(tmp_path: Path, content: bytes) -> PlyData:
    path = tmp_path / "mesh.ply"
    path.write_bytes(content)
    return read_ply(path)


@pytest.mark.parametrize("form", FORMATS)
def test_vertices_with_colors_and_labels(tmp_path: Path, form: str) -> None:
    data = read(tmp_path, ply(form, [([0, 1, 2], -5), ([0, 2, 3], 8)], trailing=True))
    np.testing.assert_array_equal(data.positions(), np.array(VERTICES)[:, :3])
    colors = data.colors()
    assert colors is not None
    np.testing.assert_array_equal(colors, np.array(VERTICES)[:, 3:6])
    assert data.vertices["objectId"].dtype == np.uint16 and data.vertices["objectId"].tolist() == [300, 7, 65535, 0]
    assert data.faces is not None and data.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert data.face_properties["label"].tolist() == [-5, 8]
    assert data.comments == ("made by hand",)


@pytest.mark.parametrize("form", FORMATS)
def test_polygons_become_fans_that_keep_their_labels(tmp_path: Path, form: str) -> None:
    faces = [([0, 1, 2, 3], 3), ([3, 1, 0], 4), ([0, 1], 5)]
    data = read(tmp_path, ply(form, faces))
    assert data.faces is not None and data.polygon is not None
    assert data.faces.tolist() == [[0, 1, 2], [0, 2, 3], [3, 1, 0]]
    assert data.polygon.tolist() == [0, 0, 1]
    assert data.face_properties["label"].tolist() == [3, 3, 4]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("faces", [[([0, 1, 2], 1), ([0, 2, 3], 2)], [([0, 1, 2, 3], 1), ([0, 2, 3], 2)]])
def test_a_file_cut_short_anywhere_is_said_so(tmp_path: Path, form: str, faces: list[tuple[list[int], int]]) -> None:
    content = ply(form, faces)
    body = content.index(b"end_header\n") + len(b"end_header\n")
    cuts = range(body, len(content) - 2, 3) if form != "ascii" else range(body, len(content) - 6, 3)
    for cut in [10, body - 3, *cuts]:
        with pytest.raises(PlyError, match=r"mesh\.ply: (cut short|header)"):
            read(tmp_path, content[:cut])


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b"ply\n", b"obj\n", "not a PLY file"),
        (b"ushort objectId", b"half objectId", "objectId: unknown type 'half'"),
        (b"format ascii", b"format binary_middle_endian", "format: unknown 'binary_middle_endian'"),
        (b"format ascii 1.0\n", b"", "no 'format'"),
        (b"element vertex 4", b"element vertex many", "cannot read 'element vertex many'"),
        (b"3 0 2 3 8", b"3 0 2 4 8", "names vertex 4, there are 4"),
        (b"3 0 2 3 8", b"-1 0 2 3 8", "a list of -1 entries"),
        (b"65535", b"65536", "objectId: a value is beyond its type"),
        (b"65535", b"chair", "objectId: a value is no number"),
    ],
)
def test_bad_files_name_what_is_wrong(tmp_path: Path, old: bytes, new: bytes, says: str) -> None:
    content = ply("ascii", [([0, 1, 2], -5), ([0, 2, 3], 8)])
    assert old in content
    with pytest.raises(PlyError, match=says):
        read(tmp_path, content.replace(old, new))


def test_a_cloud_has_no_faces(tmp_path: Path) -> None:
    data = read(tmp_path, b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1.5\n")
    assert data.faces is None and data.polygon is None and data.colors() is None
    with pytest.raises(PlyError, match="without x, y, z"):
        data.positions()
