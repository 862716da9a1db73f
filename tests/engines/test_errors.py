"""The engine's errors look like OpenAI's."""

from __future__ import annotations

from proxy.engines.errors import EngineError, MissingExtraError


def test_the_body_has_openais_four_words_and_nothing_else() -> None:
    error = EngineError("no", param="file", code="invalid_value")
    assert error.body() == {
        "error": {"message": "no", "type": "invalid_request_error", "param": "file", "code": "invalid_value"}
    }


def test_a_missing_package_is_named_with_the_command_that_installs_it() -> None:
    assert "pocketsphinx" in str(MissingExtraError("pocketsphinx"))
    assert "pip install 'audiogate[local]'" in str(MissingExtraError("pocketsphinx"))
