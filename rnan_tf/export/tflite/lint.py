"""Check a .tflite file for what phones' accelerators cannot run."""

from collections.abc import Iterator

import numpy as np

from rnan_tf.restoring.card import CARD_NAME

MAX_DIMENSIONS = 4
# Control flow, and what the converter leaves behind where a size was not known.
_FORBIDDEN = {"CALL", "CALL_ONCE", "IF", "WHILE", "SHAPE", "RANGE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"}
_FLOAT_OR_INT8 = {"FLOAT32", "FLOAT16", "INT8", "INT32"}


def lint(model: bytes) -> list[str]:
    """Return what is wrong with a model, one line each.

    Checked are: one subgraph; static shapes of at most four dimensions; operators built in, without control flow and
    without BATCH_MATMUL's adj_x and adj_y, which GPU delegates ignore, and without slices that end beyond their tensor,
    which they refuse; float32, float16 and int8 only (int32 for biases and shapes); the signature
    image[, level] -> restored; RNAN-TF's metadata.

    Args:
        model: the content of a `.tflite` file.

    Returns:
        The problems; empty if there is none.
    """
    from ai_edge_litert import schema_py_generated as schema

    if model[4:8] != b"TFL3":
        return ["not a TFLite file: the identifier TFL3 is missing"]
    try:
        root = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(model, 0))
    except Exception as error:  # flatbuffers and struct raise whatever damaged bytes lead to
        return [f"damaged: {error}"]
    problems = [*_check_model(root)]
    for graph in root.subgraphs or []:
        problems += [*_check_operators(graph, root, schema), *_check_tensors(graph, schema)]
    return problems


def _check_model(root) -> Iterator[str]:
    count = len(root.subgraphs or [])
    if count != 1:
        yield f"{count} subgraphs: loops and branches need an interpreter on the CPU"
    signatures = {signature.signatureKey.decode(): signature for signature in root.signatureDefs or []}
    signature = signatures.get("serving_default")
    if signature is None:
        yield "no signature serving_default"
    else:
        inputs, outputs = (
            {entry.name.decode() for entry in entries} for entries in (signature.inputs, signature.outputs)
        )
        if inputs not in ({"image"}, {"image", "level"}) or outputs != {"restored"}:
            yield f"signature {sorted(inputs)} -> {sorted(outputs)}, not image[, level] -> restored"
    if CARD_NAME.encode() not in [entry.name for entry in root.metadata or []]:
        yield f"no metadata {CARD_NAME}: a host could not know how to tile"


def _check_operators(graph, root, schema) -> Iterator[str]:
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    for operator in graph.operators or []:
        code = root.operatorCodes[operator.opcodeIndex]
        name = names.get(max(code.builtinCode, code.deprecatedBuiltinCode), "unknown operator")
        output = graph.tensors[operator.outputs[0]].name.decode() if len(operator.outputs) else "?"
        if name == "CUSTOM":
            custom = (code.customCode or b"?").decode()
            kind = "Flex" if custom.startswith("Flex") else "custom"
            yield f"{kind} operator {custom} ({output})"
        elif name in _FORBIDDEN:
            yield f"{name} ({output})"
        elif name == "BATCH_MATMUL" and (operator.builtinOptions.adjX or operator.builtinOptions.adjY):
            yield f"BATCH_MATMUL with adj_x or adj_y ({output})"
        elif name == "STRIDED_SLICE" and _ends_beyond(operator, graph.tensors, root.buffers):
            yield f"STRIDED_SLICE that ends beyond its tensor ({output})"


def _ends_beyond(operator, tensors, buffers) -> bool:
    sliced, _, end, _ = (tensors[i] for i in operator.inputs)
    ends, mask = buffers[end.buffer].data, operator.builtinOptions.endMask
    if ends is None:
        return False
    beyond = np.asarray(ends, np.uint8).view(np.int32) > sliced.shape
    return any(beyond[axis] and not mask >> axis & 1 for axis in range(len(beyond)))


def _check_tensors(graph, schema) -> Iterator[str]:
    types = {value: name for name, value in vars(schema.TensorType).items() if not name.startswith("_")}
    for tensor in graph.tensors or []:
        name, shape = tensor.name.decode(), [int(size) for size in _list(tensor.shape)]
        signature = [int(size) for size in _list(tensor.shapeSignature)]
        if any(size < 0 for size in shape + signature):
            yield f"dynamic shape {signature or shape} ({name})"
        if len(shape) > MAX_DIMENSIONS:
            yield f"{len(shape)} dimensions, {shape} ({name})"
        if types[tensor.type] not in _FLOAT_OR_INT8:
            yield f"type {types[tensor.type]} ({name})"


def _list(array):
    return [] if array is None else array
