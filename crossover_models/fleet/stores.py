"""Where publications lie: a folder, any web server in front of one, or an S3 bucket.

A store holds named bytes that appear whole or not at all. A folder and HTTP need the standard library alone; S3 is
pyarrow's, which the extra ``fleet`` installs. A robot that reads a bucket over its https:// address needs no extra.
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, unquote, urlsplit

from crossover_models.fleet.head import HEADS
from crossover_models.fleet.units import FleetError

T = TypeVar("T")
KINDS = "a folder, file://, http://, https:// or s3://"
EXTRA = "pip install 'crossover_ros[fleet]'"
TIMEOUT_S = 10.0
ATTEMPTS = 3
_CHUNK = 1 << 16


class StoreError(FleetError):
    """A store that cannot be reached, read or written; the message names its address."""


class NotThere(StoreError):
    """A name that the store does not hold."""


class Store(Protocol):
    """Named bytes; ``received`` counts those that were read."""

    uri: str
    received: int

    def read(self, name: str) -> bytes:
        """All bytes of a name.

        Raises:
            NotThere: there is no such name.
            StoreError: the store cannot be reached or read.
        """

    def read_range(self, name: str, start: int, length: int) -> bytes:
        """Some bytes of a name; fewer where it ends before. Raises as :meth:`read` does."""

    def size(self, name: str) -> int | None:
        """Bytes of a name, None where there is none."""

    def write(self, name: str, data: bytes) -> None:
        """Bind a name to bytes, replacing what it held, whole or not at all.

        Raises:
            StoreError: it cannot be written.
        """

    def heads(self) -> tuple[str, ...] | None:
        """Names below ``buildings/``, None where the store cannot list."""


def open_store(uri: str, write: bool = False) -> Store:
    """The store at an address.

    Args:
        uri: a folder's path or file://, http://, https:// or s3://BUCKET/PREFIX; for the latter AWS's usual environment
            variables hold, AWS_ENDPOINT_URL among them.
        write: a folder is made if it is missing; without, it must exist.

    Raises:
        StoreError: an unknown kind of address, an extra that is not installed, no such folder.
    """
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https"):
        if write:
            raise StoreError(f"{uri}: cannot publish over {parts.scheme}; give the folder or bucket behind it")
        return HttpStore(uri)
    if parts.scheme == "s3":
        return S3Store(uri)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise StoreError(f"{uri}: a file address begins with file:///, not with a host's name")
        return FolderStore(Path(unquote(parts.path)), write)
    if "://" in uri or not uri:
        raise StoreError(f"{uri or 'empty address'}: unknown kind of store; known are {KINDS}")
    return FolderStore(Path(uri), write)


class FolderStore:
    """Files below a folder, also of a mounted share."""

    def __init__(self, folder: Path, write: bool = False) -> None:
        self.folder, self.uri, self.received = folder, str(folder), 0
        if folder.exists() and not folder.is_dir():
            raise StoreError(f"{folder}: is not a folder")
        if write:
            folder.mkdir(parents=True, exist_ok=True)
        elif not folder.exists():
            raise StoreError(f"{folder}: no such folder")

    def read(self, name: str) -> bytes:
        """See :class:`Store`."""
        return self.read_range(name, 0, -1)

    def read_range(self, name: str, start: int, length: int) -> bytes:
        """See :class:`Store`."""
        try:
            with (self.folder / name).open("rb") as file:
                file.seek(start)
                data = file.read(length)
        except FileNotFoundError:
            raise NotThere(f"{self.uri}: holds no {name}") from None
        except OSError as error:
            raise StoreError(f"{self.uri}: {name}: {error.strerror}") from None
        self.received += len(data)
        return data

    def size(self, name: str) -> int | None:
        """See :class:`Store`."""
        path = self.folder / name
        return path.stat().st_size if path.is_file() else None

    def write(self, name: str, data: bytes) -> None:
        """Beside, synced, renamed."""
        path = self.folder / name
        # Of its own for each process; what a killed one leaves is a hidden file that nobody reads.
        temporary = path.with_name(f".{path.name[:200]}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            _sync_folder(path.parent)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise StoreError(f"{self.uri}: cannot write {name}: {error.strerror}") from None

    def heads(self) -> tuple[str, ...] | None:
        """See :class:`Store`."""
        return tuple(sorted(HEADS + path.name for path in (self.folder / HEADS).glob("[!.]*.json")))


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class HttpStore:
    """Read over HTTP, on one connection that is kept; a server that knows no ranges sends the whole."""

    def __init__(self, uri: str) -> None:
        self.uri, self.received = uri.rstrip("/"), 0
        parts = urlsplit(self.uri)
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if not host or parts.query or parts.fragment:
            raise StoreError(f"{uri}: expected {parts.scheme}://HOST[:PORT]/PATH")
        self._path = parts.path
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(host, port, timeout=TIMEOUT_S)

    def read(self, name: str) -> bytes:
        """See :class:`Store`."""
        return self._get(name, {})[1]

    def read_range(self, name: str, start: int, length: int) -> bytes:
        """See :class:`Store`."""
        if not length:
            return b""
        status, data = self._get(name, {"Range": f"bytes={start}-{start + length - 1}"})
        return data if status == http.client.PARTIAL_CONTENT else data[start : start + length]

    def size(self, name: str) -> int | None:
        """See :class:`Store`."""
        try:
            return len(self.read(name))
        except NotThere:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Refused."""
        raise StoreError(f"{self.uri}: cannot be written over HTTP")

    def heads(self) -> tuple[str, ...] | None:
        """HTTP has no list of names."""
        return None

    def _get(self, name: str, headers: dict[str, str]) -> tuple[int, bytes]:
        for attempt in range(ATTEMPTS):
            try:
                # Names are made of quoted ids already; the web server unquotes once.
                self._connection.request("GET", f"{self._path}/{quote(name)}", headers=headers)
                response = self._connection.getresponse()
                data = response.read()
            except (http.client.HTTPException, OSError) as error:
                # also a kept connection that the server closed meanwhile, and a body that ends too early
                self._connection.close()
                refused = isinstance(error, (ConnectionRefusedError, socket.gaierror, ssl.SSLError))
                if refused or attempt + 1 == ATTEMPTS:
                    said = " ".join(str(error).split()) or type(error).__name__
                    raise StoreError(f"{self.uri}: cannot be reached: {said}") from None
                continue
            self.received += len(data)
            if response.status in (http.client.OK, http.client.PARTIAL_CONTENT):
                return response.status, data
            if response.status in (http.client.NOT_FOUND, http.client.GONE):
                raise NotThere(f"{self.uri}: holds no {name}")
            if response.status == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                return http.client.PARTIAL_CONTENT, b""
            raise StoreError(f"{self.uri}: {name}: the server answers {response.status} {response.reason}")
        raise AssertionError("unreachable")


