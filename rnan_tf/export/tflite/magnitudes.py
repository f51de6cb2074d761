"""How large the numbers within a network become: beyond the range of float16, a GPU has infinities instead."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rnan_tf.export.patches import Patch
from rnan_tf.export.tflite.content import edit
from rnan_tf.restoring.runtimes.litert import Interpreter, LiteRtRuntime
from rnan_tf.restoring.runtimes.runtime import count_cores

TILES = 50
# Float16 ends at 65,504; half of that is left for what is summed within an operator, and for photographs not measured.
LIMIT = 30_000


@dataclass(frozen=True)
class Magnitude:
    """A tensor and how far from zero it gets.

    Attributes:
        value: the largest absolute value, NaN if the tensor has one.
        tensor: the tensor's name.
    """

    value: float
    tensor: str

    @property
    def fits(self) -> bool:
        """Whether float16 holds it."""
        return self.value < LIMIT  # not so if it is NaN

    def __str__(self):
        return f"{self.value:,.0f} ({self.tensor})"


def largest_magnitude(model: bytes, patches: Sequence[Patch]) -> Magnitude:
    """Return the tensor of a network that gets farthest from zero.

    Args:
        model: the float32 model's content, with its card.
        patches: what it restores.
    """
    runtime, tensors = LiteRtRuntime.from_content("the model", model), []
    interpreter = Interpreter(edit(model, lambda root: tensors.extend(_return_everything(root))), count_cores())
    largest = np.zeros(len(tensors), np.float32)
    for patch in patches:
        values = interpreter.run(runtime.inputs(patch.degraded, patch.strength))
        found = [max(-values[str(i)].min(), values[str(i)].max()) for i in range(len(tensors))]
        largest = np.maximum(largest, found)  # passes NaN on
    first = int(np.argmax(largest))  # the first NaN, if there is one
    return Magnitude(float(largest[first]), tensors[first].split(";")[0])


def _return_everything(root) -> list[str]:
    """Let a model's signature return what each operator makes, named "0", "1", ...; return the tensors' names.

    LiteRT can keep all tensors by itself, but not in XNNPACK, without which it takes five times as long.
    """
    from ai_edge_litert import schema_py_generated as schema

    (graph,), (signature,) = root.subgraphs, root.signatureDefs
    types = (schema.TensorType.FLOAT32, schema.TensorType.FLOAT16)
    made = [i for operator in graph.operators for i in operator.outputs if graph.tensors[i].type in types]
    graph.outputs, signature.outputs = made, []
    for number, index in enumerate(made):
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = str(number).encode(), index
        signature.outputs.append(entry)
    return [graph.tensors[i].name.decode() for i in made]
