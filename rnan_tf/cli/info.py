"""What a model is and how it was trained: `rnan-tf info MODEL`. Reads its card, and imports no TensorFlow for it."""

from rnan_tf.cli.parser import Parser
from rnan_tf.errors import command, printable
from rnan_tf.restoring.card import ModelCard, read_card
from rnan_tf.restoring.runtimes.described import read_description
from rnan_tf.weights import read_manifest


@command
def main(argv: list[str] | None = None) -> int:
    """Print what a model is, or the presets."""
    source = build_parser().parse_args(argv).model
    if source is None:
        for name, entry in read_manifest().items():
            print(f"{name:13s} validation {entry['validation_psnr']:.2f} dB, {entry['hours']} h of training")
        return 0
    for heading, text in describe(source).items():
        # What a file says of itself may hold a terminal's control characters.
        print(f"{printable(heading):15s} {printable(text)}")
    return 0


def build_parser() -> Parser:
    """Return the parser of `rnan-tf info`."""
    parser = Parser(prog="rnan-tf info", description="What a model is and how it was trained.")
    parser.add_argument(
        "model",
        nargs="?",
        metavar="M",
        help="a .keras, .tflite or .onnx file, the folder of a SavedModel or of a training run, or a preset's name; "
        "default: list the presets",
    )
    return parser


def describe(source: str) -> dict[str, str]:
    """Return lines of text about a model, by heading.

    Args:
        source: see `rnan_tf.Restorer.from_preset`.

    Raises:
        InputError: there is no such model, or it does not say what it is.
    """
    data, network = read_description(source)
    if data and not data.get("task") and network:
        card, details = None, {key: value for key, value in data.items() if key not in network}
        lines = {"task": "not recorded", "input": _input(network), "scale": f"x{network['scale']}"}
    else:
        card = read_card(data, source)
        details, lines = dict(card.details), _card_lines(card)
    if network:
        lines["network"] = (
            f"{network['filters']} filters, {network['num_blocks']} blocks, normalised over {network['normalize_over']}"
        )
        if "multiply_adds" not in details:
            details |= _cost(source)
    if isinstance(details.get("parameters"), int):
        lines["parameters"] = f"{details.pop('parameters'):,}"
    if isinstance(details.get("multiply_adds"), float | int) and abs(details["multiply_adds"]) < 1e15:
        lines["multiply-adds"] = f"{details.pop('multiply_adds') / 1e6:.3g} million a pixel (tile of 96x96)"
    if fast := read_manifest().get(source, {}).get("fast"):
        losses = ", ".join(f"{loss:.3f} dB on {test_set}" for test_set, loss in fast["loss"].items())
        lines["--fast"] = f"int8, loses {losses}"
    return lines | {key: str(value) for key, value in details.items()}


def _card_lines(card: ModelCard) -> dict[str, str]:
    lines = {"task": card.task}
    # The card of a network that learned from pairs, or from noise at unknown gains, holds all that the task has.
    if card.strength and not (card.details.get("pairs") or card.details.get("noise")):
        lines[card.strength] = "-".join(dict.fromkeys(f"{value:g}" for value in card.strengths))
    size = f"{card.tile}x{card.tile}" if card.tile else "any size"
    told = f", and the {card.strength}" if card.conditional else ""
    return lines | {"input": f"{card.channels} channel(s), {size}{told}", "scale": f"x{card.scale}"}


def _input(network):
    return f"{network['channels']} channel(s), any size" + (", and the strength" if network["conditional"] else "")


def _cost(source):
    """Return what a model of version 0.1 does not say of itself."""
    from rnan_tf.quiet import import_tensorflow

    import_tensorflow()
    from rnan_tf.network.cost import multiply_adds
    from rnan_tf.network.loading import load_model

    model = load_model(source)
    return {"parameters": model.count_params(), "multiply_adds": multiply_adds(model)}
