"""photos.raw: DNGs written from known light come back as that light, and as LibRaw's own colours."""

import io
import sys

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageCms
from skimage.color import deltaE_ciede2000, rgb2lab

from rnan_tf.errors import InputError
from rnan_tf.photos.noise import estimate_noise, measure_noise
from rnan_tf.photos.photo import Photo
from rnan_tf.photos.pixels import CFA_PATTERNS
from rnan_tf.photos.raw import is_raw, mosaic_planes, read_raw, srgb_decode, srgb_encode, srgb_profile
from tests.helpers.raw_files import GAINS, camera_light, open_by_libraw, sample, write_dng

CAT = skimage.data.chelsea()[60:181, 120:269]  # of odd size, and no colour that the camera would see as negative
# Twenty-four colours, each on 24x24 pixels: what any demosaicing makes of their middles is their colour.
COLORS = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
CHART = COLORS.repeat(24, axis=0).repeat(24, axis=1)


def middles(image):
    return image[12::24, 12::24]


def demosaiced_by_truth(raw, light):
    """What a perfect network would make of a raw photograph's mosaic."""
    return Photo(np.rint(srgb_encode(light) * 65535).astype(np.uint16), None, None, "TIFF")


def libraw(path, **options):
    with open_by_libraw(path) as raw:
        given = {"use_camera_wb": True, "no_auto_bright": True, "adjust_maximum_thr": 0, "gamma": (2.4, 12.92)}
        return raw.postprocess(output_bps=16, **{**given, **options})


@pytest.mark.parametrize("cfa", CFA_PATTERNS)
@pytest.mark.parametrize("black", [(0, 0, 0, 0), (512, 512, 512, 512), (100, 230, 310, 470)])
def test_the_samples_are_the_light_that_was_written(tmp_path, cfa, black):
    path, light = tmp_path / "a.dng", sample(camera_light(CAT), cfa)
    write_dng(path, light, cfa, black=black)
    raw = read_raw(path)
    assert raw.cfa == cfa and raw.samples.shape == CAT.shape[:2]
    np.testing.assert_allclose(raw.samples, light, atol=1 / 15_000)
    np.testing.assert_allclose(raw.white_balance, GAINS, rtol=1e-3)


def test_the_pattern_is_that_of_the_active_area(tmp_path):
    """A DNG's pattern begins where its active area does; LibRaw moves that on to even rows and columns."""
    path, light = tmp_path / "a.dng", sample(camera_light(CAT), "BGGR")
    write_dng(path, light, "RGGB", ActiveArea=[3, 5, 101, 120])
    raw = read_raw(path)
    with open_by_libraw(path) as opened:
        top, left = opened.sizes.top_margin, opened.sizes.left_margin
    height, width = raw.samples.shape
    assert top >= 3 and left >= 5 and top + height <= 101 and left + width <= 120
    assert raw.cfa == {(0, 0): "BGGR", (0, 1): "GBRG", (1, 0): "GRBG", (1, 1): "RGGB"}[top % 2, left % 2]
    np.testing.assert_allclose(raw.samples, light[top : top + height, left : left + width], atol=1 / 15_000)


@pytest.mark.parametrize("cfa", CFA_PATTERNS)
def test_a_mosaic_is_balanced_and_behind_srgbs_curve(tmp_path, cfa):
    light = camera_light(CAT)
    write_dng(tmp_path / "a.dng", sample(light, cfa), cfa)
    mosaic = read_raw(tmp_path / "a.dng").mosaic.pixels
    expected = sample(srgb_encode(light), cfa, gains=(1, 1, 1))
    np.testing.assert_allclose(mosaic[..., 0] / 65535, expected, atol=0.004)  # steep near black


def test_a_perfect_demosaicing_gives_the_photograph_back(tmp_path):
    light = camera_light(CAT)
    write_dng(tmp_path / "a.dng", sample(light, "GRBG"))
    raw = read_raw(tmp_path / "a.dng")
    developed = raw.develop(demosaiced_by_truth(raw, light))
    assert np.abs(developed.pixels / 257 - CAT).max() < 1
    linear = raw.develop(demosaiced_by_truth(raw, light), linear=True)
    np.testing.assert_allclose(linear.pixels / 65535, srgb_decode(CAT / 255), atol=0.003)
    assert linear.icc_profile is None


@pytest.mark.parametrize(
    "tags", [{}, {"AsShotNeutral": [[1, 3], [1, 1], [3, 4]]}], ids=["as sampled", "another balance"]
)
def test_the_colours_are_librawss(tmp_path, tags):
    """Also where the camera's white balance is wrong."""
    write_dng(tmp_path / "a.dng", sample(camera_light(CHART), "GRBG") * 0.3, **tags)
    raw = read_raw(tmp_path / "a.dng")
    light = np.stack([middles(raw.samples[y:, x:]) for y, x in ((0, 1), (0, 0), (1, 0))], axis=2) * raw.white_balance
    ours = raw.develop(demosaiced_by_truth(raw, light)).pixels / 65535
    theirs = middles(libraw(tmp_path / "a.dng")) / 65535
    assert deltaE_ciede2000(rgb2lab(ours), rgb2lab(theirs)).max() < 0.3


