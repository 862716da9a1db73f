"""Records as files: lines that any reader of JSON takes, and rows that a spreadsheet takes for text."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.store.export import CSV_HEADER, csv_row, json_line
from tests.store.made import made, some


def row(record: dict[str, object]) -> dict[str, str]:
    """Return a record's row as a spreadsheet reads it."""
    text = (CSV_HEADER + csv_row(record)).decode()
    (found,) = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    return found


def test_the_columns_are_these_in_this_order() -> None:
    assert CSV_HEADER.decode() == (
        "id,trace_id,time,route,method,status,outcome,error_code,key_name,config,provider,model_requested,model_used,"
        "retry_count,cache_status,cost_usd,cost_basis,bytes_in,bytes_out,response_format,language,stream,client,"
        "user_agent,replay,audio_container,audio_filename,audio_bytes,audio_seconds,audio_seconds_source,"
        "usage_input_tokens,usage_output_tokens,usage_audio_tokens,usage_seconds,usage_characters,timing_total_ms,"
        "timing_upload_ms,timing_overhead_ms,timing_ttfb_upstream_ms,timing_overlap_saved_ms,attempts,metadata,"
        "transcript\r\n"
    )


def test_a_row_tells_what_the_record_says() -> None:
    record = made(7, filename="a.mp3", transcript='He said "hi", and\nleft', metadata={"team": "ä"}, key="mobile")
    record["usage"] = {"input_tokens": 5, "audio_tokens": 3}
    found = row(record)
    assert {
        name: found[name] for name in ("id", "status", "audio_filename", "audio_seconds", "cost_usd", "stream")
    } == {
        "id": record["id"],
        "status": "200",
        "audio_filename": "a.mp3",
        "audio_seconds": "6.0",
        "cost_usd": "0.0006",
        "stream": "false",
    }
    assert (found["transcript"], found["metadata"]) == ('He said "hi", and\nleft', '{"team": "ä"}')
    assert (found["usage_input_tokens"], found["usage_output_tokens"], found["attempts"]) == ("5", "", "1")
    assert (found["error_code"], found["timing_total_ms"]) == ("", "250.0")


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r", "\n"])
@pytest.mark.parametrize("name", ["transcript", "user_agent", "trace_id", "model_requested", "language"])
def test_no_words_of_a_client_become_a_formula(sign: str, name: str) -> None:
    found = row({**made(), name: f"{sign}HYPERLINK(1)"})
    assert found[name] == f"'{sign}HYPERLINK(1)"
    assert row({**made(filename=f"{sign}1")})["audio_filename"] == f"'{sign}1"


def test_a_number_below_zero_stays_one() -> None:
    assert row({**made(), "bytes_in": -1})["bytes_in"] == "-1"


@given(st.text())
def test_any_text_stays_in_its_cell(text: str) -> None:
    kept = text.encode("utf-8", "replace").decode()
    found = row({**made(), "transcript": text, "user_agent": text})
    assert found["transcript"] == found["user_agent"] in (kept, f"'{kept}")
    assert None not in found


@given(st.text())
def test_a_line_is_one_line_that_reads_as_the_record(text: str) -> None:
    record = {**made(), "transcript": text, "metadata": {"n": 1 << 70}}
    line = json_line(record)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert json.loads(line)["transcript"] == text.encode("utf-8", "replace").decode()


def test_lines_and_rows_are_whole_whatever_the_record() -> None:
    records = some(200)
    assert [json.loads(json_line(record)) for record in records] == records
    text = (CSV_HEADER + b"".join(map(csv_row, records))).decode()
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    assert [found["id"] for found in rows] == [record["id"] for record in records]
