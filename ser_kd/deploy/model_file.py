"""What an ONNX file is, read without running it."""

from __future__ import annotations

from pathlib import Path

import onnx

from ser_kd.contracts.errors import DataError
from ser_kd.deploy.model_metadata import ModelMetadata


def read_model_metadata(path: Path) -> ModelMetadata:
    """Read the metadata of a model file.

    Raises:
        DataError: If the file is missing, no ONNX file, or not made by 'ser-kd export'.
    """
    if not path.is_file():
        raise DataError("There is no such model file.", expected="an .onnx file", got=str(path), remedy="correct the path")
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as fault:  # protobuf's, which has no room here
        raise DataError(
            "This is no ONNX file.", expected="a file made by 'ser-kd export'", got=f"{path}: {fault}", remedy="copy or export it again"
        ) from fault
    return ModelMetadata.from_properties({item.key: item.value for item in model.metadata_props}, str(path))
