"""A question is read as it was meant, or the one who asked is told which part cannot be read, and why."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.store.questions import (
    DAY,
    GROUPS,
    HOUR,
    MINUTE,
    NAMES,
    BadQuestionError,
    Filters,
    StatsQuestion,
    filters_from,
    stats_from,
)
from proxy.store.rollup import Measures, Stats

NOW = datetime(2026, 11, 21, 8, 30, 15, tzinfo=UTC).timestamp()
EIGHT = datetime(2026, 11, 21, 8, tzinfo=UTC).timestamp()

READ = [
    ({}, Filters()),
    (dict.fromkeys(NAMES, ""), Filters()),
    ({"since": "15m"}, Filters(since=NOW - 900)),
    ({"since": "24h", "until": "30s"}, Filters(since=NOW - DAY, until=NOW - 30)),
    ({"since": "30d"}, Filters(since=NOW - 30 * DAY)),
    ({"since": "999999d"}, Filters(since=0.0)),
    ({"since": "2026-11-21T08:00:00Z"}, Filters(since=EIGHT)),
    ({"since": "2026-11-21T09:00:00+01:00"}, Filters(since=EIGHT)),
    ({"since": "2026-11-21T08:00:00"}, Filters(since=EIGHT)),  # no zone is UTC
    ({"since": "2026-11-21"}, Filters(since=EIGHT - 8 * HOUR)),
    ({"since": "2026-11-21T08:00:00.250Z"}, Filters(since=EIGHT + 0.25)),
    ({"since": "0001-01-01"}, Filters(since=0.0)),
    ({"until": "1790000000"}, Filters(until=1_790_000_000.0)),
    ({"until": "1790000000.5"}, Filters(until=1_790_000_000.5)),
    ({"until": "9999-12-31T23:59:59Z"}, Filters(until=250_000_000_000.0)),
    ({"status": "200"}, Filters(statuses=((200, 200),))),
    ({"status": "4xx, 5XX,200"}, Filters(statuses=((400, 499), (500, 599), (200, 200)))),
    ({"outcome": "ok,client_left"}, Filters(outcomes=("ok", "client_left"))),
    ({"provider": " openai , groq ,"}, Filters(providers=("openai", "groq"))),
    ({"model": "whisper-1", "key": "mobile"}, Filters(models=("whisper-1",), keys=("mobile",))),
    ({"route": "speech,passthrough"}, Filters(routes=("speech", "passthrough"))),
    ({"trace": " abc,def "}, Filters(trace="abc,def")),  # a trace id may have commas
    ({"q": "  two words "}, Filters(text="two words")),
    ({"q": " "}, Filters()),
    ({"unknown": "x"}, Filters()),
]


@pytest.mark.parametrize(("asked", "meant"), READ, ids=[str(asked)[:60] for asked, _ in READ])
def test_filters_are_read_as_they_were_meant(asked: dict[str, str], meant: Filters) -> None:
    assert filters_from(asked, NOW) == meant


@pytest.mark.parametrize(
    ("asked", "param", "told"),
    [
        ({"since": "yesterday"}, "since", "is no time"),
        ({"until": "2026-13-01"}, "until", "is no time"),
        ({"until": "-5"}, "until", "is no time"),
        ({"since": "1e9"}, "since", "is no time"),
        ({"since": "5w"}, "since", "is no time"),
        ({"since": "nan"}, "since", "is no time"),
        ({"status": "abc"}, "status", "'abc' is no status"),
        ({"status": "6xx"}, "status", "is no status"),
        ({"status": "2000"}, "status", "is no status"),
        ({"status": "٢٠٠"}, "status", "is no status"),
        ({"outcome": "good"}, "outcome", "there is no outcome 'good'"),
        ({"provider": ",".join(map(str, range(51)))}, "provider", "too many values"),
        ({"q": "x" * 1001}, "q", "too long"),
        ({"anything": "x" * 1001}, "anything", "too long"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_read_is_told_with_its_name(asked: dict[str, str], param: str, told: str) -> None:
    with pytest.raises(BadQuestionError, match=told) as caught:
        filters_from(asked, NOW)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("asked", "since", "until", "bucket", "period"),
    [
        ({}, EIGHT - DAY + 30 * MINUTE, EIGHT + 45 * MINUTE, 15 * MINUTE, MINUTE),
        ({"since": "15m"}, EIGHT + 15 * MINUTE, EIGHT + 31 * MINUTE, MINUTE, MINUTE),
        ({"since": "15m", "bucket": "5m"}, EIGHT + 15 * MINUTE, EIGHT + 35 * MINUTE, 5 * MINUTE, MINUTE),
        ({"since": "15m", "bucket": "300"}, EIGHT + 15 * MINUTE, EIGHT + 35 * MINUTE, 5 * MINUTE, MINUTE),
        ({"since": "24h", "bucket": "1h"}, EIGHT - DAY, EIGHT + HOUR, HOUR, HOUR),
        ({"since": "2d"}, EIGHT - 2 * DAY, EIGHT + HOUR, HOUR, HOUR),
        ({"since": "30d"}, EIGHT - 8 * HOUR - 30 * DAY + 6 * HOUR, EIGHT + 4 * HOUR, 6 * HOUR, HOUR),
        # Minutes of last week are gone: what was asked for in minutes is answered in hours.
        ({"since": "7d", "until": "6d", "bucket": "5m"}, EIGHT - 7 * DAY, EIGHT - 6 * DAY + HOUR, HOUR, HOUR),
        ({"since": "90d", "bucket": "1d"}, EIGHT - 8 * HOUR - 90 * DAY, EIGHT + 16 * HOUR, DAY, HOUR),
    ],
    ids=lambda value: str(value)[:40],
)
def test_stats_are_of_whole_buckets_that_make_a_chart(
    asked: dict[str, str], since: int, until: int, bucket: int, period: int
) -> None:
    question = stats_from(asked, NOW)
    assert (question.since, question.until, question.bucket, question.period) == (since, until, bucket, period)


@pytest.mark.parametrize("group", GROUPS)
def test_stats_keep_filters_and_group_but_no_times(group: str) -> None:
    question = stats_from({"group_by": group, "provider": "groq", "status": "5xx", "since": "1h"}, NOW)
    assert question.group_by == group
    assert question.filters == Filters(providers=("groq",), statuses=((500, 599),))


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"q": "hello"}, "q"),
        ({"trace": "abc"}, "trace"),
        ({"since": "1h", "until": "2h"}, "since"),
        ({"since": "1h", "until": "1h"}, "since"),
        ({"group_by": "language"}, "group_by"),
        ({"bucket": "30s"}, "bucket"),
        ({"bucket": "90s"}, "bucket"),
        ({"bucket": "90m"}, "bucket"),
        ({"bucket": "0"}, "bucket"),
        ({"bucket": "32d"}, "bucket"),
        ({"bucket": "soon"}, "bucket"),
        ({"bucket": "9" * 999}, "bucket"),
        ({"bucket": "1m", "since": "2d"}, "bucket"),  # 2880 of them
        ({"since": "0"}, "bucket"),
    ],
    ids=str,
)
def test_stats_that_cannot_be_given_are_told_with_their_reason(asked: dict[str, str], param: str) -> None:
    with pytest.raises(BadQuestionError) as caught:
        stats_from(asked, NOW)
    assert caught.value.param == param
    assert caught.value.args[0]


WORDS = st.one_of(
    st.text(max_size=20),
    st.text("0123456789smhdxX.,-+:TZ ", max_size=30),
    st.datetimes().map(lambda moment: moment.isoformat()),
    st.integers(0, 10**14).map(str),
    st.from_regex(r"\d{1,7}[smhd]", fullmatch=True),
)


@given(st.dictionaries(st.sampled_from((*NAMES, "bucket", "group_by", "format")), WORDS))
def test_nothing_but_a_bad_question_comes_of_any_words(asked: dict[str, str]) -> None:
    for read in (filters_from, stats_from):
        try:
            question = read(asked, NOW)
        except BadQuestionError:
            continue
        if isinstance(question, StatsQuestion):
            assert question.since % question.bucket == question.until % question.bucket == 0
            assert 0 < (question.until - question.since) / question.bucket <= 2000
            assert Stats(question, Measures(), [], []).document()["since"].endswith("Z")
