"""What does each choice of rnan_lite's recipe give? `python benchmarks/ablation.py --data PHOTOGRAPHS`.

Trains the same short run again with one change each, and prints the PSNR on the photographs that are held out of
--data, with the CPU time of a step. Finished runs are kept under --output: interrupted, it resumes.
"""

import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rnan_tf.quiet import import_tensorflow

import_tensorflow()

import keras

from rnan_tf.cli.parser import Parser
from rnan_tf.cli.train import parse_arguments
from rnan_tf.errors import command
from rnan_tf.files import write_atomically
from rnan_tf.restoring.evaluation import evaluate, mean_scores
from rnan_tf.restoring.runtimes.keras import KerasRuntime
from rnan_tf.training.run import Run
from rnan_tf.training.strategy import make_strategy


@dataclass(frozen=True)
class Change:
    """One change to the recipe.

    Attributes:
        name: what the table calls it.
        arguments: of train.py, in addition; "BASE" stands for the run of the recipe as it is.
        design: arguments of RNAN that replace the preset's.
        share: of the steps, so that changes of the batch take about the same CPU time.
    """

    name: str
    arguments: tuple[str, ...] = ()
    design: tuple[tuple[str, object], ...] = ()
    share: float = 1.0

    @property
    def folder(self) -> str:
        """The name of its run's folder."""
        return self.name.translate({ord(" "): "-", ord(","): None, ord("'"): None})


# Trains on from the recipe's end, at a tenth of its rate.
LAST = ("--init", "BASE", "--learning-rate", "2e-4", "--warmup-steps", "0")

CHANGES = {
    ("demosaic",): (
        Change("as it is"),
        Change("every piece", ("--busiest-of", "1")),
        Change("the busiest of 2 pieces", ("--busiest-of", "2")),
        Change("the busiest of 8 pieces", ("--busiest-of", "8")),
        Change("L2 loss", ("--loss", "l2")),
        Change("Adam, rate 1e-3", ("--optimizer", "adam")),
        Change("Adam, rate 2e-3", ("--optimizer", "adam", "--learning-rate", "2e-3")),
        Change("rate 1e-3", ("--learning-rate", "1e-3")),
        Change("rate 1.5e-3", ("--learning-rate", "1.5e-3")),
        Change("rate 3e-3", ("--learning-rate", "3e-3")),
        Change("warm-up over 10 steps", ("--warmup-steps", "10")),
        Change("batch 16, 0.57 of the steps", ("--batch-size", "16"), share=0.57),
        Change("batch 4, 1.7 times the steps", ("--batch-size", "4"), share=1.7),
        Change("rate halved in steps", ("--schedule", "step")),
        Change("32 patches of 24", ("--batch-size", "32", "--patch-size", "24")),
        Change("4 patches of 68", ("--batch-size", "4", "--patch-size", "68")),
        Change("float32", ("--precision", "float32")),
        Change("a tenth more", LAST, share=0.1),
        Change("a tenth more in L2", (*LAST, "--loss", "l2"), share=0.1),
        Change("a tenth more in float32", (*LAST, "--precision", "float32"), share=0.1),
        Change("a tenth more, patches of 68", (*LAST, "--patch-size", "68"), share=0.1),
        Change("32 filters", design=(("filters", 32),)),
        Change("64 filters", design=(("filters", 64),)),
        Change("2 blocks", design=(("num_blocks", 2),)),
        Change("6 blocks", design=(("num_blocks", 6),)),
        Change("full resolution, patches of 24", ("--patch-size", "24"), (("space_to_depth", 1),)),
    ),
    ("denoise", "--sigma", "0-75"): (
        Change("as it is"),
        Change("every piece", ("--busiest-of", "1")),
        Change("the busiest of 4 pieces", ("--busiest-of", "4")),
    ),
    ("sr-x2",): (
        Change("as it is"),
        Change("every piece", ("--busiest-of", "1")),
        Change("half resolution, patches of 48", ("--patch-size", "48"), (("space_to_depth", 2),)),
        Change("the paper's tail", design=(("subpixel_tail", False),)),
    ),
}


@command
def main(argv: list[str] | None = None) -> int:
    """Read the command line, train what is missing, print the table."""
    parser = Parser(prog="ablation.py", description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, nargs="+", help="photographs to train on: folders, files, globs")
    parser.add_argument("--steps", type=int, default=400, help="of each run (400)")
    parser.add_argument("--output", type=Path, default=Path("runs/ablation"), help="folder of the runs (runs/ablation)")
    args = parser.parse_args(argv)
    print("| task | change | parameters | CPU ms a step | PSNR | difference |\n|---|---|---|---|---|---|")
    for task, changes in CHANGES.items():
        base = None
        for change in changes:
            folder = args.output / task[0] / change.folder
            if not (folder / "result.json").exists():
                flags = ["--data", *args.data, "--steps", str(round(args.steps * change.share))]
                flags += ["--batch-size", "8", "--precision", "bfloat16"]
                base_folder = str(args.output / task[0] / changes[0].folder)
                flags += ["--task", *task, *(base_folder if each == "BASE" else each for each in change.arguments)]
                result = train([*flags, "--run-dir", str(folder)], change.design)
                write_atomically(folder / "result.json", json.dumps(result).encode())
            result = json.loads((folder / "result.json").read_text())
            base = base or result["psnr"]
            line = f"| {task[0]} | {change.name} | {result['parameters']:,} | {result['milliseconds']:.0f} | "
            print(f"{line}{result['psnr']:.2f} dB | {result['psnr'] - base:+.2f} |", flush=True)
            if change is changes[0]:
                without = result["psnr_last_weights"]
                print(
                    f"| {task[0]} | no moving average of the weights | | | {without:.2f} dB | {without - base:+.2f} |"
                )
    return 0


def train(arguments: list[str], design: tuple) -> dict:
    """Train by the arguments of train.py.

    Args:
        arguments: the command line.
        design: arguments of RNAN that replace the preset's.

    Returns:
        {"parameters", "milliseconds" of CPU time a step, "psnr" and "psnr_last_weights" in dB}. A signal ends the
        process instead, with its exit code; the run folder has the checkpoint to go on from.

    Raises:
        InputError: the photographs or the arguments do not fit.
    """
    asked, placement, run_dir, _ = parse_arguments(arguments)
    config = replace(asked, network=dict(design)).resolved(has_gpu=False)
    with Run.open(config, run_dir, make_strategy(placement, config.batch_size)) as run:
        start, first = time.process_time(), run.progress.step
        if stopped := run.train():
            sys.exit(128 + stopped)
    milliseconds = 1000 * (time.process_time() - start) / max(config.steps - first, 1)
    last = run.network.rebuild(dtype="float32")
    images, task = run.data.validation_images, run.data.spec.task
    found = evaluate(images, task, run.strength, KerasRuntime(last).at(run.strength))
    score = mean_scores(image.scores for image in found)["psnr"]
    result = {
        "parameters": last.count_params(),
        "milliseconds": milliseconds,
        "psnr": run.progress.best,
        "psnr_last_weights": score,
    }
    keras.backend.clear_session()
    return result


if __name__ == "__main__":
    sys.exit(main())