class S3Store:
    """An S3 bucket through pyarrow; the SDK retries and signs."""

    def __init__(self, uri: str) -> None:
        try:
            import pyarrow.fs as arrow
        except ModuleNotFoundError:
            raise StoreError(
                f"{uri}: s3:// needs pyarrow of the extra fleet: {EXTRA}; or give the bucket's https:// address"
            ) from None
        self.uri, self.received = uri.rstrip("/"), 0
        self._path = self.uri.removeprefix("s3://")
        if not self._path or self._path.startswith("/"):
            raise StoreError(f"{uri}: expected s3://BUCKET/PREFIX")
        self._arrow = arrow
        endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
        parts = urlsplit(endpoint)
        override = {"endpoint_override": parts.netloc, "scheme": parts.scheme} if endpoint else {}
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        timeouts = {"request_timeout": TIMEOUT_S, "connect_timeout": TIMEOUT_S}
        retries = arrow.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS)
        self._files = arrow.S3FileSystem(region=region, retry_strategy=retries, **override, **timeouts)

    def read(self, name: str) -> bytes:
        """See :class:`Store`."""

        def whole() -> bytes:
            with self._files.open_input_file(f"{self._path}/{name}") as file:
                return bytes(file.read())

        return self._counted(name, whole)

    def read_range(self, name: str, start: int, length: int) -> bytes:
        """See :class:`Store`."""

        def part() -> bytes:
            with self._files.open_input_file(f"{self._path}/{name}") as file:
                return bytes(file.read_at(length, start))

        return self._counted(name, part)

    def size(self, name: str) -> int | None:
        """See :class:`Store`."""
        info = self._tried(name, lambda: self._files.get_file_info(f"{self._path}/{name}"))
        return int(info.size) if info.type == self._arrow.FileType.File else None

    def write(self, name: str, data: bytes) -> None:
        """An S3 object appears when it is whole."""

        def put() -> None:
            with self._files.open_output_stream(f"{self._path}/{name}") as stream:
                stream.write(data)

        self._tried(name, put)

    def heads(self) -> tuple[str, ...] | None:
        """See :class:`Store`."""
        selector = self._arrow.FileSelector(f"{self._path}/{HEADS.rstrip('/')}", allow_not_found=True)
        found: Any = self._tried(HEADS, lambda: self._files.get_file_info(selector))
        return tuple(sorted(HEADS + info.base_name for info in found if info.base_name.endswith(".json")))

    def _counted(self, name: str, call: Callable[[], bytes]) -> bytes:
        data = self._tried(name, call)
        self.received += len(data)
        return data

    def _tried(self, name: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except FileNotFoundError:
            raise NotThere(f"{self.uri}: holds no {name}") from None
        except OSError as error:
            raise StoreError(f"{self.uri}: {name}: {' '.join(str(error).split())}") from None
