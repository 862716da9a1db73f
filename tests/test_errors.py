"""The table of errors is the contract's, and an answer is what OpenAI's and Portkey's SDKs read (INTERFACE 4)."""

from __future__ import annotations

import pytest

from proxy.errors import KINDS, GatewayError

CONTRACT = {
    400: "invalid_config unknown_config invalid_provider missing_provider invalid_custom_host invalid_header "
    "invalid_multipart missing_file missing_model duplicate_field field_too_large unsupported_format truncated_upload",
    401: "invalid_api_key missing_api_key missing_provider_key",
    403: "not_allowed",
    404: "unknown_route",
    405: "method_not_allowed",
    408: "request_timeout upload_timeout",
    413: "upload_too_large",
    415: "unsupported_media_type unsupported_encoding",
    417: "expectation_failed",
    499: "client_left",
    502: "upstream_unreachable upstream_broke",
    503: "overloaded circuit_open draining",
    504: "upstream_timeout",
}


@pytest.mark.parametrize(("status", "code"), [(s, code) for s, codes in CONTRACT.items() for code in codes.split()])
def test_a_code_has_the_status_of_the_contract(status: int, code: str) -> None:
    assert GatewayError(code, "m").status == status


@pytest.mark.parametrize("code", KINDS)
def test_type_and_source_follow_from_the_status(code: str) -> None:
    kind = KINDS[code]
    types = {401: "authentication_error", 403: "permission_error", 408: "timeout_error", 499: "client_closed_request"}
    assert kind.type == types.get(kind.status, "invalid_request_error" if kind.status < 500 else "server_error")
    assert (kind.source == "upstream") is (kind.status in {502, 504})
    if kind.status < 500 and code != "request_timeout":
        assert kind.source == "client"


@pytest.mark.parametrize("code", KINDS)
def test_trying_again_may_help_only_where_nothing_was_decided_about_the_request(code: str) -> None:
    retryable = {"upstream_unreachable", "upstream_broke", "overloaded", "circuit_open", "draining"}
    assert KINDS[code].retryable is (code in retryable)


def test_the_body_says_everything_twice_for_two_kinds_of_sdk() -> None:
    error = GatewayError("missing_file", "There is no file. Send one.", param="file", retry_after=3)
    assert error.body() == {
        "status": "failure",
        "message": "There is no file. Send one.",
        "error": {
            "message": "There is no file. Send one.",
            "type": "invalid_request_error",
            "param": "file",
            "code": "missing_file",
        },
    }
    assert (error.retry_after, error.failure, str(error)) == (3, "gateway_refused", "There is no file. Send one.")
