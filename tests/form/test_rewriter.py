"""A rewritten form has the new fields first, the client's copies nowhere, and every other byte as it came."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import GatewayError
from proxy.form.edits import Edits
from proxy.form.rewriter import Rewriter, plan_length, rewritten_length
from tests.cuts import random_cuts, same_report
from tests.form.forms import BOUNDARY, FILE, MODEL, NAMES, Part, closing, field, form, forms, parsed

BIG = Edits(replace={"model": ("big",)})
LANGUAGE = field("language", "de")
WORD, SEGMENT = (field("timestamp_granularities[]", value) for value in ("word", "segment"))
LOGO = Part("logo", b"\x89PNG\r\n\r\n", "größe.png", "content-type:  image/png\r\nX-Own: 1\r\n")


def rewritten(chunks: list[bytes], edits: Edits, boundary: bytes = BOUNDARY, *, promised: bool = False) -> bytes:
    rewriter = Rewriter(boundary, edits, promised=promised)
    buffers = [buffer for chunk in chunks for buffer in rewriter.feed(chunk)]
    return b"".join(buffers + rewriter.finish())


def up_to_file(body: bytes) -> bytes:
    """What has come by the time the file's headers have."""
    return body[: body.index(b"\r\n\r\n", body.index(b'name="file"')) + 4]


REWRITES = {
    "nothing": (Edits(), form(MODEL, FILE), form(MODEL, FILE)),
    "a field before the file": (
        BIG,
        form(MODEL, LANGUAGE, FILE),
        form(field("model", "big"), LANGUAGE, FILE),
    ),
    "a field after the file": (BIG, form(FILE, MODEL), form(field("model", "big"), FILE)),
    "a field on both sides": (BIG, form(MODEL, FILE, MODEL), form(field("model", "big"), FILE)),
    "a field not sent": (BIG, form(FILE), form(field("model", "big"), FILE)),
    "a file under a field's name": (
        BIG,
        form(Part("model", b"x", "m"), FILE),
        form(field("model", "big"), FILE),
    ),
    "many values": (
        Edits(replace={"timestamp_granularities[]": ("a", "b")}),
        form(WORD, MODEL, FILE, SEGMENT),
        form(field("timestamp_granularities[]", "a"), field("timestamp_granularities[]", "b"), MODEL, FILE),
    ),
    "no values": (Edits(replace={"language": ()}), form(LANGUAGE, FILE), form(FILE)),
    "a dropped field": (Edits(drop=frozenset({"language"})), form(LANGUAGE, FILE, LANGUAGE), form(FILE)),
    "everything dropped": (Edits(drop=frozenset({"language"})), form(LANGUAGE), closing()),
    "repeats, order and headers kept": (
        BIG,
        form(LOGO, WORD, FILE, SEGMENT, field("", "x"), MODEL, LOGO),
        form(field("model", "big"), LOGO, WORD, FILE, SEGMENT, field("", "x"), LOGO),
    ),
    "a preamble and an epilogue": (
        BIG,
        b"hi\r\n" + form(MODEL, FILE) + b"\r\nbye",
        b"hi\r\n" + form(field("model", "big"), FILE) + b"\r\nbye",
    ),
    "an empty form": (BIG, closing(), form(field("model", "big"))),
    "a name that needs quoting": (
        Edits(replace={'a"b\r\n': ("x",)}),
        form(Part("a%22b%0D%0A", b"old"), FILE),
        form(Part("a%22b%0D%0A", b"x"), FILE),
    ),
    "a value in UTF-8": (Edits(replace={"prompt": ("Ähm",)}), form(FILE), form(field("prompt", "Ähm"), FILE)),
}


@pytest.mark.parametrize(("edits", "body", "expected"), REWRITES.values(), ids=REWRITES.keys())
def test_a_rewrite_is_exact_to_the_byte(edits: Edits, body: bytes, expected: bytes) -> None:
    assert same_report(body, lambda chunks: rewritten(chunks, edits)) == expected
    assert rewritten_length([body], BOUNDARY, edits) == len(expected)


PROMISES = {
    "every edited field came before the file": (BIG, form(MODEL, LANGUAGE, FILE, WORD) + b"\r\nbye", True),
    "it came twice": (Edits(drop=frozenset({"language"})), form(LANGUAGE, LANGUAGE, FILE), True),
    "it came under its other spelling": (
        Edits(replace={"include[]": ("a",)}, drop=frozenset({"include"})),
        form(field("include", "b"), FILE),
        True,
    ),
    "nothing changes": (Edits(), form(FILE, MODEL), True),
    "one edited field is still to come": (
        Edits(replace={"model": ("a",), "prompt": ("b",)}),
        form(MODEL, FILE),
        False,
    ),
    "the file comes first": (BIG, form(FILE, MODEL), False),
    "there is no file": (BIG, form(MODEL) + b'name="file"\r\n\r\n', False),
}


@pytest.mark.parametrize(("edits", "body", "promised"), PROMISES.values(), ids=PROMISES.keys())
def test_a_length_is_promised_when_it_is_known_and_then_kept(edits: Edits, body: bytes, promised: bool) -> None:
    length = plan_length(up_to_file(body), BOUNDARY, edits, len(body))
    assert (length is not None) == promised
    if promised:
        out = same_report(body, lambda chunks: rewritten(chunks, edits, promised=True))
        assert len(out) == length
        assert plan_length(body, BOUNDARY, edits, len(body)) == length, "more than the prelude is no harm"


