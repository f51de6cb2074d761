"""export_tflite: conversion, quantization and the command line, with LiteRT as the judge."""

import functools
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from PIL import Image

from rnan_tf.cli import export_tflite as cli_export
from rnan_tf.errors import InputError, JobError
from rnan_tf.export.patches import cut_patches
from rnan_tf.export.tflite import exporting as export_tflite
from rnan_tf.export.tflite import lint as tflite_lint
from rnan_tf.export.tflite import quantization
from rnan_tf.restoring.card import card_of
from rnan_tf.restoring.restorer import Restorer
from rnan_tf.restoring.runtimes import open_runtime
from rnan_tf.restoring.runtimes.keras import KerasRuntime
from rnan_tf.restoring.runtimes.litert import LiteRtRuntime, count_operators
from rnan_tf.restoring.tiling import Tiling, restore
from rnan_tf.tasks.task import TASKS
from tests.helpers.quick import quick
from tests.helpers.random_networks import with_large_scores
from tests.helpers.tflite_networks import LITE, PAPER, TILE, parsed, random_model

KINDS = {
    "denoise": {**LITE, "conditional": True},
    "denoise-gray": {**PAPER, "channels": 1, "conditional": True, "normalize_over": "queries"},
    "demosaic": PAPER,
    "jpeg": {**LITE, "channels": 1, "normalize_over": "queries"},
    "jpeg-color": {**LITE, "conditional": True},
    "sr-x2": {**LITE, "scale": 2},
    "sr-x3": {**PAPER, "scale": 3, "value_range": 255.0},
}


def random_image(channels=3, size=TILE, seed=0):
    return np.random.default_rng(seed).random((1, size, size, channels), dtype=np.float32)


@functools.cache
def converted(kind):
    """(a network of a kind, its TFLite content)."""
    model = random_model(kind, **KINDS[kind])
    return model, export_tflite.convert(model, TILE)


@functools.cache
def carded(kind):
    """`converted`'s content with its card, as files have it."""
    model, content = converted(kind)
    return export_tflite.add_card(content, card_of(model, kind))


def run(content, image, strength=0.0):
    return LiteRtRuntime.from_content("the model", content).run(image, strength)


def matrix_product_ranks(content):
    """How many dimensions matrix products have; with three, some GPUs compute them wrongly."""
    root = parsed(content)
    (graph,), code = root.subgraphs, schema.BuiltinOperator.BATCH_MATMUL
    products = [op for op in graph.operators if root.operatorCodes[op.opcodeIndex].builtinCode == code]
    return {len(graph.tensors[i].shape) for product in products for i in [*product.inputs, *product.outputs]}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    y, x = np.mgrid[:60, :80] / 80
    for i, brightness in enumerate((0.1, 1.0)):
        waves = np.stack([np.sin(9 * y + 5 * x * (c + i)) for c in range(3)], axis=-1) * 0.5 + 0.5
        Image.fromarray(np.rint(waves * 255 * brightness).astype(np.uint8)).save(folder / f"{i}.png")
    return folder


class TestConversion:
    @pytest.mark.parametrize("kind", quick(["denoise", "sr-x3"], KINDS))
    def test_same_numbers_and_nothing_an_accelerator_lacks(self, kind):
        model, content = converted(kind)
        assert tflite_lint.lint(content) == ["no metadata rnan_tf: a host could not know how to tile"]
        assert matrix_product_ranks(content) == {4}
        image = random_image(model.channels)
        strength = np.array([0.2], np.float32)
        actual = run(carded(kind), image, 0.2 * 255)
        expected = np.asarray(model({"image": image, "level": strength} if model.conditional else image))
        assert actual.shape == expected.shape == (1, TILE * model.scale, TILE * model.scale, model.channels)
        assert np.abs(actual - expected).max() < 1e-5 * max(np.abs(expected).max(), 1)  # measured 1e-6

    def test_the_strength_is_used(self):
        runtime = LiteRtRuntime.from_content("the model", carded("denoise"))
        image = random_image()
        assert np.abs(runtime.run(image, 0.0) - runtime.run(image, 0.3 * 255)).max() > 1e-3

    @pytest.mark.parametrize("normalize_over", quick(["keys"], ["keys", "queries"]))
    def test_chunks_are_unrolled_and_exact(self, monkeypatch, normalize_over):
        model = random_model(**{**LITE, "space_to_depth": 1, "normalize_over": normalize_over})
        monkeypatch.setattr(export_tflite, "CHUNK_ELEMENTS", 20_000)  # 256 x 256 scores: four chunks of 64 rows
        content = export_tflite.add_card(export_tflite.convert(model, TILE), card_of(model, "the model"))
        assert count_operators(content)["SOFTMAX"] == 2 * 4
        assert not any("subgraphs" in problem or "BATCH_MATMUL" in problem for problem in tflite_lint.lint(content))
        image = random_image()
        assert np.abs(run(content, image) - np.asarray(model(image))).max() < 1e-5

    def test_a_converter_that_fails_is_reported_in_a_line(self, monkeypatch):
        def fail(self):
            raise ValueError("no such operator\nstack trace")

        monkeypatch.setattr(
            tf.lite.TFLiteConverter, "from_saved_model", lambda *a, **k: type("C", (), {"convert": fail})()
        )
        with pytest.raises(JobError, match=r"^TensorFlow's converter failed \(no such operator\)"):
            export_tflite.convert(random_model(**LITE), TILE)


