"""What is wrong about the options of `rnan-tf restore` whatever the photographs show: said at once, not for each."""

from typing import Any

from rnan_tf.cli.jobs import STREAM, Job
from rnan_tf.cli.options import check_backend, raw_options
from rnan_tf.errors import InputError
from rnan_tf.photos.raw import check_gains, is_raw
from rnan_tf.restoring.runtimes import PRECISIONS
from rnan_tf.restoring.tiling import asked_tiling
from rnan_tf.tasks.strength import STRENGTHS
from rnan_tf.tasks.task import get_task


def check_options(args: Any) -> None:
    """Check options that need no photograph and no network.

    Args:
        args: of the command line.

    Raises:
        InputError: one is out of its range, or two do not go together.
    """
    asked_tiling(args.tile, args.overlap)
    check_backend(args.backend, args.model, args.fast)
    if args.fast and (args.tile is not None or args.overlap is not None):
        raise InputError("the tiles of `fast` networks have a fixed size; leave `tile` and `overlap` out, or `fast`")
    if args.fast and args.precision != PRECISIONS[0]:
        raise InputError("the precision of `fast` networks is fixed; leave `precision` or `fast` out")
    if args.white_balance is not None:
        check_gains(args.white_balance)
    for name, strength in STRENGTHS.items():
        asked = getattr(args, name)
        if asked is not None and args.task:
            get_task(args.task).check_has(name)
        if asked not in (None, "auto"):
            strength.parse(asked, ranges=False)


def check_raw_is_there(args: Any, jobs: list[Job]) -> None:
    """Check that options for raw photographs have one; of several photographs, others are restored without them.

    Args:
        args: of the command line.
        jobs: all of them.

    Raises:
        InputError: there is none.
    """
    asked = raw_options(args)
    if asked and not any(job.source == STREAM or is_raw(job.source) for job in jobs):
        names = " and ".join(f"`{name.replace('-', '_')}`" for name in asked)
        raise InputError(f"no photograph is a raw one; leave {names} out")
