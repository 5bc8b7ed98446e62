"""A stand-in for azureml-mlflow, found as that is, whose workspaces are database files."""

from __future__ import annotations

from pathlib import Path

_MODULE = '''
import warnings


def make_store(store_uri, artifact_uri=None):
    """azureml:///FOLDER: a database in a folder, without a login."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        folder = store_uri.removeprefix("azureml://")
        return SqlAlchemyStore(f"sqlite:///{folder}/workspace.db", f"{folder}/artifacts")
'''


def install_stand_in(folder: Path) -> Path:
    """Write the package and its metadata; return the folder, which is to be on the path."""
    package = folder / "azureml" / "mlflow"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(_MODULE)
    metadata = folder / "azureml_mlflow-1.62.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: azureml-mlflow\nVersion: 1.62.0\n")
    (metadata / "entry_points.txt").write_text(
        "[mlflow.tracking_store]\nazureml = azureml.mlflow:make_store\n"
    )
    return folder