class TestQuantization:
    def weights(self, content):
        """{layer: type of its weights} of all convolutions, a DEQUANTIZE looked through."""
        graph, types = parsed(content).subgraphs[0], {v: k for k, v in vars(schema.TensorType).items()}
        codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in parsed(content).operatorCodes]
        made_by = {op.outputs[0]: op for op in graph.operators}
        result = {}
        for op in graph.operators:
            if codes[op.opcodeIndex] in (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.TRANSPOSE_CONV):
                kernel = op.inputs[1]
                kernel = made_by[kernel].inputs[0] if kernel in made_by else kernel
                # Of the fused names, such as "m/from_range_1/add;m/tail_1/convolution;...", the convolution's.
                names = graph.tensors[op.outputs[0]].name.decode().split(";")
                name = next(name for name in names if re.search(r"/(convolution|conv_transpose)\d*$", name))
                layer = re.sub(r"_1(?=/|$)", "", name.split("/", 1)[1].rsplit("/", 1)[0])
                result[layer] = types[graph.tensors[kernel].type]
        return result

    @pytest.mark.parametrize("kind", ["demosaic", "sr-x3"])
    def test_int8_leaves_the_ends_in_float16(self, kind):
        content = carded(kind)
        weights = self.weights(quantization.quantize(content, quantization.INT8_RECIPES[1], ()))
        assert len(weights) == count_operators(content)["CONV_2D"] + count_operators(content)["TRANSPOSE_CONV"]
        in_float16 = {name for name, kind in weights.items() if kind == "FLOAT16"}
        upsampling = {"upsample_0"} if kind == "sr-x3" else set()
        attention = {f"rnab_{end}/mask/non_local/{n}" for end in ("low", "high") for n in ("theta", "phi", "g", "w")}
        assert in_float16 == {"head", "tail", "rnab_high/conv"} | upsampling | attention
        assert {kind for name, kind in weights.items() if name not in in_float16} == {"INT8"}

    @pytest.mark.parametrize(
        "recipe, size, error",
        # Measured: size 0.29 to 0.55 of float32 (biases and names weigh more in a small network); errors 0.0004, 0.02.
        [
            (quantization.FLOAT16, 0.65, 2e-3),
            (quantization.DYNAMIC, 0.5, 0.1),
            (quantization.INT8_RECIPES[-1], 0.5, 0.1),
        ],
    )
    def test_smaller_and_close(self, recipe, size, error):
        content = carded("demosaic")
        small = quantization.quantize(content, recipe, ())
        assert len(small) < size * len(content)
        image = random_image()
        difference = np.abs(run(small, image) - run(content, image)).max()
        assert 0 < difference < error

    def test_the_fastest_recipe_that_is_good_enough_is_chosen(self, photographs):
        content, recipes = carded("demosaic"), quantization.INT8_RECIPES
        patches = cut_patches(sorted(photographs.iterdir()), TASKS["demosaic"], None, TILE, 6)
        models = {recipe.name: quantization.quantize(content, recipe, ()) for recipe in recipes}

        def psnr_of(model):
            images = [np.rint(np.clip(run(model, p.degraded)[0], 0, 1) * 255) for p in patches]
            errors = [np.mean((image - p.clean) ** 2) for image, p in zip(images, patches, strict=True)]
            return np.mean(10 * np.log10(255**2 / np.array(errors)))

        losses = [psnr_of(content) - psnr_of(models[recipe.name]) for recipe in recipes]
        for wanted in sorted(losses):
            first = next(recipe for recipe, loss in zip(recipes, losses, strict=True) if loss <= wanted)
            assert quantization.choose_int8(content, models, patches, 2 * wanted + 1e-6) == first
        assert quantization.choose_int8(content, models, patches, -10) == recipes[int(np.argmin(losses))]

    def test_static_ranges_come_from_the_patches(self, photographs):
        files = sorted(photographs.iterdir())
        content = carded("denoise")
        patches = cut_patches(files, TASKS["denoise"], (0, 75), TILE, 3)
        static = quantization.quantize(content, quantization.FRONTIER[1], patches)
        assert count_operators(static)["QUANTIZE"] > 0
        assert "QUANTIZE" not in count_operators(content)

    def test_patches(self, photographs):
        files = sorted(photographs.iterdir())
        patches = cut_patches(files, TASKS["sr-x2"], None, 12, 6)
        again = cut_patches(files, TASKS["sr-x2"], None, 12, 6)
        assert [patch.degraded.shape for patch in patches] == [(1, 12, 12, 3)] * 6
        assert [patch.clean.shape for patch in patches] == [(24, 24, 3)] * 6
        assert all(np.array_equal(a.degraded, b.degraded) for a, b in zip(patches, again, strict=True))
        strengths = [patch.strength for patch in cut_patches(files, TASKS["denoise"], (0, 30), 16, 9)]
        assert strengths == [10, 10, 10, 30, 30, 30, 10, 10, 10]
        # Image 1's are random or bright at odd numbers, image 0's random or dark: extremes of sixteen crops.
        dark, bright = (np.mean(patches[number].clean) for number in (4, 5))
        image0, image1 = (np.asarray(Image.open(file)) for file in files)
        assert dark < np.mean(image0 if 4 % 2 == 0 else image1) and bright > np.mean(image1)

    def test_mosaic_patches_keep_their_phase(self, photographs):
        for patch in cut_patches(sorted(photographs.iterdir()), TASKS["demosaic"], None, 16, 6):
            assert not patch.degraded[0, ::2, ::2, 0].any() and not patch.degraded[0, ::2, 1::2, 1].any()


