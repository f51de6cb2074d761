#!/bin/sh
# Wrote the files of this folder, at the commit that README.md names: PYTHON=.../python sh make.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../../.." && pwd)
export PYTHONPATH="$repo" TF_CPP_MIN_LOG_LEVEL=3
python=${PYTHON:-$repo/.venv/bin/python}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" # paths are relative from here on, so that no file names a folder of this machine

train() { # PLAN ARGUMENTS...: the tiny network, on two threads
    "$python" "$repo/tests/training_driver.py" "$@" \
        --model rnan_lite --batch-size 2 --patch-size 16 --validate-every 3 --steps 12
}
rnan_tf() { "$python" -m rnan_tf.cli "$@"; }

# === A run that SIGTERM stopped after step 7 of 12, and what it ends with ===
train '{"end": ["step", 6, 15]}' --task denoise --level 0-75 --run-dir run || test $? = 143
rm -r run/tensorboard run/panel.png run/curves.png run/checkpoints/step-000000006
cp -r run resumed
train '{}' --task denoise --level 0-75 --run-dir resumed
"$python" - <<'PYTHON'
import json
from pathlib import Path
from tests.test_recovery import final_state
from tests.version_0_1 import machine

Path("resumed.json").write_text(json.dumps({"machine": machine(), **final_state(Path("resumed"))}, indent=1) + "\n")
PYTHON

# === Networks ===
train '{}' --task sr --level 2 --run-dir sr
train '{}' --task denoise-gray --level 25 --run-dir denoise-gray
mkdir models inputs
cp sr/best.keras models/sr-x2.keras
cp denoise-gray/best.keras models/denoise-gray.keras

# === Exports ===
for name in denoise sr-x2; do
    model=models/sr-x2.keras
    test $name = sr-x2 || model=run
    "$python" "$repo/export/export_tflite.py" --model $model --output tflite --variants fp32 int8
    for variant in fp32 int8; do mv tflite/*-$variant.tflite models/$name-$variant.tflite; done
    "$python" "$repo/export/export_onnx.py" --model $model --output models/$name.onnx
    "$python" "$repo/export/export_saved_model.py" --model $model --output saved_models/$name
    rm -r saved_models/$name/1/assets.extra # the warm-up requests, larger than the rest
    rmdir saved_models/$name/1/assets 2>/dev/null || true
done

# === Inputs of 64x48, and what the files make of them ===
"$python" - <<'PYTHON'
import numpy as np
import skimage.data
from PIL import Image

from rnan_tf.tasks import get_task

for name, level in (("denoise", 25), ("denoise-gray", 25), ("sr", 2)):
    task = get_task(name)
    scale = task.scale(level)
    crop = np.ascontiguousarray(skimage.data.astronaut()[90 : 90 + 48 * scale, 180 : 180 + 64 * scale])
    degraded = task.degraded(task.clean(crop, level), (0, 0), level)
    Image.fromarray(degraded.squeeze()).save(f"inputs/{name}.png" if name != "sr" else "inputs/sr-x2.png")
PYTHON
mkdir expected
rnan_tf restore inputs/denoise.png -o expected/run.png --model run --level 25
rnan_tf restore inputs/denoise-gray.png -o expected/denoise-gray.png --model models/denoise-gray.keras
rnan_tf restore inputs/sr-x2.png -o expected/sr-x2.png --model models/sr-x2.keras
for suffix in -fp32.tflite -int8.tflite .onnx; do
    rnan_tf restore inputs/denoise.png -o expected/denoise$suffix.png --model models/denoise$suffix --level 25
    rnan_tf restore inputs/sr-x2.png -o expected/sr-x2$suffix.png --model models/sr-x2$suffix
done
"$python" - <<'PYTHON'
from PIL import Image

from tests.version_0_1 import serve

for name, level in (("denoise", 25), ("sr-x2", None)):
    Image.fromarray(serve(f"saved_models/{name}/1", f"inputs/{name}.png", level)).save(f"expected/{name}-saved_model.png")
PYTHON

if grep -rlaE "$work|$repo|/work|/root|/home|/usr|/tmp|site-packages" .  --exclude-dir=resumed --exclude-dir=sr --exclude-dir=denoise-gray --exclude-dir=tflite; then
    echo "these files name paths" >&2
    exit 1
fi
tar c --sort=name --owner=0 --group=0 --numeric-owner run models saved_models | xz -9e > files.tar.xz
for name in files.tar.xz resumed.json inputs expected; do
    rm -rf "${here:?}/$name"
    cp -r $name "$here"
done
