"""The manifest of a checkpoint: which files it has, and how each is known to be whole."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import xxhash

from drivetrain.checkpoint.layout import FOREIGN_ARGUMENTS, MANIFEST, STATE

FORMAT_VERSION = 2
"""Version of the manifest. A reader refuses one from a later version."""

CHECKSUM = "xxh3_64"
"""How files are summed; before version 2 it was ``crc32``."""

_CHUNK = 1 << 22


def checksum(file: Path, algorithm: str = CHECKSUM) -> str:
    """The checksum of a file's content, in hexadecimal digits.

    Args:
        file: The file.
        algorithm: ``xxh3_64`` (sixteen digits), or ``crc32`` (eight) for manifests of version 1.
    """
    if algorithm == "crc32":
        return _crc32(file)
    sums, chunk = xxhash.xxh3_64(), memoryview(bytearray(_CHUNK))
    with file.open("rb", buffering=0) as stream:
        while length := stream.readinto(chunk):
            sums.update(chunk[:length])
    return sums.hexdigest()


def describe(file: Path) -> dict[str, Any]:
    """What the manifest says of a file."""
    return {"size": file.stat().st_size, CHECKSUM: checksum(file)}


def manifest_text(facts: dict[str, Any], files: dict[str, dict[str, Any]]) -> str:
    """The manifest, with a checksum of its own.

    Args:
        facts: What it says besides the files.
        files: What it says of each, by path within the checkpoint; see `describe`.
    """
    content = {"format_version": FORMAT_VERSION, **facts, "files": files}
    return json.dumps({**content, "checksum": checksum_of(content)}, indent=2) + "\n"


def checksum_of(manifest: dict[str, Any]) -> str:
    """The checksum of a manifest's content, which it has under ``checksum`` (that key is left out)."""
    content = {key: value for key, value in manifest.items() if key != "checksum"}
    return xxhash.xxh3_64_hexdigest(json.dumps(content, sort_keys=True).encode())


def is_superseded(checkpoint: Path) -> bool:
    """Whether transformers' Trainer has saved over a checkpoint that was written here.

    It writes into the folder, ``training_args.bin`` among it, and leaves the manifest and what else is
    known here alone. They say nothing of what is there now.
    """
    file = checkpoint / MANIFEST
    if not (checkpoint / FOREIGN_ARGUMENTS).is_file() or not file.is_file():
        return False
    try:
        files = json.loads(file.read_bytes())["files"]
        sizes = [(checkpoint / name).stat().st_size == listed["size"] for name, listed in files.items()]
        is_as_it_was = all(sizes) and files[STATE] == describe(checkpoint / STATE)
        return FOREIGN_ARGUMENTS not in files and not is_as_it_was
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _crc32(file: Path) -> str:
    value = 0
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            value = zlib.crc32(chunk, value)
    return f"{value:08x}"
