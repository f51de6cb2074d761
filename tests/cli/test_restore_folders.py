"""The command `rnan-tf restore` given folders: what goes where, what is left out, and what is told."""

import csv
import os
import pathlib
import re
import time

import numpy as np
from PIL import Image, ImageCms

from rnan_tf.cli import jobs, restore
from rnan_tf.photos.photo import read_photo
from tests.helpers.command_line import RGB, save

MODEL = "--model M/jpeg.keras"


def results(folder="out"):
    return sorted(str(path.relative_to(folder)) for path in pathlib.Path(folder).rglob("*") if path.is_file())


def planned(*photos, output="out", extension=None):
    return [(job.source, job.target) for job in jobs.plan(list(photos), output, extension)]


class TestPlaces:
    def test_a_tree_is_mirrored(self, rnan_tf):
        for name in ("photos/a.png", "photos/x/a.png", "photos/x/y/b.jpg"):
            save(name)
        assert rnan_tf(f"restore photos -o out {MODEL}")[0] == 0
        assert results() == ["a.png", "x/a.png", "x/y/b.jpg"]

    def test_files_of_one_name_lie_as_their_photographs_do(self, workplace):
        for name in ("2023/a.png", "2024/a.png", "a.png"):
            save(name)
        assert [target for _, target in planned("2023", "2024")] == ["out/2023/a.png", "out/2024/a.png"]
        targets = [target for _, target in planned("a.png", "2023/a.png", "2024/a.png")]
        assert targets == ["out/a.png", "out/2023/a.png", "out/2024/a.png"]

    def test_names_that_are_one_on_some_disks_get_a_number(self, workplace):
        for name in ("p/A.png", "p/a.png", "p/a-2.png", "p/B.jpg", "p/b.heic", "p/\u00e9.png", "p/e\u0301.png"):
            pathlib.Path(name).parent.mkdir(exist_ok=True)
            pathlib.Path(name).touch()
        targets = [target for _, target in planned("p", extension=".png")]
        folded = {jobs._folded(target) for target in targets}
        assert len(folded) == len(targets) == 7
        assert all(target.endswith(".png") for target in targets)

    def test_what_cannot_be_written_becomes_png_or_tiff(self, workplace):
        for name in ("p/a.heic", "p/b.dng", "p/c.JPG"):
            pathlib.Path(name).parent.mkdir(exist_ok=True)
            pathlib.Path(name).touch()
        assert [target for _, target in planned("p")] == ["out/a.png", "out/b.tif", "out/c.JPG"]

    def test_results_inside_the_folder_are_not_restored_again(self, rnan_tf):
        save("photos/a.png")
        for _ in range(2):
            assert rnan_tf(f"restore photos -o photos/out {MODEL}")[0] == 0
            assert results("photos") == ["a.png", "out/a.png"]

    def test_an_unreadable_name_is_one_line(self, rnan_tf):
        name = "photos/a\nb\x1b.png"
        save(name)
        code, out, _ = rnan_tf(f"restore photos -o out {MODEL}")
        assert code == 0 and out == [r"[1/1] photos/a\nb\x1b.png -> out/a\nb\x1b.png"]
        assert results() == ["a\nb\x1b.png"]


class TestParts:
    def test_shards_are_disjoint_and_complete_whatever_else_is_there(self, workplace):
        for number in range(40):
            save(f"p/{number % 3}/{number}.png", RGB[:2, :2])
        everything = jobs.plan(["p"], "out")
        parts = [jobs.in_shard(everything, "out", number, 3) for number in (1, 2, 3)]
        assert sorted(job for part in parts for job in part) == sorted(everything)
        assert all(len(part) > 5 for part in parts)
        save("p/0/a new one.png", RGB[:2, :2])
        again = jobs.in_shard(jobs.plan(["p"], "out"), "out", 1, 3)
        assert set(parts[0]) <= set(again) and len(again) - len(parts[0]) in (0, 1)

    def test_an_empty_shard_is_no_failure(self, rnan_tf):
        save("p/a.png")
        codes = [rnan_tf(f"restore p -o out {MODEL} --shard {number}/3")[0] for number in (1, 2, 3)]
        assert codes == [0, 0, 0] and results() == ["a.png"]

    def test_existing_results_are_skipped_if_they_are_whole(self, rnan_tf):
        for name in ("a.png", "b.png", "c.jpg", "d.webp", "e.tif", "f.png", "g.avif"):
            save(f"p/{name}")
        assert rnan_tf(f"restore p -o out {MODEL}")[0] == 0
        whole = {name: (pathlib.Path("out") / name).read_bytes() for name in results()}
        for name, data in whole.items():
            (pathlib.Path("out") / name).write_bytes(data[:-20] if name != "a.png" else data)
        pathlib.Path("out/f.png").write_bytes(b"")
        before = os.stat("out/a.png").st_mtime_ns
        code, out, _ = rnan_tf(f"restore p -o out {MODEL} --skip-existing")
        assert (
            code == 0
            and sum(" -> " in line for line in out) == 6
            and out[0] == "6 photographs to restore; 1 result exists already"
        )
        assert os.stat("out/a.png").st_mtime_ns == before
        assert {name: (pathlib.Path("out") / name).read_bytes() for name in results()} == whole
        assert rnan_tf(f"restore p -o out {MODEL} --skip-existing")[1] == [
            "0 photographs to restore; 7 results exist already"
        ]


