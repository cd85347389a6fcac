"""A file system for Beam that lies in memory and, like an object store, has no rename."""

import io
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, ClassVar, NoReturn

from apache_beam.io.filesystem import CompressionTypes, FileMetadata, FileSystem

SCHEME = "pubner-memory"


class _Upload(io.BytesIO):
    """An object that appears when its upload is closed."""

    def __init__(self, objects: dict[str, bytes], path: str) -> None:
        super().__init__()
        self._objects = objects
        self._path = path

    def close(self) -> None:
        if not self.closed:
            self._objects[self._path] = self.getvalue()
        super().close()


class MemoryFiles(FileSystem):
    """Objects by URL. Beam finds this class by its scheme; `objects` is shared by all instances."""

    objects: ClassVar[dict[str, bytes]] = {}
    uploads: ClassVar[list[str]] = []

    @classmethod
    def scheme(cls) -> str:
        return SCHEME

    def join(self, basepath: str, *paths: str) -> str:
        return "/".join([basepath.rstrip("/"), *(path.strip("/") for path in paths)])

    def split(self, path: str) -> tuple[str, str]:
        head, _, tail = path.rpartition("/")
        return head, tail

    def mkdirs(self, path: str) -> None:
        return

    def has_dirs(self) -> bool:
        return False

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        for path, data in sorted(self.objects.items()):
            if path.startswith(dir_or_prefix):
                yield FileMetadata(path, len(data))

    def create(
        self,
        path: str,
        mime_type: str = "application/octet-stream",
        compression_type: str = CompressionTypes.AUTO,
    ) -> BinaryIO:
        self.uploads.append(path)
        return _Upload(self.objects, path)

    def open(
        self,
        path: str,
        mime_type: str = "application/octet-stream",
        compression_type: str = CompressionTypes.AUTO,
    ) -> BinaryIO:
        if path not in self.objects:
            raise FileNotFoundError(2, "No such object", path)
        return io.BytesIO(self.objects[path])

    def exists(self, path: str) -> bool:
        return path in self.objects

    def delete(self, paths: Sequence[str]) -> None:
        for path in paths:
            del self.objects[path]

    def size(self, path: str) -> int:
        return len(self.objects[path])

    def copy(self, source_file_names: Any, destination_file_names: Any) -> NoReturn:
        raise NotImplementedError

    def rename(self, source_file_names: Any, destination_file_names: Any) -> NoReturn:
        raise NotImplementedError

    def last_updated(self, path: str) -> NoReturn:
        raise NotImplementedError

    def checksum(self, path: str) -> NoReturn:
        raise NotImplementedError

    def metadata(self, path: str) -> NoReturn:
        raise NotImplementedError
