"""rnan_tf.errors: exit codes, one line for each error, and names of arguments as the command line has them."""

import errno

import pytest

from rnan_tf.errors import ImageError, InputError, JobError, command, first_line, is_out_of_memory, with_dashes


class ResourceExhaustedError(Exception):
    """As TensorFlow's."""


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("`batch_size` must be at least 1", "--batch-size must be at least 1"),
        ("leave `tile` and `overlap` out", "leave --tile and --overlap out"),
        ("give `task`, or `model`", "give --task, or --model"),
        ("go through `rnan-tf convert` first", "go through `rnan-tf convert` first"),
        ("a lone ` and `Batch`", "a lone ` and `Batch`"),
        ("nothing to do", "nothing to do"),
        ("", ""),
    ],
)
def test_arguments_are_options_on_the_command_line(message, expected):
    assert with_dashes(message) == expected


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("`batch_size` must be\nat least 1"), 2, "error: --batch-size must be at least 1"),
        (ImageError("a.png: not an image"), 2, "error: a.png: not an image"),
        (JobError("b.keras: cannot be written"), 1, "error: b.keras: cannot be written"),
        (OSError(errno.ENOSPC, "No space left"), 1, "error: [Errno 28] No space left"),
        (InputError("\x1b[31mx.keras: no such model"), 2, r"error: \x1b[31mx.keras: no such model"),
        (KeyboardInterrupt(), 130, "error: interrupted"),
        (MemoryError(), 1, "error: out of memory; give a smaller --tile, or in training a smaller --batch-size"),
        (
            ResourceExhaustedError("OOM when allocating"),
            1,
            "error: out of memory; give a smaller --tile, or in training a smaller --batch-size",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_an_error_is_one_line_and_a_code(capsys, error, code, line):
    @command
    def main(argv=None):
        raise error

    assert main() == code
    assert capsys.readouterr().err == line + "\n"


def test_other_errors_are_ours_and_keep_their_traceback():
    @command
    def main():
        raise TypeError("a bug")

    with pytest.raises(TypeError, match="a bug"):
        main()


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1)])
def test_the_code_of_a_command(capsys, returned, code):
    @command
    def main(argv):
        """Do it."""
        return returned

    assert main([]) == code and main.__doc__ == "Do it." and capsys.readouterr() == ("", "")


def test_the_first_line_of_a_message():
    assert first_line(ValueError("\n one\ntwo")) == "one"
    assert first_line(ValueError("x" * 300)) == "x" * 200
    assert first_line(ValueError("x" * 300), 5) == "xxxxx"
    assert first_line(KeyError()) == "KeyError" and first_line(ValueError("  \n")) == "ValueError"


def test_what_is_out_of_memory():
    assert is_out_of_memory(MemoryError()) and is_out_of_memory(ResourceExhaustedError())
    assert not is_out_of_memory(InputError("memory"))


def test_jax_runs_out_of_memory():
    jnp = pytest.importorskip("jax.numpy")
    with pytest.raises(RuntimeError) as raised:
        jnp.zeros(2**44).block_until_ready()
    assert is_out_of_memory(raised.value)


def test_wrong_use_is_a_value_error_and_a_failure_is_none():
    assert issubclass(InputError, ValueError) and issubclass(ImageError, InputError)
    assert not issubclass(JobError, ValueError)
