"""Compare every artifact of a model with the model itself: quality, size, speed, memory, operators.

`rnan-tf verify --model M --artifacts DIR --data DIR` writes report.md, report.json and crops.png into DIR. Its
exit code is 1 if an artifact is out of its tolerance.
"""

import json
from dataclasses import asdict
from pathlib import Path

from rnan_tf.cli.options import add_strengths, asked_strength
from rnan_tf.cli.parser import Parser
from rnan_tf.errors import JobError, command
from rnan_tf.export.artifacts import find_artifacts
from rnan_tf.export.verify import markdown, measure
from rnan_tf.files import write_atomically
from rnan_tf.photos.finding import list_images
from rnan_tf.photos.photo import Photo, write_photo
from rnan_tf.restoring.restorer import Restorer
from rnan_tf.restoring.runtimes.keras import KerasRuntime
from rnan_tf.weights import find_model


@command
def main(argv: list[str] | None = None) -> int:
    """Measure, write the reports, and say whether every artifact passes."""
    parser = Parser(prog="rnan-tf verify", description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="the .keras file or run folder that was exported")
    parser.add_argument("--artifacts", required=True, type=Path, help="the folder with the exports")
    parser.add_argument("--data", required=True, nargs="+", help="clean images: files, folders or globs")
    add_strengths(parser, "noise to measure at (50)", "JPEG quality to measure at (10)")
    parser.add_argument("--tile", type=int, help="as exported (96; at full resolution 64)")
    args = parser.parse_args(argv)
    restorer = Restorer(KerasRuntime.open(args.model))
    task = restorer.task
    tile = restorer.runtime.tiling.tile if args.tile is None else args.tile
    asked = asked_strength(args, task)
    strength = restorer.default_strength if asked is None else restorer.check_strength(asked)
    files, paths = list_images(args.data), find_artifacts(args.artifacts)
    rows, crops = measure(restorer.runtime, find_model(args.model), paths, strength, files, tile)
    report = {"task": task.name, "strength": strength, "tile": tile, "images": len(files)}
    report["rows"] = [{**asdict(row), "passes": row.passes} for row in rows]
    write_atomically(args.artifacts / "report.json", json.dumps(report, indent=2).encode())
    text = markdown(rows, task, strength, len(files), tile)
    write_atomically(args.artifacts / "report.md", text.encode())
    write_photo(args.artifacts / "crops.png", Photo(crops, None, None, "PNG"))
    print(text)
    failed = [row.name for row in rows if not row.passes]
    if failed:
        raise JobError(f"out of tolerance: {', '.join(failed)}; see {args.artifacts / 'report.md'}")
    return 0
