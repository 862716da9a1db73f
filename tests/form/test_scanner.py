"""Every byte of a form belongs to one event, wherever the network cuts; what is ambiguous is refused."""

from __future__ import annotations

from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multipart import MultipartError

from proxy.errors import GatewayError
from proxy.form.scanner import Event, FormEnded, FormLimits, Margin, PartEnded, PartStarted, Payload, Scanner
from tests.cuts import random_cuts, same_report
from tests.form.forms import BOUNDARY, FILE, MODEL, Part, closing, field, form, forms, parsed

SMALL = FormLimits(max_parts=3, max_header_bytes=100, max_margin_bytes=50)
LIMITS = FormLimits()
PIECES = ("Payload", "Margin")


def scan(chunks: list[bytes], boundary: bytes = BOUNDARY, limits: FormLimits = LIMITS) -> list[Event]:
    scanner = Scanner(boundary, limits)
    events = [event for chunk in chunks for event in scanner.feed(chunk)]
    scanner.finish()
    return events


Verdict: TypeAlias = tuple[list[tuple[str, bytes]], str | None, str | None]


def verdict(chunks: list[bytes], boundary: bytes = BOUNDARY, limits: FormLimits = LIMITS) -> Verdict:
    """The events, their pieces joined, and how the form was refused if it was."""
    scanner = Scanner(boundary, limits)
    seen: list[tuple[str, bytes]] = []
    try:
        for chunk in chunks:
            for event in scanner.feed(chunk):
                kind = type(event).__name__
                if seen and seen[-1][0] == kind and kind in PIECES:
                    seen[-1] = (kind, seen[-1][1] + event.raw)
                else:
                    seen.append((kind, event.raw))
        scanner.finish()
    except GatewayError as refusal:
        if seen and seen[-1][0] in PIECES:
            seen.pop()  # how many of the pieces had passed by then is the one thing that cuts decide
        return seen, refusal.code, refusal.message
    return seen, None, None


def test_events_name_what_each_byte_is() -> None:
    body = b"hello\r\n" + form(MODEL) + b"\r\nbye"
    margin, started, payload, ended, form_ended, epilogue = scan([body])
    assert (margin, epilogue) == (Margin(b"hello\r\n"), Margin(b"\r\nbye"))
    assert isinstance(started, PartStarted)
    assert started.head.name == "model"
    assert (payload, ended, form_ended) == (Payload(b"whisper-1"), PartEnded(), FormEnded(closing()))


def test_a_chunk_of_payload_crosses_without_a_copy() -> None:
    scanner = Scanner(BOUNDARY, LIMITS)
    list(scanner.feed(form(FILE)[:-60]))
    list(scanner.feed(b"x"))
    chunk = bytes(65_536)
    (event,) = scanner.feed(chunk)
    assert event.raw is chunk


def test_a_parts_headers_are_known_with_their_last_byte() -> None:
    (event,) = Scanner(BOUNDARY, LIMITS).feed(b"--" + BOUNDARY + b"\r\n" + Part("file", b"", "a.wav").encode())
    assert isinstance(event, PartStarted)


