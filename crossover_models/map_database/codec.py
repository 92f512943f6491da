"""How arrays, pictures and plans become bytes in a database, and back. Nothing is ever unpickled."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from tokenize import TokenError
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from crossover_models.floor_plan import FREE, OCCUPIED, UNKNOWN, FloorPlan
from crossover_models.picture_bytes import PictureError, check_picture

NPY_MAGIC = b"\x93NUMPY"
JPEG_QUALITY = 95
# Between map_server's grey levels (free 254 -> 0.004, unknown 205 -> 0.196, occupied 0 -> 1), with margin on both
# sides: nav2's own default of 0.25 would read unknown cells as free.
FREE_THRESHOLD, OCCUPIED_THRESHOLD = 0.1, 0.65


class CodecError(ValueError):
    """Bytes that are not what they should be, or a value that cannot be written; the message says which."""


def encode_array(array: NDArray[Any]) -> bytes:
    """An array as NPY, deflated where that is shorter."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)
    plain = stream.getvalue()
    packed = zlib.compress(plain, 6)
    return packed if len(packed) < len(plain) else plain


def decode_array(data: bytes, what: str = "array", kind: str = "", columns: int = 0) -> NDArray[Any]:
    """The array of :func:`encode_array`; with ``kind`` and ``columns``, only an (N, columns) one of that dtype.

    Raises:
        CodecError: the bytes are no NPY array, one of objects, or of another type or shape.
    """
    if not isinstance(data, bytes):  # SQLite gives what a damaged row holds.
        raise CodecError(f"{what}: expected bytes, got {type(data).__name__}")
    try:
        plain = data if data.startswith(NPY_MAGIC) else zlib.decompress(data)
        array = np.asarray(np.lib.format.read_array(io.BytesIO(plain), allow_pickle=False))
    except (ValueError, TypeError, SyntaxError, OverflowError, MemoryError, TokenError, zlib.error, EOFError) as error:
        # NumPy reads a damaged header with Python's own parser, and passes on what that says.
        raise CodecError(f"{what}: not an NPY array: {' '.join(str(error).split())}") from None
    if kind and (array.dtype != kind or array.ndim != 2 or array.shape[1] != columns):
        raise CodecError(f"{what}: expected (N, {columns}) {kind}, got {array.shape} {array.dtype}")
    return array


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """A picture (H, W) grey or (H, W, 3) RGB, without loss."""
    return _encode_image(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 9])


def encode_jpeg(image: NDArray[np.uint8]) -> bytes:
    """A view (H, W, 3) RGB at quality 95: a sixth of the PNG, and no visible difference."""
    return _encode_image(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def decode_image(data: bytes, what: str = "image") -> NDArray[np.uint8]:
    """(H, W) or (H, W, 3) RGB of a PNG or JPEG.

    Raises:
        CodecError: the bytes are neither.
    """
    try:
        check_picture(data, ("PNG", "JPEG"))
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    except PictureError as error:
        raise CodecError(f"{what}: not a PNG or JPEG picture: {error}") from None
    except cv2.error:  # damaged where no header tells
        image = None
    if image is None or image.dtype != np.uint8:
        raise CodecError(f"{what}: not a PNG or JPEG picture")
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_BGRA2RGB if image.shape[2] == 4 else cv2.COLOR_BGR2RGB)
    return np.asarray(image, dtype=np.uint8)


def _encode_image(kind: str, image: NDArray[np.uint8], options: list[int]) -> bytes:
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or 0 in image.shape or image.shape[2:] not in ((), (3,)):
        raise CodecError(f"image: expected (H, W) or (H, W, 3) uint8, got {image.shape} {image.dtype}")
    ordered = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    done, data = cv2.imencode(kind, ordered, options)
    if not done:
        raise CodecError(f"image: cannot write {image.shape} as {kind}")
    return bytes(data.tobytes())


def encode_nav2(plan: FloorPlan, image_name: str) -> tuple[str, bytes]:
    """A plan as map_server's pair (YAML text, PNG bytes), trinary, top picture row = highest y.

    Raises:
        CodecError: a cell is neither free, occupied nor unknown; trinary maps have no shades.
    """
    shades = np.setdiff1d(plan.occupancy, (FREE, OCCUPIED, UNKNOWN))
    if len(shades):
        raise CodecError(f"occupancy: expected 0, 100 or -1, got {int(shades[0])}")
    values = {
        "image": image_name,
        "mode": "trinary",
        "resolution": float(plan.resolution_m),
        "origin": [float(plan.origin_xy[0]), float(plan.origin_xy[1]), 0.0],
        "negate": 0,
        "occupied_thresh": OCCUPIED_THRESHOLD,
        "free_thresh": FREE_THRESHOLD,
    }
    return yaml.safe_dump(values, sort_keys=False, default_flow_style=None), encode_png(plan.picture())


def decode_nav2(yaml_text: str, png: bytes, what: str = "map") -> FloorPlan:
    """The plan of a nav2 map, read by map_server's rule for trinary maps.

    Raises:
        CodecError: a field is missing or wrong, or the picture is none.
        FloorPlanError: a resolution or origin that makes no plan.
    """
    try:
        values = yaml.safe_load(yaml_text)
        resolution, origin = float(values["resolution"]), [float(v) for v in values["origin"]]
        negate = bool(values.get("negate", 0))
        occupied, free = float(values["occupied_thresh"]), float(values["free_thresh"])
        x, y = origin[:2]
        yaw = origin[2] if len(origin) > 2 else 0.0
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CodecError(f"{what}: not a nav2 map description: {error!r}") from None
    if yaw != 0.0 or values.get("mode", "trinary") != "trinary":
        raise CodecError(f"{what}: origin yaw {yaw} and mode {values.get('mode')!r}: only 0 and 'trinary' are read")
    grey = decode_image(png, what).astype(np.float64)
    shade = (grey if grey.ndim == 2 else grey.mean(axis=2)) / 255.0
    darkness = shade if negate else 1.0 - shade
    cells = np.full(shade.shape, UNKNOWN, dtype=np.int8)
    cells[darkness > occupied] = OCCUPIED
    cells[darkness < free] = FREE
    return FloorPlan(np.ascontiguousarray(cells[::-1]), resolution, (x, y))


def nav2_image_name(yaml_text: str) -> str:
    """File name of the picture that a nav2 map description refers to, without any folder.

    Raises:
        CodecError: it names none.
    """
    try:
        return Path(yaml.safe_load(yaml_text)["image"]).name
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise CodecError(f"not a nav2 map description: {error!r}") from None