@pytest.fixture
def saved(demosaic, tmp_path):
    path = tmp_path / "model.keras"
    demosaic[0].save(path)
    return path


@pytest.fixture
def convert_once(demosaic, monkeypatch):
    monkeypatch.setattr(export_tflite, "PATCHES", 3)
    monkeypatch.setattr(export_tflite, "convert", lambda model, tile: demosaic[2])


class TestCommand:
    def run(self, *args):
        return cli_export.main([str(arg) for arg in args])

    def test_all_variants(self, demosaic, saved, photographs, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(export_tflite, "PATCHES", 6)
        folder = tmp_path / "out"
        args = ("--model", saved, "--output", folder, "--tile", TILE, "--overlap", 4, "--calibration", photographs)
        assert self.run(*args) == 0
        names = [f"demosaic-{variant}.tflite" for variant in ("dynamic", "fp16", "fp32", "int8")]
        assert sorted(path.name for path in folder.iterdir()) == [*names, "tflite.md"]
        report = (folder / "tflite.md").read_text()
        assert report in capsys.readouterr().out
        assert sum(line.count("chosen") for line in report.splitlines()) == 1
        assert all(f"| {recipe.name} |" in report for recipe in quantization.FRONTIER)
        pixels = np.random.default_rng(0).integers(0, 256, (29, 43, 3), dtype=np.uint8)
        expected = restore(KerasRuntime(demosaic[0]).run, pixels, 1, Tiling(TILE, 4, fixed=True)).astype(int)
        for name, most in zip(names, (40, 1, 0, 40), strict=True):
            restorer = Restorer(open_runtime(folder / name))
            assert tflite_lint.lint((folder / name).read_bytes()) == []
            difference = np.abs(restore(restorer.predictor(0), pixels, 1, restorer.tiling()) - expected)
            assert difference.max() <= most + (name == names[2] and 1)  # a rounding boundary may be crossed
            assert restorer.card.details["variant"] in name

    @pytest.mark.usefixtures("convert_once")
    def test_a_failed_check_leaves_nothing(self, saved, photographs, tmp_path, monkeypatch, capsys):
        monkeypatch.setitem(export_tflite.TOLERANCES, "fp16", -1.0)
        args = ("--model", saved, "--output", tmp_path / "out", "--tile", TILE, "--overlap", 4)
        assert self.run(*args, "--variants", "fp16", "--calibration", photographs) == 1
        assert not list((tmp_path / "out").iterdir())
        (line,) = capsys.readouterr().err.splitlines()
        assert "demosaic-fp16.tflite: " in line and "dB worse than the Keras model" in line and "not written" in line

    @pytest.mark.usefixtures("convert_once")
    def test_a_linter_problem_leaves_nothing(self, saved, photographs, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(export_tflite, "lint", lambda content: ["WHILE (x)", "IF (y)"])
        args = ("--model", saved, "--output", tmp_path / "out", "--tile", TILE, "--overlap", 4)
        assert self.run(*args, "--variants", "fp32", "--calibration", photographs) == 1
        assert not list((tmp_path / "out").iterdir())
        assert "WHILE (x) (and 1 more problems); not written" in capsys.readouterr().err

    @pytest.mark.slow
    def test_float16_that_would_overflow_is_refused_and_the_rest_written(self, photographs, tmp_path, capsys):
        model = with_large_scores(random_model(**LITE), 1e6)
        model.save(tmp_path / "large.keras")
        args = ("--model", tmp_path / "large.keras", "--output", tmp_path / "out", "--tile", TILE, "--overlap", 4)
        args = (*args, "--calibration", photographs, "--variants")
        assert self.run(*args, "fp32", "fp16") == 1
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["demosaic-fp32.tflite", "tflite.md"]
        out, err = capsys.readouterr()
        assert "over 50 tiles: " in out and "| fp32 |" in out
        (line,) = err.splitlines()
        assert re.search(r"demosaic-fp16.tflite: values reach [\d,]{6,} \(.*non_local.*\), 30,000 at most", line)
        assert self.run(*args, "fp16") == 1
        assert len(capsys.readouterr().err.splitlines()) == 1

    def test_wrong_use(self, saved, photographs, tmp_path, capsys):
        keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "dense.keras")
        (tmp_path / "empty").mkdir()
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "letter.txt").write_text("Dear")
        good = {"--model": saved, "--output": tmp_path / "out", "--calibration": photographs, "--tile": TILE}
        cases = [
            ({"--model": tmp_path / "dense.keras"}, "not an RNAN"),
            ({"--model": tmp_path / "none.keras"}, "no such model"),
            ({"--calibration": tmp_path / "empty"}, "empty"),
            ({"--calibration": tmp_path / "none"}, "none"),
            ({"--output": tmp_path / "full"}, "holds letter.txt, not only exports"),
            ({"--output": saved}, "is a file"),
            ({"--tile": 30}, "--tile must be a multiple of 4"),
            ({"--tile": 128}, "none of 2 images can be used"),
            ({"--task": "sr-x2"}, "trained for task demosaic, not sr-x2"),
            ({"--task": "sr"}, "task sr is sr-x2, sr-x3 or sr-x4 now"),
        ]
        for change, message in cases:
            arguments = [part for pair in {"--overlap": 4, **good, **change}.items() for part in pair]
            assert self.run(*arguments) == 2, change
            line = capsys.readouterr().err.splitlines()[-1]
            assert line.startswith("error: ") and message in line, line
        assert not (tmp_path / "out").exists()

    def test_missing_extra(self, saved, tmp_path, monkeypatch, capsys):
        import importlib.util

        find = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: None if name == "ai_edge_quantizer" else find(name)
        )
        assert self.run("--model", saved, "--output", tmp_path / "out") == 2
        assert capsys.readouterr().err == "error: ai_edge_quantizer not installed: pip install 'rnan-tf[tflite]'\n"


def test_float16_of_a_network_that_normalises_over_the_queries_is_refused():
    model = random_model(**{**LITE, "normalize_over": "queries"})
    assert export_tflite.check_variants(model, None) == ["fp32", "dynamic", "int8"]
    assert export_tflite.check_variants(model, ["fp32"]) == ["fp32"]
    with pytest.raises(InputError, match="fp16 overflows"):
        export_tflite.check_variants(model, ["fp32", "fp16"])
    assert "fp16" in export_tflite.check_variants(random_model(**LITE), None)