BODIES = {
    "fields first": form(MODEL, field("prompt", "a\r\nb"), FILE),
    "file first": form(FILE, MODEL),
    "nothing at all": closing(),
    "an empty part": form(Part("prompt", b"")),
    "a preamble and an epilogue": b"hi\r\n" + form(MODEL) + b"\r\nbye",
    "payload that ends in CRLF": form(Part("file", b"\r\n\r\n")),
    "payload of near-delimiters": form(Part("file", (b"\r\n--" + BOUNDARY[:-1] + b"!") * 9)),
    "payload of CRs": form(Part("file", b"\r" * 100)),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_the_cuts_change_nothing_and_no_byte_is_lost(body: bytes) -> None:
    assert b"".join(event.raw for event in scan([body])) == body
    same_report(body, verdict)
    same_report(body, lambda chunks: b"".join(event.raw for event in scan(chunks)))


HEADER = b'Content-Disposition: form-data; name="a"'
DASHED = b"--" + BOUNDARY

INVALID = {
    "another boundary than declared": form(MODEL, boundary=b"other"),
    "text before the first boundary on its line": b"x" + form(MODEL),
    "a bare LF before the first boundary": b"x\n" + form(MODEL),
    "a bare LF after a boundary": DASHED + b"\n" + HEADER,
    "padding after a boundary": DASHED + b" \r\n" + HEADER,
    "more characters after a boundary": form(Part("file", b"a\r\n" + DASHED + b"x")),
    "a part without headers": form(b"\r\nvalue"),
    "a part that ends at its blank line": DASHED + b"\r\n" + HEADER + b"\r\n\r\n" + DASHED + b"--",
    "a bare LF in a header": form(b"X: a\nb\r\n" + MODEL.encode()),
    "a folded header": form(b"X: a\r\n b\r\n" + MODEL.encode()),
    "no Content-Disposition": form(b"Content-Type: text/plain\r\n\r\nx"),
    "preamble without end": b"a" * 200,
    "epilogue without end": form(MODEL) + b"a" * 51,
}


@pytest.mark.parametrize("body", INVALID.values(), ids=INVALID.keys())
def test_an_ambiguous_form_is_refused_wherever_it_is_cut(body: bytes) -> None:
    _, code, _ = same_report(body, lambda chunks: verdict(chunks, limits=SMALL))
    assert code == "invalid_multipart"


@pytest.mark.parametrize("spare", [0, 1])
@pytest.mark.parametrize("limited", ["headers", "parts", "preamble", "epilogue"])
def test_a_limit_is_exact_wherever_the_body_is_cut(limited: str, spare: int) -> None:
    headers = f"X: {'a' * (100 - len(HEADER) - 5)}\r\n".encode()
    body = {
        "headers": form(headers[:3] + b"a" * spare + headers[3:] + HEADER + b"\r\n\r\nv"),
        "parts": form(*[MODEL] * (3 + spare)),
        "preamble": b"a" * (48 + spare) + b"\r\n" + form(MODEL),
        "epilogue": form(MODEL) + b"a" * (50 + spare),
    }[limited]
    _, code, _ = same_report(body, lambda chunks: verdict(chunks, limits=SMALL))
    refusal = "field_too_large" if limited in ("headers", "parts") else "invalid_multipart"
    assert code == (refusal if spare else None)


@pytest.mark.parametrize("missing", range(1, len(form(MODEL)) + 1))
def test_a_form_without_its_closing_delimiter_is_truncated(missing: int) -> None:
    with pytest.raises(GatewayError) as refusal:
        scan([form(MODEL)[:-missing]])
    assert refusal.value.code == "truncated_upload"


def test_a_short_body_with_another_boundary_is_not_called_truncated() -> None:
    with pytest.raises(GatewayError) as refusal:
        scan([b"file=abc"])
    assert refusal.value.code == "invalid_multipart"


@given(forms(), st.integers())
def test_an_independent_parser_sees_the_same_parts(drawn: tuple[bytes, list[Part]], seed: int) -> None:
    boundary, parts = drawn
    body = form(*parts, boundary=boundary)
    for chunks in random_cuts(body, 4, seed=seed):
        found: list[Part] = []
        for event in scan(chunks, boundary):
            if isinstance(event, PartStarted):
                found.append(Part(event.head.name, b"", event.head.filename))
            elif isinstance(event, Payload):
                found[-1] = Part(found[-1].name, found[-1].payload + event.raw, found[-1].filename)
        assert found == parsed(body, boundary)


@given(st.data())
def test_damage_is_seen_alike_or_refused(data: st.DataObject) -> None:
    """Where the gateway accepts a damaged form, an independent parser that also does sees the same parts."""
    body = bytearray(form(MODEL, FILE, field("language", "en")))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.sampled_from([b"", b"\r", b"\n", b'"', b"-", b"\0"])
        )
    try:
        events = scan([bytes(body)])
        expected = parsed(bytes(body))
    except (GatewayError, MultipartError):
        return
    assert [e.head.name for e in events if isinstance(e, PartStarted)] == [part.name for part in expected]
    payload = b"".join(e.raw for e in events if isinstance(e, Payload))
    assert payload == b"".join(part.payload for part in expected)


BAIT = [DASHED, b"\r\n", HEADER, b"\r\n\r\n", b"--", b"\r", b"\n", b"x", b": "]


@given(st.lists(st.sampled_from(BAIT) | st.binary(max_size=5), max_size=20).map(b"".join), st.integers())
def test_only_declared_errors_escape_and_the_cuts_never_decide(body: bytes, seed: int) -> None:
    expected = verdict([body], limits=SMALL)
    for chunks in random_cuts(body, 6, seed=seed):
        assert verdict(chunks, limits=SMALL) == expected
