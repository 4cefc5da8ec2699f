"""Packages that only parts of mprl need: imported where they are used, and missed in one line."""

from __future__ import annotations

import importlib
from typing import Any

from mprl.errors import MissingPackageError


def load(package: str, purpose: str, extra: str) -> Any:
    """A package that comes with an extra.

    Args:
        package: its name for Python.
        purpose: what it is needed for, for the message.
        extra: of ours that installs it.

    Raises:
        MissingPackageError: "ONNX files need onnxscript: pip install mprl[export]".
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] == package.partition(".")[0]:
            raise MissingPackageError(f"{purpose} {package}: pip install 'mprl[{extra}]'") from None
        raise MissingPackageError(f"{purpose} {package}, which cannot be imported: {error}") from None
