"""What a picture's bytes promise, before a decoder believes them: a broken length would fill the memory."""

from __future__ import annotations

import io
import struct

from PIL import Image, UnidentifiedImageError

# A header may promise what no camera and no drawing has.
MAX_PIXELS = 1 << 27
KINDS = ("JPEG", "PNG", "WEBP")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class PictureError(ValueError):
    """Bytes that are no whole picture of a sensible size; the message says what is wrong with them."""


def check_picture(data: bytes, kinds: tuple[str, ...] = KINDS) -> str:
    """The kind of a JPEG, PNG or WebP that may be decoded.

    Raises:
        PictureError: another kind, more than ``MAX_PIXELS``, or cut short.
    """
    try:
        with Image.open(io.BytesIO(data), formats=kinds) as header:
            kind, (width, height) = str(header.format), header.size
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, OverflowError, Image.DecompressionBombError):
        wanted = f"{', '.join(kinds[:-1])} or {kinds[-1]}".replace("WEBP", "WebP")
        raise PictureError(f"{len(data)} bytes that are no {wanted} picture") from None
    if width * height > MAX_PIXELS:
        raise PictureError(f"a {kind} of {width} x {height} pixels, more than {MAX_PIXELS}")
    # OpenCV decodes what is left of a cut picture and fills the rest with grey.
    if (kind == "PNG" and not _png_is_whole(data)) or (kind == "JPEG" and b"\xff\xd9" not in data[-4096:]):
        raise PictureError(f"the {kind} is cut short after {len(data)} bytes")
    return kind


def _png_is_whole(data: bytes) -> bool:
    """Whether all chunks lie inside the data, down to the one that ends the picture (PNG 3rd edition, 5.3)."""
    at = len(_PNG_SIGNATURE)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if at + 12 + length > len(data):
            return False
        if data[at + 4 : at + 8] == b"IEND":
            return True
        at += 12 + length
    return False
