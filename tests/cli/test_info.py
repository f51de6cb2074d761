"""The command `rnan-tf info`: what it says of a model."""

from rnan_tf.restoring.loading import load_model


def test_info(rnan_tf, models):
    code, out, err = rnan_tf("info M/demosaic.keras")
    assert (code, err) == (0, [])
    lines = dict(line.split(maxsplit=1) for line in out)
    assert lines["task"] == "demosaic" and lines["steps"] == "12" and lines["scale"] == "x1"
    assert lines["parameters"] == f"{load_model(models / 'demosaic.keras').count_params():,}"
    assert "million a pixel" in lines["multiply-adds"]
