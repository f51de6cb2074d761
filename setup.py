import re
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "rnan_tf/__init__.py").read_text(encoding="utf-8"))[1]

# The README's table of dependencies has the reason for each.
TRAIN = ["matplotlib>=3.8", "tensorboard>=2.19"]
TFLITE = ["ai-edge-litert>=2.3", "ai-edge-quantizer>=0.10"]
SERVING = ["grpcio>=1.60", "tensorflow-serving-api>=2.19"]
ONNX = ["onnx>=1.17", "onnxruntime>=1.20", "tf2onnx>=1.17"]

setup(
    name="rnan-tf",
    version=VERSION,
    description="Residual Non-local Attention Networks (RNAN) for image restoration, for TensorFlow and Keras",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=["rnan_tf", "rnan_tf.weights"],
    package_data={"rnan_tf.weights": ["manifest.json", "*.keras"]},
    python_requires=">=3.11",
    install_requires=[
        "tensorflow>=2.21",
        "keras>=3.15",
        "numpy>=1.26",
        "pillow>=10.4",
        "PyWavelets>=1.6",
        "scikit-image>=0.24",
        "scipy>=1.13",
        "tifffile>=2024.2.12",
        "tqdm>=4.66",
    ],
    extras_require={
        "train": TRAIN,
        "torch": ["torch>=2.2"],
        "tflite": TFLITE,
        "onnx": ONNX,
        "serving": SERVING,
        "export": [*TFLITE, *ONNX, *SERVING],
        "dev": [
            *TRAIN,
            *TFLITE,
            *ONNX,
            *SERVING,
            "jax>=0.4.30",
            "pytest>=8",
            "pytest-xdist>=3.6",
            "ruff>=0.9",
            "setuptools>=77",
        ],
    },
    entry_points={"console_scripts": ["rnan-tf = rnan_tf.cli:main"]},
)
