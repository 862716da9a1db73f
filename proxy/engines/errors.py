"""How the engine refuses: OpenAI's error shape, and the one error that means "not installed"."""

from __future__ import annotations

from typing import Any


class MissingExtraError(Exception):
    """The packages of the ``local`` extra are missing, so there is no engine to start."""

    def __init__(self, missing: str) -> None:
        super().__init__(
            f"The local speech engine needs the package {missing}, which is not installed: "
            "run pip install 'audiogate[local]'."
        )


class EngineError(Exception):
    """A request that the engine answers with an error.

    ``status`` is the HTTP status; ``type``, ``param`` and ``code`` are the words of OpenAI's error object;
    ``retry_after`` is in seconds. The shape is that of the OpenAI API reference, "Error codes".
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type: str = "invalid_request_error",  # noqa: A002  OpenAI's own name for it
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.type = type
        self.param = param
        self.code = code
        self.retry_after = retry_after

    def body(self) -> dict[str, Any]:
        """Return the JSON answer: ``{"error": {"message", "type", "param", "code"}}``."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}
