"""Skip tests whose programs or packages are not installed, but not in CI, where that would pass unnoticed."""

import importlib.util
import os

import pytest


def skip_or_fail(message: str) -> None:
    """Skip the test, or fail it where the environment variable CI is "true".

    Args:
        message: what is missing and how to install it.
    """
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


def needs(*packages: str) -> None:
    """Skip a test module, or fail it where CI is "true", if a package is not installed.

    Args:
        *packages: as they are imported.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            message = f"needs {package}: pip install -e '.[dev]'"
            if os.environ.get("CI") == "true":
                raise ImportError(message)
            pytest.skip(message, allow_module_level=True)
