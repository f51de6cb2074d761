"""Check .tflite files for what phones' accelerators cannot run: `python -m rnan_tf.cli.lint_tflite FILE...`."""

import sys
from pathlib import Path

from rnan_tf.cli.parser import Parser
from rnan_tf.errors import InputError, JobError, command
from rnan_tf.export.tflite.lint import lint
from rnan_tf.extras import check_extra


@command
def main(argv: list[str] | None = None) -> int:
    """Print the problems of each file."""
    parser = Parser(prog="lint_tflite", description=__doc__.split(":")[0])
    parser.add_argument("files", nargs="+", metavar="FILE", type=Path)
    files = parser.parse_args(argv).files
    check_extra("tflite")
    found = 0
    for file in files:
        if not file.is_file():
            raise InputError(f"{file}: no such file")
        problems = lint(file.read_bytes())
        found += len(problems)
        print("\n".join(f"{file}: {problem}" for problem in problems or ["no problem"]))
    if found:
        raise JobError(f"{found} problems")
    return 0


if __name__ == "__main__":
    sys.exit(main())
