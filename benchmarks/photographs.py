"""Write docs/images/photograph-*.png: what the bundled networks do to photographs that no one degraded on purpose.

Each strip is a piece of the photograph beside the same piece of what docs/photographs.md's commands make of it.
"""

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from rnan_tf.quiet import import_tensorflow

import_tensorflow()

import matplotlib as mpl
import numpy as np
import skimage.data

from rnan_tf.cli import main as rnan_tf
from rnan_tf.photos.photo import Photo, read_photo, write_photo

SKIMAGE = Path(skimage.data.__file__).parent
# Name -> (file, rows, columns, options of `rnan-tf restore` for each picture after the first).
STRIPS = {
    "hubble": (
        SKIMAGE / "hubble_deep_field.jpg",
        (360, 520),
        (320, 480),
        ("--task denoise", "--task denoise --sigma 10"),
    ),
    "rocket": (SKIMAGE / "rocket.jpg", (280, 420), (280, 440), ("--task denoise", "--task denoise --sigma 10")),
    "hopper": (
        Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg",
        (150, 350),
        (140, 340),
        ("--task jpeg", "--task denoise --sigma 15"),
    ),
}
ENLARGED = 2

if __name__ == "__main__":
    for name, (file, rows, columns, restorations) in STRIPS.items():
        photos = [read_photo(file).pixels]
        with tempfile.TemporaryDirectory() as folder:
            for options in restorations:
                result = Path(folder) / "restored.png"
                if code := rnan_tf(["restore", str(file), "-o", str(result), *options.split()]):
                    sys.exit(code)
                photos.append(read_photo(result).pixels)
        strip = np.concatenate([photo[slice(*rows), slice(*columns)] for photo in photos], axis=1)
        strip = strip.repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)
        write_photo(ROOT / "docs" / "images" / f"photograph-{name}.png", Photo(strip, None, None, "PNG"))
