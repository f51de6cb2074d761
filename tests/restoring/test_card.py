"""rnan_tf.restoring.card: what a file says of its network, whatever the file holds."""

import json
import zipfile

import pytest

import rnan_tf
from rnan_tf.errors import InputError
from rnan_tf.network.model import RNAN
from rnan_tf.restoring.card import ModelCard, card_of, read_card
from rnan_tf.tasks.task import TASKS, get_task
from rnan_tf.weights import preset_path


def range_of(task):
    return task.strength.limits if task.strength else (0, 0)


def good(task="denoise", /, **changes):
    """A card's data, with changes; a value of ... takes an entry away."""
    task = get_task(task)
    card = ModelCard.of_task(task, range_of(task), task.conditional, tile=64, overlap=8, details={"steps": 7})
    return {key: value for key, value in (card.to_dict() | changes).items() if value is not ...}


def version_0_1(task="denoise", /, **changes):
    """The metadata of version 0.1, as its exports held them."""
    data = {"task": task, "level": [0, 75], "scale": 1, "channels": 3, "conditional": True, "value_range": [0, 1]}
    return {key: value for key, value in {**data, "tile": 64, "overlap": 8, **changes}.items() if value is not ...}


# === Writing and reading ===


@pytest.mark.parametrize("name", TASKS)
def test_round_trip(name):
    task = get_task(name)
    for strengths, conditional in ((range_of(task), task.conditional), ((30, 30), False)):
        card = ModelCard.of_task(task, strengths, conditional, overlap=16, details={"steps": 7, "data": ["a", "b"]})
        assert (card.task, card.scale, card.channels) == (name, task.scale, task.channels)
        assert card.strength == (task.strength.name if task.strength else None)
        assert card.strengths == (strengths if task.strength else None)
        assert ModelCard.from_dict(json.loads(json.dumps(card.to_dict()))) == card
        assert ModelCard.from_dict(card.to_dict(), name) == card


def test_the_data():
    assert good() == {
        "task": "denoise",
        "scale": 1,
        "channels": 3,
        "strength": "sigma",
        "strengths": [0, 75],
        "conditional": True,
        "tile": 64,
        "overlap": 8,
        "details": {"steps": 7},
    }
    assert good("sr-x4").items() >= {"scale": 4, "strength": None, "strengths": None}.items()


def test_details_are_added_to_a_copy():
    card = ModelCard.from_dict(good())
    assert card.with_details(variant="int8", steps=8).details == {"steps": 8, "variant": "int8"}
    assert card.details == {"steps": 7}
    card.to_dict()["details"]["steps"] = 9
    assert card.details == {"steps": 7}


def test_what_may_be_left_out():
    card = ModelCard.from_dict(good(task=..., tile=..., overlap=..., details=..., strength=...), "denoise")
    assert card == ModelCard.of_task(get_task("denoise"), (0, 75), True)


# === What is no card ===


MALFORMED = [
    ({"task": ["denoise"]}, "its task .*not a name"),
    ({"task": {"name": "denoise"}}, "its task .*not a name"),
    ({"task": 3}, "its task 3 is not a name"),
    ({"task": ...}, "does not say its task; give `task`"),
    ({"task": ""}, "does not say its task; give `task`"),
    ({"task": "dehaze"}, "unknown task 'dehaze'; choose one of"),
    ({"task": "sr"}, "unknown task 'sr'; choose one of"),
    ({"task": "sr-x2"}, "its scale is 1, but task sr-x2 needs 2"),
    ({"scale": 2}, "its scale is 2, but task denoise needs 1"),
    ({"scale": "1"}, "its scale is '1', but task denoise needs 1"),
    ({"scale": ...}, "its scale is None, but"),
    ({"channels": 1}, "its channels is 1, but task denoise needs 3"),
    ({"channels": [3]}, r"its channels is \[3\], but"),
    ({"channels": ...}, "its channels is None, but"),
    ({"conditional": ...}, "does not say whether it is told the strength"),
    ({"conditional": "yes"}, "does not say whether it is told the strength"),
    ({"conditional": 1}, "does not say whether it is told the strength"),
    ({"tile": "64"}, "its tile '64' is not a number of pixels"),
    ({"tile": 64.5}, "its tile 64.5 is not a number of pixels"),
    ({"overlap": [8]}, r"its overlap \[8\] is not a number of pixels"),
    ({"details": ["steps"]}, r"its details \['steps'\] have no names"),
    ({"details": None}, "its details None have no names"),
    *(
        ({"strengths": value}, "its recorded sigma .* is not a number or a range")
        for value in ("0-75", "50", ["0", "75"], [], [5, 10, 20], [60, 5], [-1, 50], [0, 76], {"low": 1}, [None, 5])
    ),
    ({"strengths": [float("nan"), 75]}, "its recorded sigma .* is not a number or a range"),
]


@pytest.mark.parametrize(("changes", "message"), MALFORMED, ids=str)
def test_malformed(changes, message):
    with pytest.raises(InputError, match=message) as caught:
        ModelCard.from_dict(good(**changes))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"^some\.file: " + message):
        read_card(good(**changes), "some.file")


@pytest.mark.parametrize("data", [None, [], ["denoise"], "denoise", 3, True])
def test_not_even_a_dict(data):
    with pytest.raises(InputError, match="does not say what it is for"):
        ModelCard.from_dict(data)


def test_another_task_than_asked_for():
    with pytest.raises(InputError, match="trained for task denoise, not jpeg; give a model of that task"):
        ModelCard.from_dict(good(), "jpeg")


# === Version 0.1 ===


