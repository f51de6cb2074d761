"""Ways of damaging a file that is whole, as hypothesis' strategies."""

import io
import json
import random
import zipfile
from collections.abc import Callable, Sequence

from hypothesis import strategies as st

WILD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([0, -1, 1e308, 10**400, "\x1b[2J", "nan", "../x", "a..b:1", [], {}]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)
_NUMBERS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\x01\0\0\0", b"\0\0\x01\0")


def damaged(data: bytes) -> st.SearchStrategy[bytes]:
    """Bytes of which a few are overwritten, inserted, removed, doubled, or that are cut short."""
    place = st.integers(0, max(len(data) - 1, 0))
    edit = st.tuples(st.integers(0, 5), place, st.integers(1, 64), st.integers(0, 255))

    def apply(edits: Sequence[tuple[int, int, int, int]]) -> bytes:
        result = bytearray(data)
        for kind, start, length, value in edits:
            start = min(start, len(result))
            if kind == 0:
                result[start : start + 1] = bytes([value])
            elif kind == 1:
                result[start : start + 4] = _NUMBERS[value % len(_NUMBERS)]
            elif kind == 2:
                del result[start : start + length]
            elif kind == 3:
                result[start:start] = result[start : start + length]
            elif kind == 4:
                result[start:start] = bytes([value]) * length
            elif value < 32:
                del result[start:]
        return bytes(result)

    return st.lists(edit, min_size=1, max_size=4).map(apply)


def wild_json(text: str) -> st.SearchStrategy[str]:
    """JSON of which one value, name or the whole is another."""

    def paths(value: object) -> list[tuple[object, ...]]:
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        return [(), *((key, *rest) for key, each in items for rest in paths(each))]

    def replace(path: tuple, wild: object) -> str:
        root = [json.loads(text)]
        parent, key = root, 0
        for step in path:
            parent, key = parent[key], step
        parent[key] = wild
        return json.dumps(root[0])

    return st.builds(replace, st.sampled_from(paths(json.loads(text))), WILD)


def in_zip(data: bytes, change: Callable[[str, bytes], st.SearchStrategy[bytes]]) -> st.SearchStrategy[bytes]:
    """A zip file of which one member is another, with the right checksum."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}

    def pack(name: str, content: bytes) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for each, old in members.items():
                archive.writestr(each, content if each == name else old)
        return file.getvalue()

    names = st.sampled_from(random.Random(0).sample(list(members), min(len(members), 12)))
    return names.flatmap(lambda name: change(name, members[name]).map(lambda content: pack(name, content)))
