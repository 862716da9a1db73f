"""A few members of a large JSON object, the same as a parser finds, wherever the network cuts it."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.metering.jsonwalk import TopLevel
from tests.cuts import random_cuts, same_report

WANTED = frozenset({"usage", "duration", "metadata"})


def walked(chunks: list[bytes], wanted: frozenset[str] = WANTED) -> dict[str, Any] | None:
    walk = TopLevel(wanted)
    for chunk in chunks:
        walk.feed(chunk)
    return walk.finish()


def parsed(document: bytes) -> dict[str, Any]:
    return {name: value for name, value in orjson.loads(document).items() if name in WANTED}


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    | st.sampled_from(['"usage":{', "\\", '\\"', "}]", "{[", "\\\\", "usage", "\u2028", "\U0001f600"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["usage", "duration", 'a"b\\', "", "{", "é"]), inner, max_size=3)
    ),
    max_leaves=15,
)
NAMES = st.sampled_from(["usage", "duration", "metadata", "segments", "text", "", 'a"b\\', "usage ", "é", "x" * 300])
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=7)


@given(OBJECTS, st.booleans(), st.sampled_from([None, 1, "\t"]), st.integers(0, 2**32))
def test_a_walk_finds_what_a_parser_finds_wherever_it_is_cut(
    value: dict[str, Any], escaped: bool, indent: str | int | None, seed: int
) -> None:
    document = json.dumps(value, ensure_ascii=escaped, indent=indent).encode()
    expected = parsed(document)
    assert walked([document]) == expected
    assert walked([document[at : at + 1] for at in range(len(document))]) == expected
    for chunks in random_cuts(document, 5, seed=seed):
        assert walked(chunks) == expected


def is_object(document: bytes) -> bool:
    try:
        return isinstance(orjson.loads(document), dict)
    except ValueError:
        return False


DOCUMENTS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "nothing": (b"{}", {}),
    "space everywhere": (b' \r\n{ \t"usage" : { "a" : 1 } , "x" : [ ] }\n ', {"usage": {"a": 1}}),
    "the last of two counts": (b'{"usage":1,"x":{},"usage":2}', {"usage": 2}),
    "an escaped name": (b'{"\\u0075sage":1,"us\\u0061ge ":2}', {"usage": 1}),
    "scalars of all kinds": (
        b'{"usage":null,"duration":-1.5e3,"metadata":true}',
        {
            "usage": None,
            "duration": -1500.0,
            "metadata": True,
        },
    ),
    "look-alikes inside": (b'{"segments":[{"usage":1},{"a":{"duration":2}},[{"metadata":3}]],"usage":4}', {"usage": 4}),
    "look-alikes in strings": (b'{"text":"\\"usage\\":9,","x":"{\\"usage\\":9}","y":"\\\\","usage":4}', {"usage": 4}),
    "look-alikes as values": (b'{"text":"usage","x":["duration",7],"duration":4}', {"duration": 4}),
    "brackets in strings": (b'{"a":["]}","[{",{"b":"\\\\\\"]"}],"usage":[[["x"]]]}', {"usage": [[["x"]]]}),
    "escapes before the quote": (
        b'{"a":"\\\\","b":"\\\\\\"","c":"\\u00e9\\\\\\\\","usage":"\\"\\\\"}',
        {"usage": '"\\'},
    ),
}


@pytest.mark.parametrize(("document", "members"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_only_members_of_the_object_itself_count_however_it_is_cut(document: bytes, members: dict[str, Any]) -> None:
    assert parsed(document) == members
    assert same_report(document, walked) == members


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"  ",
        b"[1]",
        b"7",
        b'"usage"',
        b"\xef\xbb\xbf{}",
        b'{"usage":1',
        b'{"usage":1,',
        b'{"usage":1,}',
        b'{"usage":1}}',
        b'{"usage":1} x',
        b'{"usage":1}{"usage":2}',
        b'{"usage" 1}',
        b'{"usage":,"a":1}',
        b'{"usage":one}',
        b'{"usage":1 "a":2}',
        b'{"a":"x" "usage":1}',
        b'{,"usage":1}',
        b"{usage:1}",
        b'{"usage":{"a":1]}',
        b'{"us\xffage":1}',
        b'{"a":"' + b"x" * 50,
        b'{"a":[' + b"[" * 2_000 + b"]" * 2_000 + b'],"usage":1}',
        b"\x00\xff\xfe garbage \x80",
    ],
    ids=lambda document: repr(document[:24]),
)
def test_what_is_not_one_whole_object_has_no_members(document: bytes) -> None:
    assert not is_object(document)
    assert same_report(document, walked) is None


def test_a_reply_that_was_cut_short_is_no_whole_object() -> None:
    document = b'{"usage":{"type":"duration","seconds":7},"segments":[{"text":"a \\" b"}],"duration":6.96}'
    for end in range(len(document)):
        assert walked([document[:end]]) is None
    assert walked([document]) is not None


def test_a_wanted_member_too_long_to_be_usage_is_left_out_and_the_rest_found() -> None:
    document = orjson.dumps({"duration": 6.96, "usage": {"a": "x" * 20_000}, "metadata": {"duration": 7}})
    for chunks in random_cuts(document, 10):
        assert walked(chunks) == {"duration": 6.96, "metadata": {"duration": 7}}


def test_a_second_word_too_long_to_be_kept_takes_back_the_first() -> None:
    document = b'{"usage":1,"duration":2,"usage":"' + b"x" * 20_000 + b'"}'
    for chunks in random_cuts(document, 10):
        assert walked(chunks) == {"duration": 2}


def test_a_name_too_long_to_be_wanted_is_passed_over() -> None:
    name = "x" * 100_000
    document = orjson.dumps({name: 1, "usage": 2, name + '"': 3})
    for chunks in random_cuts(document, 10):
        assert walked(chunks, WANTED | {name}) == {"usage": 2}


def test_what_is_skipped_is_not_held() -> None:
    walk = TopLevel(WANTED)
    walk.feed(b'{"usage":1,"text":"')
    before = held(walk)
    for _ in range(50):
        walk.feed(b'a transcript \\"\\u00e9 ' * 3_000)
    walk.feed(b'","words":[')
    for _ in range(50):
        walk.feed(b'{"word":"the","start":0.1,"end":0.2},' * 3_000)
    assert held(walk) <= before
    walk.feed(b"{}]}")
    assert walk.finish() == {"usage": 1}


def held(walk: TopLevel) -> int:
    """Return the bytes that a walk keeps."""
    return sum(len(value) for value in vars(walk).values() if isinstance(value, bytes | bytearray))


def test_a_document_of_nothing_but_brackets_is_given_up() -> None:
    assert walked([b'{"usage":1,"x":[' + b"[[[]]]," * 100_000 + b"[]]}"]) is None


@given(st.lists(st.binary(max_size=20) | st.sampled_from([b"{", b'"', b"\\", b"usage", b'":', b"}", b"[", b","])))
def test_no_bytes_make_it_raise(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    assert walked(chunks) == walked([whole])