@pytest.mark.parametrize(
    ("level", "strengths"), [([0, 75], (0, 75)), (30, (30, 30)), ([10.0, 12.5], (10, 12.5)), (None, (0, 75))]
)
def test_version_0_1_of_noise(level, strengths):
    card = ModelCard.from_dict(version_0_1(level=level))
    assert card == ModelCard.of_task(get_task("denoise"), strengths, True, tile=64, overlap=8)


@pytest.mark.parametrize("name", [name for name in TASKS if not name.startswith("sr")])
def test_version_0_1_of_each_task(name):
    task = get_task(name)
    level = list(range_of(task)) if task.strength else None
    data = version_0_1(name, level=level, channels=task.channels, conditional=task.conditional, steps=7)
    expected = ModelCard.of_task(task, range_of(task), task.conditional, tile=64, overlap=8, details={"steps": 7})
    assert ModelCard.from_dict(data) == expected


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("as_range", [False, True])
def test_version_0_1_of_super_resolution(scale, as_range):
    level = [scale, scale] if as_range else scale
    data = version_0_1("sr", level=level, scale=scale, conditional=False, tile=None, overlap=None)
    card = ModelCard.from_dict(data)
    assert card == ModelCard.of_task(get_task(f"sr-x{scale}"), (0, 0), False)
    assert ModelCard.from_dict(data, f"sr-x{scale}") == card
    with pytest.raises(InputError, match=f"trained for task sr-x{scale}, not sr-x{scale % 3 + 2}"):
        ModelCard.from_dict(data, f"sr-x{scale % 3 + 2}")


def test_version_0_1_of_a_keras_model():
    """Its file said the training only, and nothing of the network itself."""
    metadata = {"task": "jpeg-color", "level": [5, 95], "steps": 7, "data": ["cid22"]}
    model = RNAN(filters=4, num_blocks=2, conditional=True, metadata=metadata)
    expected = {"steps": 7, "data": ["cid22"]}
    assert card_of(model, "m") == ModelCard.of_task(get_task("jpeg-color"), (5, 95), True, details=expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"level": "strong"}, "its recorded sigma 'strong'"),
        ({"level": []}, r"its recorded sigma \[\]"),
        ({"level": ["strong"]}, "its recorded sigma"),
        ({"level": {"low": 1}}, "its recorded sigma"),
        ({"conditional": ...}, "does not say whether it is told the strength"),
        ({"task": ["sr"]}, "its task .*not a name"),
        ({"task": "sr", "scale": 5}, "unknown task 'sr-x5'"),
        ({"task": "sr", "scale": None}, "unknown task 'sr-xNone'"),
        ({"task": ...}, "does not say its task; give `task`"),
        ({"tile": "large"}, "its tile 'large' is not a number of pixels"),
    ],
    ids=str,
)
def test_malformed_version_0_1(changes, message):
    with pytest.raises(InputError, match=message):
        ModelCard.from_dict(version_0_1(**changes))


# === A Keras model ===


def tiny(metadata=None, **arguments):
    return RNAN(filters=4, num_blocks=2, metadata=metadata, **arguments)


@pytest.mark.parametrize(
    ("metadata", "arguments", "asked", "task", "strengths"),
    [
        (good(), {"conditional": True}, None, "denoise", (0, 75)),
        (good(), {"conditional": True}, "denoise", "denoise", (0, 75)),
        ({"task": "denoise", "level": 30}, {}, None, "denoise", (30, 30)),
        ({"task": "denoise"}, {}, None, "denoise", (0, 75)),
        ({"task": "demosaic", "level": None}, {}, None, "demosaic", None),
        ({}, {"channels": 1}, "jpeg", "jpeg", (1, 100)),
        ({"task": "sr", "level": [3, 3]}, {"scale": 3}, "sr-x3", "sr-x3", None),
        ({}, {"scale": 4}, "sr-x4", "sr-x4", None),
    ],
)
def test_the_card_of_a_keras_model(metadata, arguments, asked, task, strengths):
    card = card_of(tiny(metadata, **arguments), "m", asked)
    assert (card.task, card.strengths, card.conditional) == (task, strengths, "conditional" in arguments)


@pytest.mark.parametrize(
    ("metadata", "arguments", "asked", "message"),
    [
        ({}, {}, None, "^m: does not say its task; give `task`"),
        (good(), {}, "jpeg", "^m: trained for task denoise, not jpeg"),
        ({"task": "dehaze"}, {}, None, "^m: unknown task 'dehaze'"),
        ({}, {}, "jpeg", "^m: its channels is 3, but task jpeg needs 1"),
        ({}, {}, "sr-x2", "^m: its scale is 1, but task sr-x2 needs 2"),
        ({}, {"scale": 2}, "denoise", "^m: its scale is 2, but task denoise needs 1"),
        ({"task": "denoise", "level": []}, {}, None, "^m: its recorded sigma"),
    ],
)
def test_what_no_keras_model_has_a_card_for(metadata, arguments, asked, message):
    with pytest.raises(InputError, match=message):
        card_of(tiny(metadata, **arguments), "m", asked)


def test_the_network_itself_is_believed_more_than_its_metadata():
    card = card_of(tiny(good(conditional=True)), "m")
    assert not card.conditional


@pytest.mark.parametrize("name", rnan_tf.list_presets())
def test_presets_have_a_card(name):
    with zipfile.ZipFile(preset_path(name)) as archive:
        network = json.loads(archive.read("config.json"))["config"]
    card = ModelCard.from_dict(network["metadata"], name if name in TASKS else None)
    assert (card.scale, card.channels, card.conditional) == tuple(
        network[key] for key in ("scale", "channels", "conditional")
    )
    assert card.details["steps"] > 0
