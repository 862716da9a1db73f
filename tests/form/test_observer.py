"""The observer knows every field as soon as it has passed, and refuses early what no provider should see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.audio.container import NEEDED, sniff
from proxy.errors import GatewayError
from proxy.form.observer import FormObserver, check_complete
from proxy.form.scanner import FormLimits
from tests.cuts import random_cuts, same_report
from tests.form.forms import BOUNDARY, FILE, MODEL, Part, closing, field, form, forms

SMALL = FormLimits(max_field_bytes=20, max_fields_bytes=50, max_parts=6, max_header_bytes=100)
VECTORS = sorted(path for path in (Path(__file__).parents[1] / "vectors").iterdir() if path.suffix != ".md")


def observed(body: bytes, limits: FormLimits | None = None) -> FormObserver:
    observer = FormObserver(BOUNDARY, limits)
    observer.feed(body)
    observer.finish()
    return observer


def report(chunks: list[bytes], boundary: bytes = BOUNDARY, limits: FormLimits | None = None) -> dict[str, Any]:
    """All that an observer says in the end, or said before it refused."""
    observer = FormObserver(boundary, limits)
    error: tuple[str, str | None, str] | None = None
    try:
        for chunk in chunks:
            observer.feed(chunk)
        observer.finish()
    except GatewayError as refusal:
        error = (refusal.code, refusal.param, refusal.message)
    file = observer.file
    said: dict[str, Any] = {
        "fields": list(observer.fields.items()),
        "extra_files": observer.extra_files,
        "ended": observer.ended,
        "error": error,
        "file": file and (file.filename, file.content_type, file.index),
    }
    if file is not None and file.complete:
        said |= {"size": file.audio.size, "container": file.audio.container}
    return said


def refused(body: bytes, limits: FormLimits | None = None) -> tuple[str, str | None]:
    error = same_report(body, lambda chunks: report(chunks, limits=limits))["error"]
    assert error is not None
    return error[0], error[1]


def test_fields_come_in_order_with_all_their_values() -> None:
    words = [field("timestamp_granularities[]", value) for value in ("word", "segment")]
    said = same_report(form(MODEL, *words, FILE, field("zzz", "größe"), field("")), report)
    assert said["fields"] == [
        ("model", ["whisper-1"]),
        ("timestamp_granularities[]", ["word", "segment"]),
        ("zzz", ["größe"]),
        ("", ["x"]),
    ]
    assert said["file"] == ("a.wav", "audio/wav", 3)
    assert (said["size"], said["container"]) == (len(FILE.payload), sniff(FILE.payload))
    assert said["ended"] is True


def test_a_field_is_known_when_it_has_ended_and_the_file_as_it_passes() -> None:
    body = form(MODEL, FILE, field("language", "en"))
    observer = FormObserver(BOUNDARY)
    seen = []
    for byte in body:
        observer.feed(bytes([byte]))
        seen.append((observer.first("model"), observer.file_started, observer.first("language"), observer.ended))
    order = list(dict.fromkeys(seen))
    assert order == [
        (None, False, None, False),
        ("whisper-1", False, None, False),
        ("whisper-1", True, None, False),
        ("whisper-1", True, "en", False),
        ("whisper-1", True, "en", True),
    ]


def test_a_part_named_file_is_the_audio_even_without_a_file_name() -> None:
    observer = observed(form(Part("file", b"https://example.org/a.wav"), MODEL))
    assert observer.file is not None
    assert (observer.file.filename, observer.file.audio.size) == (None, 25)
    assert "file" not in observer.fields


def test_other_files_are_counted_and_not_kept() -> None:
    logo = Part("logo", b"\x89PNG" * 20_000, "logo.png")
    observer = observed(form(MODEL, logo, FILE))
    assert (observer.extra_files, list(observer.fields)) == (1, ["model"])
    assert observer.file is not None
    assert observer.file.index == 2


def test_a_value_that_is_not_utf_8_is_read_as_latin_1() -> None:
    assert observed(form(Part("prompt", b"gr\xf6\xdfe"), FILE)).first("prompt") == "größe"


@pytest.mark.parametrize("size", [1, NEEDED - 1, NEEDED, NEEDED + 1, 1000])
def test_the_container_is_known_with_enough_bytes_or_with_the_part(size: int) -> None:
    payload = (b"fLaC" + bytes(range(256)) * 4)[:size]
    body = form(Part("file", payload, "a.flac"), MODEL)
    begins = body.index(b"\r\n\r\n") + 4
    known_at = begins + (NEEDED if size >= NEEDED else size + len(b"\r\n--" + BOUNDARY))
    observer = FormObserver(BOUNDARY)
    for at, byte in enumerate(body, start=1):
        observer.feed(bytes([byte]))
        assert (observer.file is not None and observer.file.audio.container is not None) == (at >= known_at)
    assert observer.file is not None
    assert observer.file.audio.container is sniff(payload)


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.name)
def test_a_real_file_shows_its_size_and_its_container(path: Path) -> None:
    data = path.read_bytes()
    body = form(Part("file", data, path.name), MODEL)
    assert sniff(data).known
    for chunks in random_cuts(body, 5):
        said = report(chunks)
        assert (said["size"], said["container"], said["ended"]) == (len(data), sniff(data), True)


@pytest.mark.parametrize("name", ["file", "model"])
@pytest.mark.parametrize("filename", [None, "a.wav"])
def test_what_must_be_unique_is_refused_twice(name: str, filename: str | None) -> None:
    body = form(Part(name, b"a"), field("other"), Part(name, b"a", filename))
    assert refused(body) == ("duplicate_field", name)


def test_the_second_of_two_is_refused_before_its_payload() -> None:
    observer = FormObserver(BOUNDARY)
    with pytest.raises(GatewayError, match="more than once"):
        observer.feed(form(FILE, FILE)[: -len(FILE.payload) - 44])


LIMITED = {
    "one field": (form(field("prompt", "a" * 21)), ("field_too_large", "prompt")),
    "all fields": (form(*[field(f"f{at}", "a" * 20) for at in range(3)]), ("field_too_large", "f2")),
    "parts": (form(*[field("f", "")] * 7), ("field_too_large", None)),
    "headers": (form(field("n" * 80)), ("field_too_large", None)),
    "preamble": (b"a" * 5000, ("invalid_multipart", None)),
    "epilogue": (form(FILE) + b"a" * 5000, ("invalid_multipart", None)),
}


@pytest.mark.parametrize(("body", "refusal"), LIMITED.values(), ids=LIMITED.keys())
def test_what_is_kept_is_limited(body: bytes, refusal: tuple[str, str | None]) -> None:
    assert refused(body, SMALL) == refusal


def test_the_file_is_not_limited() -> None:
    assert observed(form(Part("file", bytes(10_000), "a.wav")), SMALL).ended


def test_large_fields_pass_by_default() -> None:
    """known_speaker_references[]: up to four data URLs of ten seconds of audio."""
    references = [field("known_speaker_references[]", "data:audio/wav;base64," + "A" * 262_000)] * 3
    assert observed(form(MODEL, *references, FILE)).ended
    with pytest.raises(GatewayError) as refusal:
        observed(form(field("prompt", "a" * 262_145)))
    assert (refusal.value.code, refusal.value.param) == ("field_too_large", "prompt")


def test_a_body_that_ends_early_is_a_truncated_upload() -> None:
    assert refused(form(MODEL, FILE)[:-1]) == ("truncated_upload", None)
    assert refused(b"") == ("truncated_upload", None)


def test_bytes_after_the_form_are_ignored() -> None:
    assert observed(form(MODEL, FILE) + b"\r\n" + form(MODEL, FILE)[:1000]).extra_files == 0


def test_an_observer_that_refused_is_not_fed_again() -> None:
    observer = FormObserver(BOUNDARY)
    with pytest.raises(GatewayError):
        observer.feed(b"x" * 5000)
    with pytest.raises(RuntimeError):
        observer.feed(form(MODEL))


def test_its_repr_shows_names_and_no_values() -> None:
    observer = observed(form(field("prompt", "secret"), FILE))
    assert repr(observer) == "<FormObserver fields=['prompt'] file=True ended=True>"


INCOMPLETE = {
    "no file": (form(MODEL), "missing_file", "file"),
    "an empty file": (form(MODEL, Part("file", b"", "a.wav")), "missing_file", "file"),
    "nothing": (closing(), "missing_file", "file"),
    "no model": (form(FILE), "missing_model", "model"),
    "an empty model": (form(FILE, field("model", "")), "missing_model", "model"),
    "a model that is a file": (form(FILE, Part("model", b"x", "m")), "missing_model", "model"),
}


@pytest.mark.parametrize(("body", "code", "param"), INCOMPLETE.values(), ids=INCOMPLETE.keys())
def test_a_form_without_what_every_transcription_needs_is_refused(body: bytes, code: str, param: str) -> None:
    with pytest.raises(GatewayError) as refusal:
        check_complete(observed(body), model_required=True)
    assert (refusal.value.code, refusal.value.param) == (code, param)
    assert f"'{param}'" in refusal.value.message


def test_a_complete_form_passes_and_some_providers_need_no_model() -> None:
    check_complete(observed(form(FILE, MODEL)), model_required=True)
    check_complete(observed(form(FILE)), model_required=False)


@given(forms(), st.integers())
def test_the_report_of_any_form_is_the_forms_content(drawn: tuple[bytes, list[Part]], seed: int) -> None:
    boundary, parts = drawn
    names = [part.name for part in parts]
    for chunks in random_cuts(form(*parts, boundary=boundary), 4, seed=seed):
        said = report(chunks, boundary)
        if names.count("model") > 1:
            assert said["error"][:2] == ("duplicate_field", "model")
            continue
        assert said["error"] is None
        assert sum(len(values) for _, values in said["fields"]) == len(parts) - 1
        (file,) = (part for part in parts if part.name == "file")
        assert (said["size"], said["file"][2]) == (len(file.payload), names.index("file"))
        assert said["container"] == (sniff(file.payload) if file.payload else None)


@given(st.binary(max_size=300), st.integers())
def test_only_declared_errors_escape_and_the_cuts_never_decide(body: bytes, seed: int) -> None:
    body = form(MODEL)[:-6] + b"\r\n" + body
    expected = report([body], limits=SMALL)
    for chunks in random_cuts(body, 4, seed=seed):
        assert report(chunks, limits=SMALL) == expected