def test_no_length_is_promised_before_the_files_headers_or_without_the_clients_own() -> None:
    body = form(MODEL, FILE)
    prelude = up_to_file(body)
    assert [plan_length(prelude[:end], BOUNDARY, BIG, len(body)) for end in range(len(prelude))] == [None] * len(
        prelude
    )
    assert plan_length(prelude, BOUNDARY, BIG, None) is None


def test_a_promise_that_the_client_breaks_ends_the_attempt() -> None:
    body = form(MODEL, FILE, MODEL)
    with pytest.raises(GatewayError) as refusal:
        rewritten([body], BIG, promised=True)
    assert (refusal.value.code, refusal.value.param) == ("duplicate_field", "model")
    assert "before and after the file" in refusal.value.message


def test_a_promise_leaves_everything_after_the_file_as_it_came() -> None:
    body = form(MODEL, FILE, LOGO, WORD) + b"\r\nbye"
    out = rewritten([body], BIG, promised=True)
    assert out.endswith(body[body.index(b'Content-Disposition: form-data; name="file"') :])


@pytest.mark.parametrize("value", ["a\r\n--" + BOUNDARY.decode(), "--" + BOUNDARY.decode() + "x"])
def test_a_value_that_would_end_its_own_part_is_refused(value: str) -> None:
    for make in (
        lambda: Rewriter(BOUNDARY, Edits(replace={"prompt": (value,)})),
        lambda: plan_length(up_to_file(form(FILE)), BOUNDARY, Edits(replace={"prompt": (value,)}), 1000),
    ):
        with pytest.raises(GatewayError) as refusal:
            make()
        assert (refusal.value.code, refusal.value.param) == ("invalid_request", "prompt")


def test_the_file_cannot_be_edited() -> None:
    for edits in (Edits(drop=frozenset({"file"})), Edits(replace={"file": ("x",)})):
        with pytest.raises(ValueError, match="file"):
            Rewriter(BOUNDARY, edits)


def test_payload_crosses_without_a_copy_and_a_dropped_one_not_at_all() -> None:
    chunk = bytes(65_536)
    rewriter = Rewriter(BOUNDARY, BIG)
    rewriter.feed(form(FILE)[:-50])
    rewriter.feed(b"x")
    (buffer,) = rewriter.feed(chunk)
    assert buffer is chunk
    dropping = Rewriter(BOUNDARY, BIG)
    dropping.feed(form(Part("model", b"x" * 100))[:-60])
    assert dropping.feed(b"y" * 100) == []


def test_a_broken_form_is_refused_and_a_short_one_called_truncated() -> None:
    for body, code in ((b"x" * 5000, "invalid_multipart"), (form(MODEL)[:-3], "truncated_upload")):
        with pytest.raises(GatewayError) as refusal:
            rewritten([body], BIG)
        assert refusal.value.code == code
        with pytest.raises(GatewayError):
            rewritten_length([body], BOUNDARY, BIG)


def test_a_real_file_survives_to_the_last_bit() -> None:
    data = (Path(__file__).parents[1] / "vectors" / "opus.ogg").read_bytes()
    body = form(WORD, Part("file", data, "opus.ogg"), MODEL)
    for chunks in random_cuts(body, 10):
        (file,) = (part for part in parsed(rewritten(chunks, BIG)) if part.name == "file")
        assert hashlib.sha256(file.payload).digest() == hashlib.sha256(data).digest()


def edits(boundary: bytes) -> st.SearchStrategy[Edits]:
    def safe(value: str) -> bool:
        return b"--" + boundary not in value.encode()

    values = st.lists(st.text(max_size=20, alphabet=st.characters(exclude_categories=["Cs"])).filter(safe), max_size=2)
    names = st.sampled_from(NAMES)
    return st.builds(Edits, st.dictionaries(names, values.map(tuple), max_size=2), st.frozensets(names, max_size=2))


@given(st.data(), forms(), st.integers())
def test_any_form_is_rewritten_as_its_parts_would_be(
    data: st.DataObject, drawn: tuple[bytes, list[Part]], seed: int
) -> None:
    boundary, parts = drawn
    change = data.draw(edits(boundary))
    body = form(*parts, boundary=boundary)
    kept = [part for part in parsed(body, boundary) if part.name not in change.names]
    added = [Part(name, value.encode()) for name, values in change.replace.items() for value in values]
    for chunks in random_cuts(body, 4, seed=seed):
        out = rewritten(chunks, change, boundary)
        assert parsed(out, boundary) == added + kept
        assert rewritten_length(chunks, boundary, change) == len(out)
    length = plan_length(body, boundary, change, len(body))
    if length is None:
        return
    names = [part.name for part in parts]
    if change.names.isdisjoint(names[names.index("file") :]):
        assert len(rewritten([body], change, boundary, promised=True)) == length
    else:
        with pytest.raises(GatewayError, match="before and after the file"):
            rewritten([body], change, boundary, promised=True)


@given(forms(), st.integers())
def test_without_edits_a_form_stays_as_it_is(drawn: tuple[bytes, list[Part]], seed: int) -> None:
    boundary, parts = drawn
    body = form(*parts, boundary=boundary)
    for chunks in random_cuts(body, 4, seed=seed):
        assert rewritten(chunks, Edits(), boundary) == body


@given(st.binary(max_size=300), st.integers(0, 300))
def test_only_declared_errors_escape(garbage: bytes, at: int) -> None:
    body = form(MODEL, FILE)
    body = body[:at] + garbage + body[at:]
    for chunks in ([body], [*map(bytes, pairwise(body))]):
        try:
            rewritten(chunks, BIG)
            plan_length(body, BOUNDARY, BIG, len(body))
        except GatewayError:
            continue
