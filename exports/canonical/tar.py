"""Tar files as WebDataset reads them, with the same bytes every time.

A sample's members follow one another; their names begin with the sample's id, which has no dot. A tar is the samples'
pieces one after the other and an end, so a shard is made by joining, and a sample is read by itself at its offset.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

END = bytes(2 * tarfile.BLOCKSIZE)


def piece(sample_id: str, contents: Mapping[str, bytes]) -> bytes:
    """The members of a sample, as they stand in a tar."""
    blocks = []
    for name, data in contents.items():
        info = tarfile.TarInfo(f"{sample_id}.{name}")  # nobody's, of 1970
        info.size = len(data)
        blocks += [info.tobuf(tarfile.USTAR_FORMAT), data, bytes(-len(data) % tarfile.BLOCKSIZE)]
    return b"".join(blocks)


def end(length: int) -> bytes:
    """What follows `length` bytes of pieces to make them a whole tar."""
    return END + bytes(-(length + len(END)) % tarfile.RECORDSIZE)


def samples(path: Path) -> Iterator[tuple[str, int, dict[str, bytes]]]:
    """The samples of a tar in their order, one at a time: id, offset in the file, members.

    An id that comes again later comes as another sample, as it does for WebDataset. Raises ValueError and OSError for a
    file that is not such a tar.
    """
    try:
        with tarfile.open(path, "r|") as archive:
            current, offset, found = "", 0, dict[str, bytes]()
            for info in archive:
                sample_id, _, name = info.name.partition(".")
                file = archive.extractfile(info)
                if file is None or not name or "/" in info.name:
                    raise ValueError(f"has a member '{info.name}', which is no file of a sample")
                if sample_id != current:
                    if found:
                        yield current, offset, found
                    current, offset, found = sample_id, info.offset, {}
                if name in found:
                    raise ValueError(f"has '{info.name}' twice")
                found[name] = file.read()
            if found:
                yield current, offset, found
    except tarfile.TarError as error:
        raise ValueError(f"is not a tar file ({error})") from error


def members_of(data: bytes) -> dict[str, bytes]:
    """The members of one piece, as it was cut out of a shard."""
    with tarfile.open(fileobj=io.BytesIO(data + END)) as archive:
        return {info.name.partition(".")[2]: _content(archive, info) for info in archive}


def _content(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(info)
    return file.read() if file else b""
