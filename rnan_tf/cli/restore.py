"""Restore photographs: `rnan-tf restore PHOTO... -o OUT`. A bad photograph does not keep the others from it."""

import contextlib
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from rnan_tf.cli.jobs import STREAM, check_report, in_shard, plan, read_stream
from rnan_tf.cli.networks import Networks
from rnan_tf.cli.options import (
    add_computation,
    add_strengths,
    add_task,
    add_tiling,
    one_thread_an_operator,
)
from rnan_tf.cli.parser import Parser
from rnan_tf.cli.report import Report
from rnan_tf.cli.wrong_use import check_options, check_raw_is_there
from rnan_tf.errors import InputError, JobError, command, is_out_of_memory, printable, with_dashes
from rnan_tf.files import make_folder, remove_leftovers
from rnan_tf.photos.decoding import image_size
from rnan_tf.photos.metadata import NO_METADATA
from rnan_tf.photos.photo import (
    EXTENSIONS,
    MAX_PIXELS,
    check_writable,
    fitted_depth,
    left_out,
    photo_bytes,
    photo_of,
    read_bytes,
    read_photo,
    write_photo,
)
from rnan_tf.photos.pixels import CFA_PATTERNS
from rnan_tf.photos.raw import RawPhoto, is_raw, is_raw_data, raw_of, read_raw
from rnan_tf.photos.whole import is_whole

_LEFTOVER_AGE = 3600  # seconds, after which no other process is writing a file
_FORMATS = [extension.removeprefix(".") for extension in EXTENSIONS]


@command
def main(argv: list[str] | None = None) -> int:
    """Restore one photograph after the other."""
    args = build_parser().parse_args(argv)
    check_options(args)
    if not args.fast:
        one_thread_an_operator(args.model)
    jobs = plan(args.photos, args.output, args.format and f".{args.format}")
    check_raw_is_there(args, jobs)
    if args.report:
        check_report(args.report, jobs, args.model)
    if args.shard:
        jobs = in_shard(jobs, args.output, *args.shard)
    count = len(jobs)
    if args.skip_existing:
        jobs = [job for job in jobs if job.target == STREAM or not is_whole(job.target)]
    networks = Networks(args)
    if jobs and args.output != STREAM and not args.dry_run:
        make_folder(os.path.commonpath([os.path.dirname(os.path.abspath(job.target)) for job in jobs]))
    with Report(args.report, append=args.skip_existing) as report:
        run = _Run(args, networks, jobs, report)
        if count > len(jobs) or not jobs:
            photographs = "photograph" if len(jobs) == 1 else "photographs"
            exist = "result exists" if count - len(jobs) == 1 else "results exist"
            run.say(f"{len(jobs)} {photographs} to restore; {count - len(jobs)} {exist} already")
        return run.run()


def build_parser() -> Parser:
    """Return the parser of `rnan-tf restore`."""
    parser = Parser(prog="rnan-tf restore", description="Restore photographs.")
    add = parser.add_argument
    add("photos", nargs="+", metavar="PHOTO", help=f"files, folders with all below them, globs, or {STREAM}")
    add("-o", "--output", required=True, metavar="OUT", help=f"a file for one photograph, else a folder, or {STREAM}")
    add(
        "--model",
        metavar="M",
        help="a .keras, .tflite or .onnx file, the folder of a SavedModel or of a training run, or a preset's name; "
        "default: the preset for --task",
    )
    add("--fast", action="store_true", help="the preset's int8 network: two to three times faster, a little worse")
    add_computation(parser)
    add_task(parser, "what to restore (what the photograph needs, by its look)")
    add_strengths(
        parser,
        "the noise's, 0-255 scale; default: auto, estimated",
        "of the JPEG file, 1-100; default: by its quantisation tables, else 10",
    )
    add("--cfa", type=str.upper, choices=CFA_PATTERNS, help="a mosaic's colours at (0,0) (0,1) (1,0) (1,1) (GRBG)")
    add("--white-balance", type=_gains, metavar="R,G,B", help="gains of a raw photograph (the camera's)")
    add("--linear", action="store_true", help="of raw photographs: linear light, without sRGB's curve and profile")
    add("--blend", type=_number(float, 0, 1), default=1, metavar="B", help="how much of it is restored, 0-1 (1)")
    add_tiling(parser)
    add("--format", choices=_FORMATS, help="of the results in a folder (that of each photograph)")
    add("--jpeg-quality", type=_number(int, 1, 100), metavar="Q", help="of JPEG results (the photograph's own, or 95)")
    add("--strip-metadata", action="store_true", help="leave out EXIF and XMP data and the resolution")
    add("--max-pixels", type=_number(int, 1, 10**12), default=MAX_PIXELS, metavar="N", help=f"({MAX_PIXELS:,})")
    add("--skip-existing", action="store_true", help="leave photographs out whose results are there, and whole")
    add("--shard", type=_shard, metavar="I/N", help="restore the I-th of N parts; one command for each part")
    add("--dry-run", action="store_true", help="say what would be done to each photograph, and do not do it")
    add("--report", metavar="CSV", help="write a row for each photograph: task, strength, pixels, seconds, error")
    return parser


def _number(kind, low, high):
    def read(text):
        value = kind(text)
        if not low <= value <= high:
            raise ValueError
        return value

    read.__name__ = f"number from {low} to {high}"  # which argparse calls it
    return read


def _gains(text):
    red, green, blue = map(float, text.split(","))
    return red, green, blue


_gains.__name__ = "gains such as 2.1,1,1.6"  # which argparse calls it


def _shard(text):
    number, count = map(int, text.split("/"))
    if not 1 <= number <= count:
        raise ValueError
    return number, count


_shard.__name__ = "part such as 1/4"


