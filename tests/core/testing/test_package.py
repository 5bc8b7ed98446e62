"""What `drivetrain.testing` is without anything else."""

from __future__ import annotations

import subprocess
import sys

import pytest


def test_without_pytest_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytest", None)
    with pytest.raises(ImportError, match=r"needs pytest.*pip install 'drivetrain-core\[testing\]'"):
        from drivetrain.testing import OptimizerSuite  # noqa: F401


def test_a_name_that_it_does_not_have_is_an_attribute_error() -> None:
    import drivetrain.testing

    with pytest.raises(AttributeError, match="no attribute 'OptimiserSuite'"):
        _ = drivetrain.testing.OptimiserSuite


@pytest.mark.slow
def test_importing_it_imports_neither_pytest_nor_torch() -> None:
    code = "import sys, drivetrain.testing; assert not {'pytest', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
