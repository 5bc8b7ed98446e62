"""Whether a file can be what its name says, as far as that shows without knowing its checksum.

A save that was killed, or a disk that lost power, leaves files that end early. Each format has a place
that tells: safetensors the size in its header, archives of ``torch.save`` their directory at the end,
JSON its last bracket. Archives also keep a checksum of each tensor, which torch does not look at.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

_CHUNK = 1 << 20
_LONGEST_HEADER = 100_000_000
"""What safetensors allows."""


class DamagedError(ValueError):
    """What is wrong with a checkpoint or one of its files; found and told, never a user's error by itself."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason.encode("utf-8", "backslashreplace").decode())  # names may be any bytes


def check_file(file: Path, name: str) -> None:
    """Raise an error if a file of a checkpoint ends early or is no file of its kind.

    Args:
        file: A safetensors file, JSON, or an archive of ``torch.save``, as its suffix says.
        name: What to call it.

    Raises:
        DamagedError: The reason.
        OSError: The file cannot be opened.
    """
    if file.suffix == ".safetensors":
        _check_safetensors(file, name)
    elif file.suffix == ".json":
        read_json_object(file, name)
    else:
        _check_archive(file, name)


def read_json_object(file: Path, name: str) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        DamagedError: There is none, or it has a key twice.
    """
    try:
        content = json.loads(file.read_bytes().decode("utf-8"), object_pairs_hook=_to_dict)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{name} is not readable as JSON") from error
    if not isinstance(content, dict):
        raise DamagedError(f"{name} is not readable: it holds no JSON object")
    return content


def _to_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a key is there twice")
    return content


def _check_safetensors(file: Path, name: str) -> None:
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > min(size - 8, _LONGEST_HEADER):
            raise DamagedError(f"{name} is not readable: it ends within its header")
        header = stream.read(length)
    try:
        tensors = json.loads(header, object_pairs_hook=_to_dict)
        ends = [facts["data_offsets"][1] for key, facts in tensors.items() if key != "__metadata__"]
        expected = 8 + length + max(ends, default=0)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise DamagedError(f"{name} is not readable: its header is no header of safetensors") from error
    if size != expected:
        raise DamagedError(f"{name} has {size} bytes instead of the {expected} that its header tells of")


def _check_archive(file: Path, name: str) -> None:
    with file.open("rb") as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                for entry in archive.infolist():
                    _check_entry(archive, entry)
        except Exception as error:  # whatever zipfile stumbles over in a damaged archive
            if isinstance(error, OSError) and error.filename is not None:
                raise
            reason = f"{error or type(error).__name__}".rstrip(".")
            raise DamagedError(f"{name} is not readable as what torch.save writes ({reason})") from error


def _check_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    if not entry.CRC:  # empty, or written with torch.serialization.set_crc32_options(False)
        return
    with archive.open(entry) as stream:
        while stream.read(_CHUNK):
            pass
