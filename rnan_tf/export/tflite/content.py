"""Change what a `.tflite` file says."""

from collections.abc import Callable
from typing import Any


def edit(model: bytes, change: Callable[[Any], None]) -> bytes:
    """Return a `.tflite` file's content, changed.

    Args:
        model: the content.
        change: changes the `ModelT` that it is given.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    root = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(model, 0))
    change(root)
    builder = flatbuffers.Builder(len(model))
    builder.Finish(root.Pack(builder), b"TFL3")
    return bytes(builder.Output())
