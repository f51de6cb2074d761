"""Errors with a one-line message for the user, and the wrapper that turns them into exit codes."""

import functools
import os
import re
import sys
from collections.abc import Callable
from typing import Any


class InputError(ValueError):
    """Wrong use: a missing folder, a bad file, a flag out of range. The message names the thing and the way out."""


class ImageError(InputError):
    """An image that cannot be read or written. One line: the file, what is wrong with it, how to mend it."""


class JobError(RuntimeError):
    """A job that was asked for correctly and failed. The message says what failed and what was kept."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception says that memory, the machine's or a GPU's, does not suffice."""
    # TensorFlow's class by its name: this module is imported before TensorFlow, and without it. JAX has no such class.
    named = type(error).__name__ == "ResourceExhaustedError" or str(error).startswith("RESOURCE_EXHAUSTED")
    return isinstance(error, MemoryError) or named


def first_line(error: BaseException, length: int = 200) -> str:
    """Return the first line of an exception's message, cut to a length; its class's name if it has no message."""
    lines = str(error).strip().splitlines()
    return lines[0][:length] if lines else type(error).__name__


def with_dashes(message: str) -> str:
    """Return a message of the library as the command line says it: `batch_size` is --batch-size there."""
    return re.sub(r"`([a-z_]+)`", lambda name: "--" + name[1].replace("_", "-"), message)


def printable(text: str) -> str:
    """Return a text whose control characters, which a terminal would obey, and bytes that are no text are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def say_skipped(what: object) -> None:
    """Say on stderr, in one line, what is left out of a job and why."""
    print(f"skipped: {printable(' '.join(str(what).splitlines()))}", file=sys.stderr)


def command(main: Callable[..., int | None]) -> Callable[..., int]:
    """Wrap a command-line entry point: one line on stderr instead of a traceback.

    Args:
        main: takes an optional list of arguments, returns an exit code (None means 0).

    Returns:
        The wrapped function. It returns 2 for wrong use (`InputError`), 1 for a failed job (`JobError`, `OSError`, out
        of memory), 130 for Ctrl-C and 141 for a closed pipe, as shells do.
    """

    @functools.wraps(main)
    def wrapped(*args: Any, **kwargs: Any) -> int:
        try:
            return main(*args, **kwargs) or 0
        except InputError as error:
            message, code = str(error), 2
        except BrokenPipeError:  # whoever read our output has gone, as `| head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        except (JobError, OSError) as error:
            message, code = str(error), 1
        except KeyboardInterrupt as error:
            message, code = str(error) or "interrupted", 130
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            message, code = "out of memory; give a smaller `tile`, or in training a smaller `batch_size`", 1
        print(f"error: {with_dashes(printable(' '.join(message.splitlines())))}", file=sys.stderr)
        return code

    return wrapped
