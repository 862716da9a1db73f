"""Every operator of a condition as a table, what is refused, and what waits for a field to come."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.routing.conditions import (
    MAX_DEPTH,
    PATTERN_COST,
    Facts,
    ParamNeeded,
    check,
    cost,
    fields_of,
    holds,
    value_of,
)

METADATA = {"plan": "paid", "age": 42, "score": "0.70", "beta": True, "tags": ["a"], "nothing": None, "_user": "ada"}
PARAMS = {"model": "gpt-4o-transcribe", "temperature": "0.2", "stream": "true", "language": "de"}


def facts(params: dict[str, Any] = PARAMS, *, complete: bool = True) -> Facts:
    return Facts(METADATA, {"user-agent": "curl/8", "x-n": "7"}, "/v1/audio/transcriptions", params, complete)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, True),
        # a bare value is $eq; text counts character by character
        ({"metadata.plan": "paid"}, True),
        ({"metadata.plan": "Paid"}, False),
        ({"metadata.missing": "paid"}, False),
        ({"metadata.plan": {"$eq": "paid"}}, True),
        ({"metadata.plan": {"$ne": "paid"}}, False),
        ({"metadata.missing": {"$ne": "paid"}}, True),
        ({"metadata.nothing": {"$ne": "null"}}, True),
        ({"metadata.tags": "a"}, False),
        ({"metadata.tags": {"$ne": "a"}}, True),
        # numbers and booleans, also where the request can only send text
        ({"metadata.age": 42}, True),
        ({"metadata.age": "42"}, True),
        ({"metadata.age": 42.0}, True),
        ({"metadata.score": 0.7}, True),
        ({"metadata.score": "0.7"}, False),
        ({"params.temperature": 0.2}, True),
        ({"params.temperature": {"$ne": 0.2}}, False),
        ({"params.model": 0}, False),
        ({"params.stream": True}, True),
        ({"params.stream": False}, False),
        ({"params.stream": "true"}, True),
        ({"metadata.beta": True}, True),
        ({"metadata.beta": "TRUE"}, True),
        ({"metadata.beta": 1}, False),
        ({"metadata.age": True}, False),
        # orderings are of numbers
        ({"metadata.age": {"$gt": 41}}, True),
        ({"metadata.age": {"$gt": 42}}, False),
        ({"metadata.age": {"$gte": "42"}}, True),
        ({"metadata.age": {"$lt": 42.5}}, True),
        ({"metadata.age": {"$lte": 41}}, False),
        ({"metadata.age": {"$gt": 18, "$lt": 65}}, True),
        ({"metadata.age": {"$gt": 18, "$lt": 30}}, False),
        ({"params.temperature": {"$gt": 0.1}}, True),
        ({"headers.x-n": {"$gte": 7}}, True),
        ({"metadata.plan": {"$gt": 0}}, False),
        ({"headers.user-agent": {"$gte": 8}}, False),
        ({"metadata.missing": {"$lt": 1}}, False),
        ({"metadata.beta": {"$gt": 0}}, False),
        # lists
        ({"params.language": {"$in": ["en", "de"]}}, True),
        ({"params.language": {"$in": ["en"]}}, False),
        ({"params.language": {"$nin": ["en"]}}, True),
        ({"params.language": {"$nin": ["en", "de"]}}, False),
        ({"metadata.age": {"$in": ["41", "42"]}}, True),
        ({"params.missing": {"$in": ["en"]}}, False),
        ({"params.missing": {"$nin": ["en"]}}, True),
        # patterns
        ({"params.model": {"$regex": "^gpt-"}}, True),
        ({"params.model": {"$regex": "whisper"}}, False),
        ({"metadata.age": {"$regex": "^4"}}, True),
        ({"metadata.beta": {"$regex": "true"}}, True),
        ({"params.missing": {"$regex": "undefined"}}, False),
        ({"metadata.nothing": {"$regex": "null"}}, False),
        ({"metadata.tags": {"$regex": ""}}, False),
        ({"params.model": {"$regex": "^gpt-", "$ne": "gpt-4o-transcribe"}}, False),
        # headers in any case, the path, names with dots
        ({"headers.User-Agent": "curl/8"}, True),
        ({"url.pathname": "/v1/audio/transcriptions"}, True),
        ({"url.pathname": {"$regex": "/translations$"}}, False),
        ({"metadata.plan.name": {"$ne": "paid"}}, True),
        # several keys, $and, $or, and keys beside them
        ({"metadata.plan": "paid", "params.language": "de"}, True),
        ({"metadata.plan": "paid", "params.language": "en"}, False),
        ({"$or": [{"metadata.plan": "free"}, {"params.language": "de"}]}, True),
        ({"$or": [{"metadata.plan": "free"}, {"params.language": "en"}]}, False),
        ({"$and": [{"metadata.plan": "paid"}, {"params.language": "de"}]}, True),
        ({"$and": [{"metadata.plan": "paid"}, {"params.language": "en"}]}, False),
        ({"$or": [{"metadata.plan": "paid"}], "params.language": "en"}, False),
        ({"$and": [{"metadata.plan": "paid"}], "params.language": "en"}, False),
        ({"$or": [{"$and": [{"metadata.plan": "paid"}, {"metadata.age": 1}]}, {"metadata.beta": True}]}, True),
    ],
)
def test_a_query_holds_or_does_not(query: dict[str, Any], *, expected: bool) -> None:
    mistakes: list[tuple[str, str]] = []
    check(query, "query", mistakes)
    assert mistakes == []
    assert holds(query, facts()) is expected


SEEN = {"metadata.plan": "paid"}
UNSEEN = {"params.language": "de"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (UNSEEN, "language"),
        ({"params.language": {"$ne": "de"}}, "language"),
        ({"params.a": "1", "params.b": "2"}, "a"),
        ({"params.model": "whisper-1"}, True),
        # what is known may settle it, in whatever order it stands
        ({**UNSEEN, "metadata.plan": "free"}, False),
        ({"metadata.plan": "free", **UNSEEN}, False),
        ({**UNSEEN, **SEEN}, "language"),
        ({"$or": [UNSEEN, SEEN]}, True),
        ({"$or": [UNSEEN, {"metadata.plan": "free"}]}, "language"),
        ({"$and": [UNSEEN, {"metadata.plan": "free"}]}, False),
        ({"$and": [{"$or": [UNSEEN, SEEN]}, SEEN]}, True),
    ],
)
def test_a_field_to_come_is_waited_for_only_if_the_answer_hangs_on_it(
    query: dict[str, Any], expected: bool | str
) -> None:
    seen = facts({"model": "whisper-1"}, complete=False)
    if isinstance(expected, bool):
        assert holds(query, seen) is expected
    else:
        with pytest.raises(ParamNeeded) as needed:
            holds(query, seen)
        assert needed.value.name == expected
        assert holds(query, facts({"model": "whisper-1"}, complete=True)) in (True, False)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("metadata._user", "ada"),
        ("metadata.tags", ["a"]),
        ("headers.USER-AGENT", "curl/8"),
        ("params.model", "gpt-4o-transcribe"),
        ("params.missing", None),
        ("url.pathname", "/v1/audio/transcriptions"),
    ],
)
def test_a_key_leads_to_its_value(key: str, value: Any) -> None:
    assert value_of(key, facts()) == value


def test_the_headers_of_a_request_are_not_shown() -> None:
    assert "curl" not in repr(facts())


KEYS = "metadata.NAME, params.NAME, headers.NAME or url.pathname"
SCALAR = "must be text, a number, true or false"
NULL = "null equals nothing: a missing value is one for which $ne or $nin holds"


@pytest.mark.parametrize(
    ("query", "mistakes"),
    [
        ([], [("q", 'must be an object such as {"metadata.plan": "paid"}')]),
        (None, [("q", 'must be an object such as {"metadata.plan": "paid"}')]),
        ({"plan": "paid"}, [("q.plan", f"must be {KEYS}")]),
        ({"metadata.": "paid"}, [("q.metadata.", f"must be {KEYS}")]),
        ({"url.host": "x"}, [("q.url.host", f"must be {KEYS}")]),
        ({"body.model": "x"}, [("q.body.model", f"must be {KEYS}")]),
        ({"params.file": "x"}, [("q.params.file", "the file is no field: it cannot be asked about")]),
        (
            {"$not": [], "$eq": 1},
            [
                ("q.$not", f"only $and and $or may stand here: an operator belongs below {KEYS}"),
                ("q.$eq", f"only $and and $or may stand here: an operator belongs below {KEYS}"),
            ],
        ),
        ({"$and": []}, [("q.$and", "must be a list of queries, not empty")]),
        ({"$or": {"metadata.a": 1}}, [("q.$or", "must be a list of queries, not empty")]),
        (
            {"$or": [{"metadata.a": None}, 1]},
            [
                ("q.$or[0].metadata.a", NULL),
                ("q.$or[1]", 'must be an object such as {"metadata.plan": "paid"}'),
            ],
        ),
        ({"metadata.a": None}, [("q.metadata.a", NULL)]),
        ({"metadata.a": float("nan")}, [("q.metadata.a", SCALAR)]),
        ({"metadata.a": ["x"]}, [("q.metadata.a", 'use {"$in": […]} to compare with a list')]),
        ({"metadata.a": {}}, [("q.metadata.a", "must name an operator: it would always hold")]),
        ({"metadata.a": {"eq": 1}}, [("q.metadata.a.eq", "unknown operator; did you mean '$eq'?")]),
        ({"metadata.a": {"$eq": {}}}, [("q.metadata.a.$eq", SCALAR)]),
        ({"metadata.a": {"$ne": None}}, [("q.metadata.a.$ne", NULL)]),
        ({"metadata.a": {"$gt": "much"}}, [("q.metadata.a.$gt", "must be a number")]),
        ({"metadata.a": {"$lte": True}}, [("q.metadata.a.$lte", "must be a number")]),
        ({"metadata.a": {"$gt": "12abc"}}, [("q.metadata.a.$gt", "must be a number")]),
        ({"metadata.a": {"$in": "x"}}, [("q.metadata.a.$in", "must be a list of values, not empty")]),
        ({"metadata.a": {"$nin": []}}, [("q.metadata.a.$nin", "must be a list of values, not empty")]),
        ({"metadata.a": {"$in": ["x", []]}}, [("q.metadata.a.$in", SCALAR)]),
        ({"metadata.a": {"$regex": 1}}, [("q.metadata.a.$regex", "must be a pattern as text")]),
    ],
)
def test_a_query_that_makes_no_sense_is_refused_with_the_reason(query: Any, mistakes: list[tuple[str, str]]) -> None:
    found: list[tuple[str, str]] = []
    check(query, "q", found)
    assert found == mistakes


def test_nesting_has_a_limit() -> None:
    query: dict[str, Any] = {"metadata.a": 1}
    for _ in range(MAX_DEPTH):
        query = {"$and": [query]}
    mistakes: list[tuple[str, str]] = []
    check(query, "q", mistakes)
    assert mistakes == [("q" + ".$and[0]" * (MAX_DEPTH - 1) + ".$and", "is nested more than 8 deep")]


def test_comparisons_are_counted_and_fields_named() -> None:
    query = {"metadata.a": 1, "$or": [{"params.b": {"$gt": 1, "$lt": 3}}, {"$and": [{"url.pathname": "/"}]}]}
    assert cost(query) == 4
    assert cost({"params.b": {"$regex": "a", "$ne": "b"}}) == PATTERN_COST + 1
    assert list(fields_of(query)) == ["metadata.a", "params.b", "url.pathname"]


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=3), SCALARS, max_size=2)
OPERATORS = st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$regex"])
NAMES = st.sampled_from(["metadata.a", "params.a", "params.b", "headers.a", "url.pathname"])
QUERIES: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.dictionaries(NAMES, VALUES | st.dictionaries(OPERATORS, VALUES, max_size=3), max_size=3),
    lambda inner: st.dictionaries(st.sampled_from(["$and", "$or"]), st.lists(inner, max_size=3), max_size=2),
    max_leaves=6,
)


@given(QUERIES, VALUES, VALUES, st.text(st.characters()), st.booleans())
def test_every_query_that_is_not_refused_can_be_asked_of_every_request(
    query: dict[str, Any], metadata: Any, param: Any, header: str, complete: bool
) -> None:
    mistakes: list[tuple[str, str]] = []
    check(query, "q", mistakes)
    if not mistakes:
        asked = Facts({"a": metadata}, {"a": header}, "/", {"a": param}, complete)
        try:
            assert holds(query, asked) in (True, False)
        except ParamNeeded as needed:
            assert (needed.name, complete) == ("b", False)  # noqa: PT017  (one of two right ends)


@given(QUERIES, VALUES, VALUES)
def test_what_is_settled_early_stays_so_whatever_comes(query: dict[str, Any], metadata: Any, later: Any) -> None:
    mistakes: list[tuple[str, str]] = []
    check(query, "q", mistakes)
    if mistakes:
        return
    try:
        early = holds(query, Facts({"a": metadata}, {}, "/", {}, complete=False))
    except ParamNeeded:
        return
    for params in ({}, {"a": later}, {"a": later, "b": later}):
        assert holds(query, Facts({"a": metadata}, {}, "/", params, complete=True)) is early
