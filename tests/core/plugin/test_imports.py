"""Libraries that are imported without their noise."""

from __future__ import annotations

import logging
import warnings

import pytest

from drivetrain.plugin import quietly

LOUD, OTHER = "loud_library", "another_library"


def test_warnings_and_the_named_loggers_are_silent_but_for_errors(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with quietly(LOUD, f"{LOUD}_kernels"):
        warnings.warn("an old kernel", DeprecationWarning, stacklevel=1)  # which would be an error here
        logging.getLogger(LOUD).warning("no kernel")
        logging.getLogger(f"{LOUD}.parts").warning("no part")
        logging.getLogger(f"{LOUD}_kernels").warning("no other kernel")
        logging.getLogger(LOUD).error("no library")
        logging.getLogger(OTHER).warning("not meant")
    assert [record.getMessage() for record in caplog.records] == ["no library", "not meant"]


def test_everything_speaks_again_afterwards_even_if_the_import_failed() -> None:
    logging.getLogger(LOUD).setLevel(logging.INFO)
    filters = list(warnings.filters)
    with pytest.raises(ImportError), quietly(LOUD, OTHER):
        raise ImportError
    levels = [logging.getLogger(name).level for name in (LOUD, OTHER)]
    assert levels == [logging.INFO, logging.NOTSET]
    assert list(warnings.filters) == filters
