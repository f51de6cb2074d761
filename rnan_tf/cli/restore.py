"""Restore photographs: `rnan-tf restore PHOTO... -o OUT`. A bad photograph does not keep the others from it."""

import contextlib
import os
import sys
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from rnan_tf.cli.options import add_strengths, add_task, add_tiling, asked_strength
from rnan_tf.cli.parser import Parser
from rnan_tf.errors import InputError, JobError, command, is_out_of_memory, with_dashes
from rnan_tf.files import make_folder
from rnan_tf.photos.photo import EXTENSIONS, check_writable, list_images, read_photo, write_photo
from rnan_tf.photos.pixels import CFA_PATTERNS
from rnan_tf.restoring.restorer import Restorer, preset_of
from rnan_tf.restoring.tiling import asked_tiling


@command
def main(argv: list[str] | None = None) -> int:
    """Restore one photograph after the other."""
    args = build_parser().parse_args(argv)
    sizes = {"tile": args.tile, "overlap": args.overlap}
    asked_tiling(**sizes)  # wrong use, before a model is loaded
    files = list_images(args.photos)
    targets = _targets(files, args.output)
    if not args.model and not args.task:
        raise InputError("give --task, whose preset is taken then, or --model")
    restorer = Restorer.from_preset(args.model or preset_of(args.task), args.task, args.fast)
    tile = restorer.tiling(**sizes).tile
    restorer.check_cfa(args.cfa)
    options = {**sizes, **_asked_strengths(args, restorer), "self_ensemble": args.self_ensemble, "cfa": args.cfa}
    make_folder(targets[0].parent)
    failed = 0
    for number, (file, target) in enumerate(zip(files, targets, strict=True), 1):
        print(f"[{number}/{len(files)}] {file} -> {target}", flush=True)
        try:
            _restore(restorer, file, target, options)
        except Exception as error:
            _report(error, file, tile, alone=len(files) == 1)
            failed += 1
    if failed and len(files) > 1:
        print(f"error: {failed} of {len(files)} photographs could not be restored", file=sys.stderr)
    return 1 if failed else 0


def build_parser() -> Parser:
    """Return the parser of `rnan-tf restore`."""
    parser = Parser(prog="rnan-tf restore", description="Restore photographs.")
    parser.add_argument("photos", nargs="+", metavar="PHOTO", help="files, folders or globs")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="a file for one photograph, else a folder")
    parser.add_argument(
        "--model",
        metavar="M",
        help="a .keras, .tflite or .onnx file, the folder of a SavedModel or of a training run, or a preset's name; "
        "default: the preset for --task",
    )
    parser.add_argument(
        "--fast", action="store_true", help="the preset's int8 network: several times faster, a little worse"
    )
    add_task(parser, "what to restore (what the model was trained for)")
    add_strengths(parser, "the noise's, 0-255 scale; default: auto, estimated", "of the JPEG file, 1-100 (10)")
    parser.add_argument(
        "--cfa", type=str.upper, choices=CFA_PATTERNS, help="a mosaic's colours at (0,0) (0,1) (1,0) (1,1) (GRBG)"
    )
    add_tiling(parser)
    return parser


def _asked_strengths(args, restorer):
    """Return the strength that was asked for by its name; nothing if it is to be estimated, or the default."""
    name = restorer.card.strength
    if name and getattr(args, name) == "auto":
        if not restorer.estimates:
            raise InputError(f"{restorer.runtime.name}: estimates no {name}; give a number or leave `{name}` out")
        return {}
    asked = asked_strength(args, restorer.task)
    strengths = {} if asked is None else {name: asked}
    restorer.asked_strength(**strengths)
    return strengths


def _restore(restorer, file, target, options):
    photo = read_photo(file)
    check_writable(target, photo, restorer.card.scale)
    name = restorer.card.strength
    if restorer.estimates and name not in options:
        options = {**options, name: restorer.strength_for(photo.pixels)}
        print(f"{restorer.task.strength.text} {options[name]:.1f}, estimated")
    with _bar() as progress:
        photo = restorer(photo, progress=progress, **options)
    write_photo(target, photo)


@contextlib.contextmanager
def _bar():
    """Yield a `progress` that shows a bar over the tiles, on a terminal."""
    with tqdm(unit="tile", leave=False, disable=None) as bar:

        def progress(done, total):
            bar.total = total
            bar.update(done - bar.n)
            if done == total:
                bar.refresh()  # which a quick photograph would not see otherwise

        yield progress


def _report(error, file, tile, alone):
    """Say in a line why a photograph was skipped; what is not the photograph's fault is raised again."""
    if is_out_of_memory(error):
        message = f"out of memory; give a smaller `tile` than {tile}, or crop the photograph"
    elif isinstance(error, (InputError, JobError)):
        message = str(error)
    else:
        raise error
    if str(file) not in message:
        message = f"{file}: {message}"
    print(f"{'error' if alone else 'skipped'}: {with_dashes(' '.join(message.splitlines()))}", file=sys.stderr)


def _targets(files, output):
    """Return where each restored file goes; nothing is ever written over an input."""
    path = Path(output)
    is_image = path.suffix.lower() in EXTENSIONS and not path.is_dir()
    if len(files) > 1 and is_image:
        raise InputError(f"-o {output} is one file, but there are {len(files)} photographs; name a folder")
    to_folder = len(files) > 1 or path.is_dir() or not path.suffix or output.endswith(os.sep)
    if not to_folder and not is_image:
        raise InputError(
            f"-o {output} is neither a folder nor an image's name; "
            f"end it in {os.sep} or in one of {' '.join(EXTENSIONS)}"
        )
    targets = [path / file.name for file in files] if to_folder else [path]
    twice = [str(target) for target, count in Counter(targets).items() if count > 1]
    if twice:
        raise InputError(f"two photographs would be written to {twice[0]}; restore their folders one at a time")
    keep_inputs(targets, files)
    return targets


def keep_inputs(outputs: list[Path], inputs: list[Path]) -> None:
    """Check that no output is one of the inputs.

    Raises:
        InputError: one is.
    """
    resolved = {file.resolve() for file in inputs}
    for output in outputs:
        if output.resolve() in resolved:
            raise InputError(f"{output} is an input and would be written over; name another place")
