"""Run exported models: `.tflite` files with LiteRT, `.onnx` files with ONNX Runtime. TensorFlow is not needed."""

import contextlib
import importlib.util
import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rnan_tf.errors import InputError
from rnan_tf.restoring.tiling import Predictor, Tiling

SUFFIXES = (".tflite", ".onnx")
# The name under which a .tflite file holds its metadata, as JSON.
METADATA_NAME = "rnan_tf"
_KEYS = {"task", "level", "scale", "channels", "conditional", "value_range", "tile", "overlap"}


@dataclass(frozen=True)
class Artifact:
    """An exported model.

    Attributes:
        path: its file.
        metadata: {"task", "level" ([lowest, highest] or None), "scale", "channels", "conditional", "value_range"
            ([0, 1]), "tile" (None: any size), "overlap", ...}.
        run: (images (N, H, W, C) float32, level) -> (N, scale * H, scale * W, C); N is 1 if the tile is fixed.
        operators: returns name -> count, the most frequent first.
        level: the task's level (noise sigma, JPEG quality) that `predict` works at, for a conditional model.
    """

    path: Path
    metadata: dict
    run: Callable[[np.ndarray, float], np.ndarray] = field(repr=False)
    operators: Callable[[], dict[str, int]] = field(repr=False)
    level: float = 0.0

    @property
    def channels(self) -> int:
        """Image channels, 3 or 1."""
        return self.metadata["channels"]

    @property
    def scale(self) -> int:
        """How many times larger the output is."""
        return self.metadata["scale"]

    @property
    def conditional(self) -> bool:
        """Whether the model takes a level."""
        return self.metadata["conditional"]

    def tiling(self, margin: bool = False) -> Tiling | None:
        """Return how images must be cut up for this model.

        Args:
            margin: whether up to four rows and columns are added to the tiles before the model sees them.

        Returns:
            Tiles of exactly the model's size; None if it takes any.
        """
        tile, overlap = self.metadata["tile"], self.metadata["overlap"]
        if tile is None:
            return None
        return (
            Tiling(tile - 4, min(overlap, (tile - 4) // 8 * 4), fixed=True)
            if margin
            else Tiling(tile, overlap, fixed=True)
        )

    def predict(self, batch: np.ndarray) -> np.ndarray:
        """Restore tiles at `level`; see `rnan_tf.restoring.tiling.Predictor`."""
        return self.predictor(self.level / 255)(batch)

    def predictor(self, level: float = 0.0) -> Predictor:
        """Return the predictor for a level.

        Args:
            level: the task's level (noise sigma, JPEG quality) / 255, for a conditional model.

        Returns:
            The predictor. Of a fixed tile's model it reflects smaller tiles up to that size and crops the result.
        """
        tile, scale = self.metadata["tile"], self.scale
        if tile is None:
            return lambda batch: self.run(batch, level)

        def predict(batch):
            height, width = batch.shape[1:3]
            if max(height, width) > tile:
                raise InputError(f"{self.path}: takes tiles of up to {tile}x{tile}, not {height}x{width}")
            padded = np.pad(batch, ((0, 0), (0, tile - height), (0, tile - width), (0, 0)), mode="reflect")
            restored = np.concatenate([self.run(image[None], level) for image in padded])
            return restored[:, : height * scale, : width * scale]

        return predict


def load_artifact(path: str | Path, level: float = 0.0, threads: int = 2) -> Artifact:
    """Load an exported model.

    Args:
        path: a `.tflite` or `.onnx` file that `rnan-tf export` wrote.
        level: the task's level (noise sigma, JPEG quality), for a conditional model.
        threads: how many the runtime may use.

    Returns:
        The model.

    Raises:
        InputError: there is no such file, the runtime is not installed, or the file is damaged or another network's.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: not a {' or '.join(SUFFIXES)} file")
    if not path.is_file():
        raise InputError(f"{path}: no such model")
    load = _load_tflite if path.suffix == ".tflite" else _load_onnx
    metadata, run, operators = load(path, threads)
    return Artifact(path, metadata, run, operators, level)


def make_metadata(model, task, levels: tuple[float, float], tiling: Tiling | None = None) -> dict:
    """Return what an exported model says of itself; see `Artifact`.

    Args:
        model: the `RNAN`.
        task: the `Task` that it was trained for.
        levels: (lowest, highest).
        tiling: of a model for one size only.
    """
    return {
        "task": task.name,
        "level": list(levels) if task.level_name else None,
        "scale": model.scale,
        "channels": model.channels,
        "conditional": model.conditional,
        "value_range": [0, 1],
        "tile": tiling.tile if tiling else None,
        "overlap": (tiling or Tiling()).overlap,
    }


def check_extra(extra: str) -> None:
    """Check that the packages of an extra can be imported.

    Args:
        extra: "tflite", "onnx" or "train".

    Raises:
        InputError: one is missing.
    """
    modules = {
        "tflite": ("ai_edge_litert", "ai_edge_quantizer"),
        "onnx": ("onnx", "onnxruntime", "tf2onnx"),
        "train": ("matplotlib", "tensorboard"),
    }[extra]
    missing = [name for name in modules if not importlib.util.find_spec(name)]
    if missing:
        raise InputError(f"{', '.join(missing)} not installed: pip install 'rnan-tf[{extra}]'")


# === LiteRT ===


def read_tflite_metadata(model: bytes) -> dict | None:
    """Return the metadata in a `.tflite` file's content, or None if it has none of RNAN-TF's."""
    from ai_edge_litert.schema_py_generated import Model

    root = Model.GetRootAsModel(model, 0)
    for i in range(root.MetadataLength()):
        entry = root.Metadata(i)
        if entry.Name() == METADATA_NAME.encode():
            return json.loads(root.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
    return None


def count_operators(model: bytes) -> dict[str, int]:
    """Return the operators of a `.tflite` file's content: name -> count, the most frequent first."""
    from ai_edge_litert import schema_py_generated as schema

    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    root = schema.Model.GetRootAsModel(model, 0)
    codes = [root.OperatorCodes(i) for i in range(root.OperatorCodesLength())]
    graphs = [root.Subgraphs(i) for i in range(root.SubgraphsLength())]
    indices = [graph.Operators(i).OpcodeIndex() for graph in graphs for i in range(graph.OperatorsLength())]
    # Codes below 127 are in the deprecated field too, and in old files only there.
    found = (names[max(codes[i].BuiltinCode(), codes[i].DeprecatedBuiltinCode())] for i in indices)
    return dict(Counter(found).most_common())


def make_tflite_runner(model: bytes, threads: int = 2) -> Callable[[np.ndarray, float], np.ndarray]:
    """Return `Artifact.run` for a `.tflite` file's content.

    Args:
        model: the file's content.
        threads: how many LiteRT may use.

    Raises:
        ValueError, RuntimeError: LiteRT cannot load it.
    """
    from ai_edge_litert.interpreter import Interpreter

    with _no_notices():
        interpreter = Interpreter(model_content=model, num_threads=threads)
        interpreter.allocate_tensors()
    signature = interpreter.get_signature_runner("serving_default")
    conditional = "level" in signature.get_input_details()

    def run(image, level=0.0):
        inputs = {"level": np.array([level], np.float32)} if conditional else {}
        return signature(image=np.ascontiguousarray(image, np.float32), **inputs)["restored"]

    return run


@contextlib.contextmanager
def _no_notices():
    # LiteRT writes to the terminal, from C++, that it uses XNNPACK; no log level rules that line.
    terminal, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(nothing)


def _load_tflite(path, threads):
    try:
        import ai_edge_litert.interpreter  # noqa: F401
    except ImportError as error:
        raise InputError(f"{path}: needs LiteRT: pip install 'rnan-tf[tflite]'") from error
    model = path.read_bytes()
    try:
        if model[4:8] != b"TFL3":
            raise ValueError("no TFLite file")
        metadata = _checked(read_tflite_metadata(model), path)
        run = make_tflite_runner(model, threads)
    except InputError:
        raise
    except Exception as error:  # flatbuffers, struct and LiteRT raise whatever damaged bytes lead to
        raise _damaged(path, error) from error
    return metadata, run, lambda: count_operators(model)


# === ONNX Runtime ===


def _load_onnx(path, threads):
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(f"{path}: needs ONNX Runtime: pip install 'rnan-tf[onnx]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no public base class
        raise _damaged(path, error) from error
    metadata = _checked(read_onnx_metadata(session.get_modelmeta().custom_metadata_map), path)

    def run(image, level=0.0):
        inputs = {"level": np.full(len(image), level, np.float32)} if metadata["conditional"] else {}
        return session.run(["restored"], {"image": np.ascontiguousarray(image, np.float32), **inputs})[0]

    return metadata, run, lambda: _onnx_operators(path)


def read_onnx_metadata(properties: dict[str, str]) -> dict:
    """Return the metadata in an ONNX model's properties: `task` is plain text, the others are JSON."""
    return {key: value if key == "task" else json.loads(value) for key, value in properties.items() if key in _KEYS}


def _onnx_operators(path):
    import onnx

    def nodes(graph):
        for node in graph.node:
            yield node.op_type
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    yield from nodes(attribute.g)

    return dict(Counter(nodes(onnx.load(path).graph)).most_common())


def _checked(metadata, path):
    missing = _KEYS - set(metadata or {})
    if missing:
        raise InputError(f"{path}: does not say {', '.join(sorted(missing))}; export it with `rnan-tf export`")
    return metadata


def _damaged(path, error):
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return InputError(f"{path}: cannot be loaded ({reason[:200]}); copy or export it again")
