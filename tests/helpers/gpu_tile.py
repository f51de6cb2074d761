"""Restore one tile with LiteRT's GPU delegate: `python -m tests.helpers.gpu_tile MODEL.tflite INPUTS.npz OUTPUT.npy`.

A process of its own, whose environment `environment()` must be set when it starts. INPUTS holds the inputs in their
order, as `arr_0`, `arr_1`; the last line that it prints is JSON. LiteRT waits for the output for some seconds only: on
a machine with many other jobs it ends in "Failed to lock custom tensor buffer".
"""

import ctypes.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rnan_tf.errors import JobError

ROOT = Path(__file__).resolve().parents[2]
# SwiftShader, a Vulkan device in software, as Debian's chromium brings it; its mesa-vulkan-drivers do not work here.
DRIVER = Path("/usr/lib/chromium/vk_swiftshader_icd.json")


def environment() -> dict[str, str]:
    """What LiteRT needs to find its GPU delegate and the delegate its device."""
    import ai_edge_litert

    return {**os.environ, "VK_ICD_FILENAMES": str(DRIVER), "LD_LIBRARY_PATH": str(Path(ai_edge_litert.__file__).parent)}


def is_missing() -> str | None:
    """What is not installed, and how to install it."""
    if DRIVER.is_file() and ctypes.util.find_library("vulkan"):
        return None
    return "LiteRT's GPU delegate finds no device: apt-get install chromium libvulkan1, for SwiftShader"


def restore(content: bytes, inputs: Mapping[str, np.ndarray]) -> tuple[bool, np.ndarray]:
    """Restore a tile in a process of its own.

    Args:
        content: of a `.tflite` file.
        inputs: name -> values, in the file's order.

    Returns:
        (whether the delegate took every operator; the output's values in one row).

    Raises:
        JobError: the process failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        model, given, output = (Path(folder) / name for name in ("model.tflite", "inputs.npz", "output.npy"))
        model.write_bytes(content)
        np.savez(given, *inputs.values())
        command = [sys.executable, "-m", "tests.helpers.gpu_tile", *map(str, (model, given, output))]
        done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if "Error" in line or "Failed" in line]
            raise JobError(f"LiteRT's GPU delegate failed: {' '.join(errors[-2:])}")
        return json.loads(done.stdout.splitlines()[-1])["accelerated"], np.load(output)


def main(model_path: str, inputs_path: str, output_path: str) -> None:
    """Run the tile, save the output and print whether every operator was accelerated."""
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.hardware_accelerator import HardwareAccelerator

    model = CompiledModel.from_file(model_path, hardware_accel=HardwareAccelerator.GPU)
    inputs, outputs = model.create_input_buffers(0), model.create_output_buffers(0)
    for buffer, values in zip(inputs, np.load(inputs_path).values(), strict=True):
        buffer.write(np.ascontiguousarray(values))
    size = int(np.prod(next(iter(model.get_output_tensor_details("serving_default").values()))["shape"]))
    model.run_by_index(0, inputs, outputs)
    np.save(output_path, outputs[0].read(size, np.float32))
    print(json.dumps({"accelerated": bool(model.is_fully_accelerated())}))


if __name__ == "__main__":
    main(*sys.argv[1:])