class _Run:
    def __init__(self, args, networks, jobs, report):
        self.args, self.networks, self.jobs, self.report = args, networks, jobs, report
        self.screen = sys.stderr if args.output == STREAM else sys.stdout
        self.folders = set()  # that were written to
        self.stream = b""  # what standard input held

    def say(self, text):
        tqdm.write(printable(text), file=self.screen)
        self.screen.flush()

    def run(self):
        failed = finished = 0
        with _Bar(self.jobs) as bar:
            try:
                for number, job in enumerate(self.jobs, 1):
                    self.say(f"[{number}/{len(self.jobs)}] {job.source} -> {job.target}")
                    failed += not self._try(job, bar.part(job))
                    finished += 1
            except KeyboardInterrupt:
                done = f"interrupted; {finished} of {len(self.jobs)} photographs are done"
                way = "; give the same command with --skip-existing for the others" if len(self.jobs) > 1 else ""
                raise KeyboardInterrupt(done + way) from None
        if failed and len(self.jobs) > 1:
            print(f"error: {failed} of {len(self.jobs)} photographs could not be restored", file=sys.stderr)
        return 1 if failed else 0

    def _try(self, job, progress):
        row, start = {"task": "", "strength": "", "pixels": ""}, time.monotonic()
        try:
            self._restore(job, progress, row)
            message = ""
        except Exception as error:
            message = self._report(error, job.source)
        self.report.add(job.source, *row.values(), f"{time.monotonic() - start:.2f}", message)
        return not message

    def _restore(self, job, progress, row):
        args = self.args
        photo = self._read(job.source)
        is_raw_photo = isinstance(photo, RawPhoto)
        given = photo.mosaic if is_raw_photo else photo
        row["pixels"] = given.pixels[..., 0].size
        chosen = self.networks.plan(photo)
        for line in chosen.lines:
            self.say(line)
        row |= {"task": chosen.task, "strength": _in_report(chosen.strength)}
        if chosen.restore is None and job.target != STREAM:
            return
        file_format, name = self._place(job, given)
        check_writable(name, fitted_depth(name, given) if is_raw_photo else given, chosen.scale)
        if args.dry_run:
            return
        if chosen.restore is not None:
            photo = chosen.restore(progress=progress)
            if is_raw_photo:
                photo = fitted_depth(name, photo)
        elif file_format == photo.format and not args.strip_metadata and args.jpeg_quality is None:
            self._pipe(self.stream if job.source == STREAM else read_bytes(Path(job.source)))
            return
        if args.strip_metadata:
            photo = replace(photo, metadata=NO_METADATA)
        for lost in left_out(photo, file_format):
            self.say(lost)
        if job.target == STREAM:
            self._pipe(photo_bytes(photo, file_format, name, args.jpeg_quality))
        else:
            self._make_folder(os.path.dirname(job.target) or ".")
            write_photo(job.target, photo, args.jpeg_quality)

    def _pipe(self, data):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def _read(self, source):
        args = self.args
        if source == STREAM:
            self.stream, name = read_stream(), "standard input"
            if is_raw_data(self.stream):
                return raw_of(self.stream, name, args.white_balance, args.max_pixels)
            return photo_of(self.stream, name, args.max_pixels)
        if is_raw(source):
            return read_raw(source, args.white_balance, args.max_pixels)
        return read_photo(source, args.max_pixels)

    def _make_folder(self, folder):
        make_folder(folder)
        if folder not in self.folders:
            self.folders.add(folder)
            remove_leftovers(folder, older_than=_LEFTOVER_AGE)

    def _place(self, job, photo):
        """Return the format of a result and its name for messages."""
        if job.target != STREAM:
            return EXTENSIONS.get(os.path.splitext(job.target)[1].lower()), job.target
        own = next((name for name in _FORMATS if EXTENSIONS[f".{name}"] == photo.format), "png")
        extension = self.args.format or own
        return EXTENSIONS[f".{extension}"], f"standard output.{extension}"

    def _report(self, error, source):
        """Say in a line why a photograph was skipped; what is not the photograph's fault is raised again."""
        if is_out_of_memory(error):
            message = f"out of memory; give a smaller `tile` than {self.networks.tile}, or crop the photograph"
        elif isinstance(error, (InputError, JobError)):
            message = str(error)
        else:
            raise error
        if source not in message:
            message = f"{source}: {message}"
        message = with_dashes(printable(" ".join(message.splitlines())))
        tqdm.write(f"{'error' if len(self.jobs) == 1 else 'skipped'}: {message}", file=sys.stderr)
        return message


def _in_report(strength):
    if strength is None:
        return ""
    return f"{strength:g}" if np.ndim(strength) == 0 else f"{np.min(strength):.3g}-{np.max(strength):.3g}"


class _Bar:
    """A bar over the pixels of all photographs, on a terminal."""

    def __init__(self, jobs):
        self._bar = tqdm(unit="pixel", unit_scale=True, leave=False, disable=None)
        self._pixels = {} if self._bar.disable else {job.source: _pixels(job.source) for job in jobs}
        self._bar.total = sum(self._pixels.values())
        self._done = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._bar.close()

    def part(self, job):
        """Return the `progress` of a photograph, whose predecessors are done."""
        before, pixels = self._done, self._pixels.get(job.source, 0)
        self._done += pixels
        self._bar.update(before - self._bar.n)

        def progress(done, total):
            self._bar.update(before + pixels * done // total - self._bar.n)
            if done == total:
                self._bar.refresh()  # which a quick photograph would not see otherwise

        return progress


def _pixels(source):
    """Return how many pixels a photograph has; 0 if it cannot be told yet."""
    with contextlib.suppress(Exception), open(source, "rb") as file:
        width, height = image_size(file)
        return width * height
    return 0
