"""What `reporter_args` may say to Trackio, and what the environment says where it does not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit


def _option(help_text: str, default: Any = None) -> Any:
    return field(default=default, metadata={"help": help_text})


@dataclass(frozen=True)
class TrackioOptions:
    """Options of the reporter."""

    project: str | None = _option("Instead of TRACKIO_PROJECT and the argument `project`.")
    name: str | None = _option("Instead of the argument `run_name`.")
    group: str | None = _option("The group that the run is shown in.")
    space_id: str | None = _option("A Space of the Hub to send the run to (TRACKIO_SPACE_ID).")
    bucket_id: str | None = _option("The bucket of that Space (TRACKIO_BUCKET_ID).")
    private: bool | None = _option("Make the Space a private one.")
    system_metrics: bool = _option("Measure the processor and the GPU, too.", False)

    @property
    def space(self) -> str | None:
        """The Space that the run is sent to, if it is."""
        return self.space_id or os.environ.get("TRACKIO_SPACE_ID") or None

    @property
    def is_local(self) -> bool:
        """Whether everything stays on this machine."""
        return self.space is None and not os.environ.get("TRACKIO_SERVER_URL")


def find_problems(options: TrackioOptions) -> Iterator[str]:
    """Say what keeps a run from being sent where it is to be sent, as far as that is known here."""
    if options.space is not None:
        if not _has_token():
            yield (
                f"`report_to`: 'trackio' has no login for the Space {options.space!r}. Type `hf auth login`, "
                "or leave out TRACKIO_SPACE_ID to keep the run on this machine."
            )
        return
    if options.bucket_id is not None:
        yield (
            f"`reporter_args`: bucket_id={options.bucket_id!r} of 'trackio' is the bucket of a Space. Type "
            "space_id, too."
        )
    address = os.environ.get("TRACKIO_SERVER_URL")
    if not address:
        return
    if urlsplit(address).scheme not in ("http", "https"):
        yield (
            f"`report_to`: 'trackio' is told TRACKIO_SERVER_URL={address!r}, which is no address. Type "
            "http://host:port."
        )
    elif not os.environ.get("TRACKIO_WRITE_TOKEN") and "write_token" not in parse_qs(
        urlsplit(address).query
    ):
        yield (
            "`report_to`: 'trackio' has no token to write with for TRACKIO_SERVER_URL. Type "
            "TRACKIO_WRITE_TOKEN=..., as the server shows it."
        )


def _has_token() -> bool:
    if os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN"):
        return True
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    return Path(os.environ.get("HF_TOKEN_PATH") or home / "token").expanduser().is_file()
