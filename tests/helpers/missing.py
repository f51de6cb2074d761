"""Skip a test whose programs are not installed, but not in CI, where a skipped test would pass unnoticed."""

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
