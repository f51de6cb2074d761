"""The report of a restoration: a row for each photograph, written as soon as it is done."""

import csv
import os
from types import TracebackType
from typing import IO

from rnan_tf.errors import JobError

COLUMNS = ("file", "task", "strength", "pixels", "seconds", "error")


class Report:
    """A CSV file that grows row by row, so that a run that ends early leaves a whole one.

    Args:
        path: the file; None writes nothing.
        append: whether rows of an earlier run are kept.

    Raises:
        JobError: it cannot be written.
    """

    def __init__(self, path: str | None, append: bool):
        self._file: IO[str] | None = None
        if path is None:
            return
        fresh = not (append and os.path.exists(path) and os.path.getsize(path))
        try:
            # Open as long as the report is.
            self._file = open(path, "w" if fresh else "a", encoding="utf-8", errors="backslashreplace", newline="")  # noqa: SIM115
        except OSError as error:
            raise JobError(f"{path}: cannot be written ({error.strerror}); name a file in a writable folder") from error
        if fresh:
            self.add(*COLUMNS)

    def add(self, *row: object) -> None:
        """Write a row, its values in the order of `COLUMNS`."""
        if self._file:
            csv.writer(self._file).writerow(row)
            self._file.flush()

    def __enter__(self) -> "Report":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file:
            self._file.close()
