"""Import TensorFlow without its start-up notices."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from types import ModuleType
from typing import BinaryIO


def import_tensorflow() -> ModuleType:
    """Import TensorFlow; its notices about oneDNN and CUDA reach the terminal only if the import fails.

    Call it before anything else imports TensorFlow.

    Returns:
        The module `tensorflow`.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with contextlib.ExitStack() as stack:
        if "tensorflow" not in sys.modules:
            with contextlib.suppress(OSError):  # stderr is closed, or no place for temporary files: then noisily
                stack.enter_context(_stderr_in(stack.enter_context(tempfile.TemporaryFile())))
        import tensorflow  # noqa: F401

    return sys.modules["tensorflow"]


@contextlib.contextmanager
def _stderr_in(file: BinaryIO) -> Iterator[None]:
    # The file descriptor, not sys.stderr: the notices come from C++, and before the logging that the variable rules.
    terminal = os.dup(2)
    failed = False
    try:
        os.dup2(file.fileno(), 2)
        yield
    except Exception:
        failed = True
        raise
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        if failed:
            file.seek(0)
            os.write(2, file.read())
