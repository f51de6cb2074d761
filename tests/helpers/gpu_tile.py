"""Restore one tile with LiteRT's GPU delegate: `python -m tests.helpers.gpu_tile MODEL.tflite INPUTS.npz OUTPUT.npy`.

A process of its own, whose environment `environment()` must be set when it starts. INPUTS holds the inputs in their
order, as `arr_0`, `arr_1`; the last line that it prints is JSON.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

# SwiftShader, a Vulkan device in software, as Debian's chromium brings it; its mesa-vulkan-drivers do not work here.
DRIVER = Path("/usr/lib/chromium/vk_swiftshader_icd.json")


def environment() -> dict[str, str]:
    """What LiteRT needs to find its GPU delegate and the delegate its device."""
    import ai_edge_litert

    return {**os.environ, "VK_ICD_FILENAMES": str(DRIVER), "LD_LIBRARY_PATH": str(Path(ai_edge_litert.__file__).parent)}


def main(model_path: str, inputs_path: str, output_path: str) -> None:
    """Run the tile, save the output and print whether every operator was accelerated, and the seconds it took."""
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.hardware_accelerator import HardwareAccelerator

    model = CompiledModel.from_file(model_path, hardware_accel=HardwareAccelerator.GPU)
    inputs, outputs = model.create_input_buffers(0), model.create_output_buffers(0)
    for buffer, values in zip(inputs, np.load(inputs_path).values(), strict=True):
        buffer.write(np.ascontiguousarray(values))
    size = int(np.prod(next(iter(model.get_output_tensor_details("serving_default").values()))["shape"]))
    start = time.perf_counter()
    model.run_by_index(0, inputs, outputs)
    np.save(output_path, outputs[0].read(size, np.float32))
    seconds = time.perf_counter() - start
    print(json.dumps({"accelerated": bool(model.is_fully_accelerated()), "seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