class TestTelling:
    def test_a_dry_run_writes_nothing(self, rnan_tf):
        save("p/a.jpg", quality=30)
        save("p/b.png")
        code, out, err = rnan_tf("restore p -o out --dry-run")
        assert (code, err, os.path.exists("out")) == (0, [], False)
        assert out == [
            "[1/2] p/a.jpg -> out/a.jpg",
            "jpeg-color, since the JPEG's quality is under 90: JPEG quality 30, by the file's tables",
            "[2/2] p/b.png -> out/b.png",
            "nothing to do: it is no JPEG and shows no noise; give --task if it needs something",
        ]

    def test_the_count_of_one_photograph(self, rnan_tf):
        save("p/a.png")
        save("p/b.png")
        save("out/a.png")
        out = rnan_tf(f"restore p -o out {MODEL} --skip-existing")[1]
        assert out[0] == "1 photograph to restore; 1 result exists already"

    def test_a_quality_that_the_chosen_network_is_not_told(self, rnan_tf):
        """Of gray JPEGs: the colour ones beside them have asked for it."""
        save("p/a.jpg", quality=60)
        save("p/b.jpg", RGB[..., 0], quality=60)
        for task in ("", "--task jpeg"):
            code, out, err = rnan_tf(f"restore p -o out --quality 30 --dry-run {task}")
            assert (code, err) == (0, [])
            assert out == [
                "[1/2] p/a.jpg -> out/a.jpg",
                "[2/2] p/b.jpg -> out/b.jpg",
                "JPEG quality 60, by the file's tables",
                "--quality is left out: jpeg is not told it",
            ]
        assert rnan_tf("restore p/b.jpg -o c.png --task jpeg --quality 30 --fast")[0] == 0
        assert rnan_tf("restore p/b.jpg -o d.png --task jpeg --fast")[0] == 0
        np.testing.assert_array_equal(read_photo("c.png").pixels, read_photo("d.png").pixels)

    def test_a_quality_that_the_network_does_not_know(self, rnan_tf):
        save("a.jpg", quality=100)
        out = rnan_tf("restore a.jpg -o b.png --task jpeg --dry-run")[1]
        assert out[1:] == ["JPEG quality 100, by the file's tables; jpeg-color is told 95"]

    def test_a_dry_run_loads_no_network(self, run_python, workplace, models):
        save("a.jpg", quality=30)
        noisy = np.random.default_rng(0).normal(128, 20, (64, 64, 3)).round().clip(0, 255).astype(np.uint8)
        save("b.png", noisy)
        script = """
import json, sys
from rnan_tf.cli import main
code = main(["restore", *sys.argv[1:], "-o", "out", "--dry-run"])
print(json.dumps([code, [name for name in ("tensorflow", "keras", "ai_edge_litert") if name in sys.modules]]))
"""
        for more in ([], ["--task", "denoise"], ["--model", models / "denoise.keras"]):
            assert run_python(script, "a.jpg", "b.png", *more) == [0, []]

    def test_what_killed_runs_left_behind_is_removed(self, rnan_tf):
        save("p/sub/a.png")
        left = [pathlib.Path("out") / place / f".rnan-tf-{'0' * 16}-a.png" for place in ("", "sub", "other")]
        for path in left:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"half")
            os.utime(path, (time.time() - 4000,) * 2)
        young = left[1].with_name(f".rnan-tf-{'1' * 16}-a.png")
        young.write_bytes(b"of another run")
        assert rnan_tf(f"restore p -o out {MODEL}")[0] == 0
        assert [path.exists() for path in (*left, young)] == [True, False, True, True]

    def test_the_report(self, rnan_tf, workplace):
        save("p/a.jpg", quality=30)
        save(os.path.join("p", os.fsdecode(b"\xe9\n.png")))
        (workplace / "p/c.png").write_text("no photograph")
        assert rnan_tf("restore p -o out --model M/jpeg-color.keras --report r.csv")[0] == 1
        with open("r.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert list(rows[0]) == ["file", "task", "strength", "pixels", "seconds", "error"]
        by_name = {row["file"]: row for row in rows}
        assert len(rows) == 3 and by_name["p/a.jpg"]["strength"] == "30"
        assert by_name["p/a.jpg"]["task"] == "jpeg-color" and by_name["p/a.jpg"]["pixels"] == str(31 * 37)
        assert float(by_name["p/a.jpg"]["seconds"]) > 0 and by_name["p/a.jpg"]["error"] == ""
        assert "is not a PNG" in by_name["p/c.png"]["error"]

    def test_a_file_that_vanishes(self, rnan_tf, monkeypatch):
        for name in ("p/a.png", "p/b.png", "p/c.png"):
            save(name)
        read = restore.read_photo

        def vanishing(path, *more):
            if "a.png" in path:
                os.remove("p/b.png")
            return read(path, *more)

        monkeypatch.setattr(restore, "read_photo", vanishing)
        code, _, err = rnan_tf(f"restore p -o out {MODEL}")
        assert code == 1 and results() == ["a.png", "c.png"]
        assert err[0] == "skipped: p/b.png: no such file; check the path"


class TestOptions:
    def test_format_and_quality(self, rnan_tf):
        save("p/a.png")
        save("p/b.jpg", quality=93)
        assert rnan_tf(f"restore p -o out {MODEL} --format jpg --jpeg-quality 60")[0] == 0
        assert results() == ["a.jpg", "b.jpg"]
        save("oracle.jpg", quality=60)
        with Image.open("oracle.jpg") as oracle:
            for name in results():
                with Image.open(f"out/{name}") as image:
                    assert image.quantization == oracle.quantization

    def test_a_jpeg_keeps_its_quality_unless_its_artifacts_were_restored(self, rnan_tf):
        save("a.jpg", quality=70)
        assert rnan_tf("restore a.jpg -o b.jpg --model M/denoise.keras --sigma 5")[0] == 0
        assert rnan_tf(f"restore a.jpg -o c.jpg {MODEL}")[0] == 0
        with Image.open("a.jpg") as a, Image.open("b.jpg") as b, Image.open("c.jpg") as c:
            assert a.quantization == b.quantization and a.layer == b.layer
            assert max(c.quantization[0]) < max(a.quantization[0])
        assert read_photo("c.jpg").jpeg.quality == 95

    def test_metadata_are_kept_or_stripped(self, rnan_tf):
        exif = Image.Exif()
        exif[0x010F] = "Maker"
        save("a.png", exif=exif, dpi=(300, 300))
        for option, maker in (("", "Maker"), ("--strip-metadata", None)):
            assert rnan_tf(f"restore a.png -o b.jpg {MODEL} {option}")[0] == 0
            with Image.open("b.jpg") as image:
                assert image.getexif().get(0x010F) == maker
                assert image.info.get("dpi") == ((300, 300) if maker else None)

    def test_what_a_format_cannot_hold_is_named(self, rnan_tf):
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        exif, size = Image.Exif(), f"{len(profile)} bytes"
        assert len(profile) < 1000
        exif[0x010F] = "Maker"
        save("a.png", exif=exif, icc_profile=profile)
        code, out, _ = rnan_tf(f"restore a.png -o b.bmp {MODEL}")
        assert code == 0 and len(out) == 3
        assert re.fullmatch(r"\d\d bytes of EXIF data left out, which BMP cannot hold", out[1])
        assert out[2] == f"{size} of ICC profile left out, which BMP cannot hold"
        assert len(rnan_tf(f"restore a.png -o b.tif {MODEL}")[1]) == 1
        save("g.png", RGB[..., 0], icc_profile=profile[:16] + b"GRAY" + profile[20:])
        out = rnan_tf(f"restore g.png -o b.webp {MODEL}")[1]
        assert out[1] == f"{size} of ICC profile left out, which WEBP cannot hold"
        out = rnan_tf("restore g.png -o b.png --model M/denoise.keras --sigma 5")[1]
        assert len(out) == 1 or out[1] == f"{size} of ICC profile left out, which is not for the result's channels"

    def test_max_pixels(self, refused):
        save("a.png")
        refused(f"restore a.png -o b.png {MODEL} --max-pixels 1000", 1, "37 x 31 pixels, over the limit of 1000")

    def test_blend(self, rnan_tf):
        save("a.png")
        restored = {}
        for blend in ("0", "0.5", "1"):
            assert rnan_tf(f"restore a.png -o b.png --model M/denoise.keras --sigma 60 --blend {blend}")[0] == 0
            restored[blend] = read_photo("b.png").pixels.astype(float)
        np.testing.assert_array_equal(restored["0"], RGB)
        assert np.abs(restored["1"] - RGB).mean() > 1
        np.testing.assert_allclose(restored["0.5"], (restored["1"] + RGB) / 2, atol=0.51)
