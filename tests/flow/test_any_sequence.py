"""Whatever fails after whatever else: the client's answer, the upstreams' bytes and the record tell the same story."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.flow.client import pieces
from tests.flow.faults import FAULTS
from tests.flow.forms import audio, field, file, form
from tests.flow.scripts import READ_ALL, reply, send
from tests.flow.trio import Trio, got_audio, targets, told, with_config

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.flow.client import Reply
    from tests.flow.driver import Upstream
    from tests.flow.faults import Fault
    from tests.flow.gateway import Gateway

AUDIO = audio(60_000, seed=19)
FIELD = field("model", "whisper-1")
BODIES = {"file last": form(FIELD, file(AUDIO)), "file first": form(file(AUDIO), FIELD)}
GOOD = "answers"
ENDS: dict[str, Fault | None] = {GOOD: None, **FAULTS}
SEQUENCES = (
    st.lists(  # each upstream once: a connection that was left by its peer looks like one that may be used again
        st.tuples(st.sampled_from("abc"), st.sampled_from(list(ENDS))),
        min_size=1,
        max_size=3,
        unique_by=lambda each: each[0],
    )
)


@given(SEQUENCES, st.sampled_from(list(BODIES)), st.booleans())
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_the_answer_is_the_first_good_one_else_the_last_failure_and_the_record_agrees(
    trio_gateway: tuple[Gateway, Iterator[int]],
    three: Mapping[str, Upstream],
    sequence: list[tuple[str, str]],
    order: str,
    chunked: bool,
) -> None:
    body = BODIES[order]
    trio, said = Trio(trio_gateway[0], three), f'{{"text":"{"-".join(name for name, _ in sequence)}"}}'.encode()
    for name, end in sequence:
        fault = ENDS[end]
        if fault is None or fault.connects:
            good = [READ_ALL, send(reply(200, said))]
            trio.all[name].script(*(good if fault is None else fault.script(len(body))))
    config = targets("fallback", *(target(name, ENDS[end]) for name, end in sequence))
    answer = post(trio, body, config, chunked=chunked)
    tried = [*takewhile_failed(sequence)]
    record = trio.record()
    check_answer(answer, ENDS[tried[-1][1]], said)
    assert answer.header("x-portkey-last-used-option-index") == f"config.targets[{len(tried) - 1}]"
    assert record["status"] == answer.status
    assert told(record, "failure", "status") == [
        (f"config.targets[{index}]", *((fault.failure, fault.status) if fault is not None else (None, 200)))
        for index, fault in enumerate(ENDS[end] for _, end in tried)
    ]
    check_upstreams(trio, body, tried)


def target(name: str, fault: Fault | None) -> dict[str, Any]:
    """Return a target's entry: the fault's own, at this upstream."""
    if fault is None or fault.connects:
        return {**(fault.target if fault is not None else {}), "virtual_key": f"key-{name}"}
    return fault.target


def takewhile_failed(sequence: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield the targets up to the first that answers."""
    for name, end in sequence:
        yield name, end
        if end == GOOD:
            return


def post(trio: Trio, body: bytes, config: Mapping[str, Any], *, chunked: bool) -> Reply:
    with trio.a.connect() as connection:
        trio.a.begin(connection, None if chunked else len(body), with_config(config))
        if connection.upload(pieces(body, 20_000), chunked=chunked) == len(body) and chunked:
            connection.push(b"0\r\n\r\n")
        return connection.read_reply()


def check_answer(answer: Reply, fault: Fault | None, said: bytes) -> None:
    if fault is FAULTS["cuts its chunked answer"]:  # nobody else is left, so it is passed on as it comes, and cut
        assert (answer.status, answer.clean) == (200, False)
        return
    assert answer.clean
    if fault is None:
        assert (answer.status, answer.body) == (200, said)
    else:
        assert (answer.status, answer.code) == fault.answer


def check_upstreams(trio: Trio, body: bytes, tried: list[tuple[str, str]]) -> None:
    """Each upstream was asked as often as it was its turn, and got the client's bytes from the first."""
    turns: Counter[str] = Counter()
    for name, end in tried:
        fault = ENDS[end]
        if fault is None or fault.connects:
            trio.all[name].release("never")
            seen = trio.all[name].seen("done", index=turns[name])
            assert body.startswith(seen.body)
            if fault is None:
                got_audio(seen, AUDIO)
            turns[name] += 1
    assert trio.asked() == {name: turns[name] for name in "abc"}
