"""A local speech engine with OpenAI's audio API: an upstream for trials, demos and tests.

    serve         listen on an address
    app           the endpoints: OpenAI's shapes, streaming, errors
    form          a request's form, within limits
    bench         how many requests at once, and the threads they work in
    recogniser    samples → words, by pocketsphinx
    agreement     which words of a growing hypothesis may be sent already
    transcript    words → text, json, verbose_json, srt, vtt
    sound         wav, mp3, flac, ogg → samples, by miniaudio
    errors        OpenAI's error shape

It needs the ``local`` extra, is imported only by the commands that start it, and is never used unless asked
for.
"""

from __future__ import annotations

from proxy.engines.app import Limits, make_app
from proxy.engines.errors import MissingExtraError
from proxy.engines.serve import DEFAULT_HOST, DEFAULT_PORT, SAMPLE_TEXT, RunningEngine, sample_path, serve

__all__ = [
    "DEFAULT_HOST",
    "DEFAULT_PORT",
    "SAMPLE_TEXT",
    "Limits",
    "MissingExtraError",
    "RunningEngine",
    "make_app",
    "sample_path",
    "serve",
]
