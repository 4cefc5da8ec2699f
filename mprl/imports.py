"""A user's own module, found by name in the current folder too, and what is wrong with it in one line."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from types import ModuleType

from mprl.errors import SettingError, UnknownNameError


def user_module(name: str) -> ModuleType:
    """Import a module.

    Raises:
        UnknownNameError: there is none of this name.
        SettingError: it cannot be imported; says in which line.
    """
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except Exception as error:  # a user's file can fail in every way
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise UnknownNameError(f"no module named '{name}' in {folder} or among the installed packages") from None
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{where.filename}, line {where.lineno}"
        if isinstance(error, SyntaxError):
            place = f"{error.filename}, line {error.lineno}"
        raise SettingError(f"the module '{name}' cannot be imported: {place}: {type(error).__name__}: {error}") from None