def test_the_asked_white_balance_replaces_the_cameras(tmp_path):
    write_dng(tmp_path / "a.dng", sample(camera_light(CHART), "GRBG"), AsShotNeutral=[[1, 3], [1, 1], [3, 4]])
    np.testing.assert_allclose(read_raw(tmp_path / "a.dng").white_balance, [3, 1, 4 / 3], rtol=1e-3)
    np.testing.assert_allclose(read_raw(tmp_path / "a.dng", (4, 2, 3)).white_balance, [2, 1, 1.5])
    for gains in ((1, 2), (1, 0, 1), (1, -1, 1), (1, float("nan"), 1)):
        with pytest.raises(InputError, match="`white_balance` must be three gains above 0"):
            read_raw(tmp_path / "a.dng", gains)


def test_without_the_cameras_white_balance_daylights_is_taken(tmp_path):
    write_dng(tmp_path / "a.dng", sample(camera_light(CHART), "GRBG"), AsShotNeutral=[[0, 1], [0, 1], [0, 1]])
    with open_by_libraw(tmp_path / "a.dng") as raw:
        daylight = np.array(raw.daylight_whitebalance[:3])
    np.testing.assert_allclose(read_raw(tmp_path / "a.dng").white_balance, daylight / daylight.min())


def test_highlights_stay_white(tmp_path):
    """A lamp four times too bright saturates every channel; their gains would turn it magenta."""
    light = np.full((64, 64, 3), 0.4)
    light[16:48, 16:48] = 4
    write_dng(tmp_path / "a.dng", sample(light, "GRBG"))
    raw = read_raw(tmp_path / "a.dng")
    lamp = raw.mosaic.pixels[16:48, 16:48]
    assert (lamp == 65535).all()
    white = raw.develop(Photo(np.broadcast_to(lamp, (32, 32, 3)), None, None, "TIFF")).pixels
    assert white.min() >= 65500  # its rows add up to 1
    unclipped = read_raw(tmp_path / "a.dng").samples[16:48, 16:48].max() * max(GAINS)
    assert unclipped == pytest.approx(2)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_turned_as_libraw_turns_it(tmp_path, orientation):
    write_dng(tmp_path / "a.dng", sample(camera_light(CHART[:, :120]), "GRBG"), Orientation=orientation)
    raw = read_raw(tmp_path / "a.dng")
    upright = raw.develop(demosaiced_by_truth(raw, camera_light(CHART[:, :120]))).pixels
    theirs = libraw(tmp_path / "a.dng")
    assert upright.shape == theirs.shape
    np.testing.assert_allclose(middles(upright) / 65535, middles(theirs) / 65535, atol=0.01)


def test_the_profile_is_srgbs():
    profile = ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile()))
    assert "sRGB" in ImageCms.getProfileDescription(profile)
    converted = ImageCms.profileToProfile(Image.fromarray(CAT), profile, ImageCms.createProfile("sRGB"))
    assert np.abs(np.asarray(converted).astype(int) - CAT).max() <= 1


def test_the_curve_is_srgbs():
    from skimage.color import rgb2xyz, xyz2rgb

    gray = np.linspace(0, 1, 300)[:, None, None].repeat(3, axis=2)
    luminance = rgb2xyz(gray)[..., 1:2]
    np.testing.assert_allclose(srgb_decode(gray[..., :1]), luminance, atol=1e-5)
    np.testing.assert_allclose(srgb_encode(srgb_decode(gray)), xyz2rgb(rgb2xyz(gray)), atol=1e-5)


@pytest.mark.parametrize("sigma", [3, 10, 25])
def test_the_noise_of_a_mosaic_is_not_its_pattern(sigma):
    rng = np.random.default_rng(0)
    smooth = np.stack(
        np.broadcast_arrays(*np.meshgrid(np.linspace(60, 180, 401), np.linspace(60, 190, 301)), 90), axis=2
    )
    mosaic = sample(smooth, "GRBG", gains=(1, 1, 1)) + rng.normal(scale=sigma, size=smooth.shape[:2])
    noisy = np.clip(mosaic * 257, 0, 65535).astype(np.uint16)[..., None]
    assert estimate_noise(mosaic_planes(noisy)) == pytest.approx(sigma, rel=0.06)
    assert measure_noise(mosaic_planes(noisy)).visible == pytest.approx(sigma, rel=0.15)
    assert mosaic_planes(noisy[:1]).size == 0


def test_raw_files_are_known_by_their_names():
    assert is_raw("a/IMG_1.DNG") and is_raw("b.cr3") and not is_raw("a.tif")


def test_without_rawpy_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rawpy", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"a.dng: rawpy not installed: pip install 'rnan-tf\[raw\]'"):
        read_raw(tmp_path / "a.dng")
