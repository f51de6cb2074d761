"""The frame of the command `rnan-tf`: its help, its exit codes, and nothing said but its own lines."""

import argparse
import os
import pathlib
import subprocess
import sys

import pytest

from rnan_tf import cli, errors
from rnan_tf.photos.pixels import CFA_PATTERNS
from rnan_tf.restoring.tiling import Tiling
from rnan_tf.tasks.task import SUBSAMPLINGS, TASKS
from tests.helpers.command_line import save


def help_text(command, capsys):
    with pytest.raises(SystemExit), pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "500")  # narrower ones break words at hyphens
        cli.main([*command.split(), "--help"])
    return " ".join(capsys.readouterr().out.split())


def test_defaults_that_are_written_twice_agree(capsys):
    text = help_text("restore", capsys)
    assert f"restored at a time ({Tiling().tile};" in text
    assert f"neighbouring tiles share ({Tiling().overlap};" in text


@pytest.mark.parametrize("command", [" ".join(words) for words in cli.COMMANDS])
def test_help_says_all_names(command, capsys):
    text = help_text(command, capsys)
    assert text.startswith(f"usage: rnan-tf {command} ")
    if command not in ("info", "verify", "web"):
        assert ", ".join(TASKS) in text
    assert (f"--cfa {{{','.join(CFA_PATTERNS)}}}" in text) == (command == "restore")
    assert (f"--subsampling {{{','.join(SUBSAMPLINGS)}}}" in text) == (command in ("evaluate", "train"))
    assert "--level" not in text


def test_the_first_help_lists_every_command(capsys):
    text = help_text("", capsys)
    for (command, *kind), (_, what) in cli.COMMANDS.items():
        assert command in text and (kind or what in text)
    text = help_text("export", capsys)
    for (_, *kind), (_, what) in cli.COMMANDS.items():
        assert not kind or (kind[0] in text and what in text)


@pytest.mark.parametrize("option, shown", [("--help", "restore"), ("restore --help", "--self-ensemble")])
def test_help(capsys, option, shown):
    with pytest.raises(SystemExit) as stop:
        cli.main(option.split())
    assert stop.value.code == 0 and shown in capsys.readouterr().out


@pytest.mark.parametrize(
    "error, code, line",
    [
        (errors.InputError("two\nlines"), 2, "error: two lines"),
        (errors.JobError("failed"), 1, "error: failed"),
        (PermissionError(13, "Permission denied", "x"), 1, "error: [Errno 13] Permission denied: 'x'"),
        (KeyboardInterrupt(), 130, "error: interrupted"),
        (MemoryError(), 1, "error: out of memory; give a smaller --tile, or in training a smaller --batch-size"),
    ],
)
def test_exit_codes(capsys, error, code, line):
    @errors.command
    def main():
        raise error

    assert main() == code
    assert capsys.readouterr().err == line + "\n"


def test_exit_code_of_success_and_of_mistakes_of_ours():
    assert errors.command(lambda: None)() == 0 and errors.command(lambda: 3)() == 3
    with pytest.raises(ZeroDivisionError):
        errors.command(lambda: 1 / 0)()


def test_help_imports_no_tensorflow(run_python):
    script = """
import json, sys
from rnan_tf import cli
try:
    cli.main(["--help"])
except SystemExit:
    print(json.dumps([name for name in ("tensorflow", "keras", "numpy", "PIL") if name in sys.modules]))
"""
    assert run_python(script) == []


@pytest.mark.parametrize("command", ["restore", "evaluate", "convert", "info", "web"])
def test_a_commands_help_imports_no_tensorflow(run_python, command):
    script = """
import json, sys
from rnan_tf import cli
try:
    cli.main([sys.argv[1], "--help"])
except SystemExit:
    print(json.dumps([name for name in ("tensorflow", "keras") if name in sys.modules]))
"""
    assert run_python(script, command) == []


def test_what_the_user_sees(workplace, models):
    """A process of its own without our settings: no notices of TensorFlow, nothing but the program's own lines."""
    save("a.png")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
    line = f"restore a.png missing.txt -o out --model {models}/jpeg.keras".split()
    pathlib.Path("missing.txt").write_text("no photograph")
    command = [sys.executable, "-m", "rnan_tf.cli", *line]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert done.stdout.splitlines() == ["[1/2] a.png -> out/a.png", "[2/2] missing.txt -> out/missing.txt"]
    skipped, error = done.stderr.splitlines()
    assert skipped.startswith("skipped: missing.txt: is not a PNG")
    assert error == "error: 1 of 2 photographs could not be restored"


def test_an_import_that_fails_shows_all(workplace, run_python):
    """The notices are kept back for a good import only; a closed stderr is no obstacle."""
    os.makedirs("fake/tensorflow")
    pathlib.Path("fake/tensorflow/__init__.py").write_text(
        "import os\nos.write(2, b'a notice\\n')\nif os.environ.get('BROKEN'): raise ImportError('broken')\n"
    )
    script = """
import json, os, sys, tempfile
sys.path.insert(0, "fake")
from rnan_tf.quiet import import_tensorflow
if len(sys.argv) > 1:
    os.close(2)
else:
    stream = tempfile.TemporaryFile()
    os.dup2(stream.fileno(), 2)
try:
    result = import_tensorflow().__name__
except ImportError as error:
    result = str(error)
if len(sys.argv) == 1:
    os.write(2, b"later")
    stream.seek(0)
    result += ": " + stream.read().decode()
print(json.dumps(result))
"""
    assert run_python(script) == "tensorflow: later"
    assert run_python(script, BROKEN="1") == "broken: a notice\nlater"
    assert run_python(script, "closed") == "tensorflow"


def test_parser_complains_in_one_line():
    assert issubclass(cli.Parser, argparse.ArgumentParser)
    with pytest.raises(errors.InputError, match="see `x --help`"):
        cli.Parser(prog="x").parse_args(["--unknown"])
