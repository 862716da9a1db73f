"""What is written by hand is what the protobuf library reads, and what it writes can be looked into."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from proxy.records import protobuf

INTEGERS = st.integers(-(2**63) + 1, 2**63 - 1)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_is_read_as_it_was(value: str) -> None:
    assert AnyValue.FromString(protobuf.text(1, value)).string_value == value


def test_half_a_character_becomes_a_question_mark() -> None:
    assert AnyValue.FromString(protobuf.text(1, "a\ud800b")).string_value == "a?b"


@given(INTEGERS)
def test_an_integer_is_read_as_it_was(value: int) -> None:
    assert AnyValue.FromString(protobuf.integer(3, value)).int_value == value


@pytest.mark.parametrize(("value", "read"), [(2**63, 2**63 - 1), (10**30, 2**63 - 1), (-(10**30), -(2**63) + 1)])
def test_an_integer_that_is_too_large_is_the_largest(value: int, read: int) -> None:
    assert AnyValue.FromString(protobuf.integer(3, value)).int_value == read


@given(st.floats(allow_nan=False))
def test_a_double_is_read_as_it_was(value: float) -> None:
    assert AnyValue.FromString(protobuf.double(4, value)).double_value == value


@pytest.mark.parametrize("value", [True, False])
def test_a_bool_is_read_as_it_was(value: bool) -> None:
    read = AnyValue.FromString(protobuf.boolean(2, value))
    assert (read.WhichOneof("value"), read.bool_value) == ("bool_value", value)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1))
def test_fixed_numbers_are_read_as_they_were(wide: int, narrow: int) -> None:
    read = Span.FromString(protobuf.fixed64(7, wide) + protobuf.fixed32(16, narrow))
    assert (read.start_time_unix_nano, read.flags) == (wide, narrow)


@given(st.integers(0, 40_000))
def test_a_message_of_any_size_is_read_whole(size: int) -> None:
    pair = KeyValue.FromString(protobuf.text(1, "name") + protobuf.data(2, protobuf.text(1, "x" * size)))
    assert (pair.key, len(pair.value.string_value)) == ("name", size)


@given(st.integers(0, 2**63 - 1), st.text(max_size=20))
def test_an_integer_is_found_inside_a_message(rejected: int, text: str) -> None:
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = rejected
    response.partial_success.error_message = text
    assert protobuf.integer_in(response.SerializeToString(), 1, 1) == rejected


@pytest.mark.parametrize("body", [b"", b"\x0a\x00", b"{}", b"<html>", b"\x08\x05", b"\x0a", b"\xff" * 20])
def test_what_is_not_there_is_nothing(body: bytes) -> None:
    assert protobuf.integer_in(body, 1, 1) == 0


@given(st.binary(max_size=60))
def test_whatever_somebody_answers_is_a_number(body: bytes) -> None:
    assert protobuf.integer_in(body, 1, 1) >= 0
