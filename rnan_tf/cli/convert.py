"""Turn a checkpoint of the authors' PyTorch code into a Keras model: `rnan-tf convert model.pt model.keras`."""

from pathlib import Path

from rnan_tf.cli.options import add_strengths, add_task
from rnan_tf.cli.parser import Parser
from rnan_tf.errors import InputError, command
from rnan_tf.files import make_folder
from rnan_tf.quiet import import_tensorflow
from rnan_tf.tasks.strength import STRENGTHS
from rnan_tf.tasks.task import get_task


@command
def main(argv: list[str] | None = None) -> int:
    """Convert, write the model, and print what it is."""
    args = build_parser().parse_args(argv)
    output = Path(args.output)
    if output.suffix != ".keras":
        raise InputError(f"{args.output}: the output's name must end in .keras")
    task = get_task(args.task) if args.task else None
    given = {name: getattr(args, name) for name in STRENGTHS}
    if not task and any(given.values()):
        raise InputError("--sigma and --quality need --task")
    if task and task.strength and given[task.strength.name] is None:
        raise InputError(f"give --{task.strength.name}, that the checkpoint was trained for")
    strengths = task.parse_strength(**given) if task else None
    import_tensorflow()
    from rnan_tf.network.cost import multiply_adds
    from rnan_tf.network.loading import save_model
    from rnan_tf.network.reference_checkpoints import load_reference
    from rnan_tf.restoring.card import ModelCard, read_card

    model = load_reference(args.checkpoint)
    details = {
        "converted_from": Path(args.checkpoint).name,
        "parameters": model.count_params(),
        "multiply_adds": round(multiply_adds(model)),
    }
    model.metadata = details
    if task:
        card = ModelCard.of_task(task, strengths, conditional=False).with_details(**details)
        model.metadata = card.to_dict()
        # What the network is, not what the card says, decides whether they fit.
        read_card({**model.metadata, "scale": model.scale, "channels": model.channels}, args.checkpoint)
    make_folder(output.parent)
    save_model(model, output)
    print(f"wrote {args.output}: {model.count_params():,} parameters, scale x{model.scale}")
    return 0


def build_parser() -> Parser:
    """Return the parser of `rnan-tf convert`."""
    parser = Parser(prog="rnan-tf convert", description="Turn a checkpoint of the authors' code into a Keras model.")
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help=".pt, .pth or .npz")
    parser.add_argument("output", metavar="OUT.keras", help="the file to write")
    add_task(parser, "record what it was trained for")
    add_strengths(parser, "record the noise that it was trained for", "record the JPEG quality that it was trained for")
    return parser
