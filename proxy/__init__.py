"""Audiogate: a streaming gateway for speech-to-text.

It streams the client's multipart audio to a provider while it arrives, and can still rewrite, meter and refuse it.

The rooms, from the street inwards:

    cli         the commands
    server      listeners and their lives: gateway, ops, reload, drain, workers
    ops         what operators see: health, metrics, the records' API, log-in, the console's files, the playground
    relay       one request, top to bottom: upload, attempt, reply (the only room that talks to upstreams)
    access      who is calling, and which hosts and keys they may use
    routing     which upstream a request goes to: config documents, the order of precedence
    providers   what differs between upstreams: URL, credentials, form fields
    form        multipart/form-data in flight: observe it, re-emit it
    audio       what the bytes say: the container by its first bytes, the duration as they pass
    metering    what a request used and costs: usage from replies, prices
    records     what happened: the record of a request, its line on stdout, the metrics it counts in
    store       where records are kept, and what one may ask of them: SQLite, PostgreSQL, roll-ups
    transcribe  the client behind ``audiogate transcribe``
    engines     a local speech engine with an OpenAI-style face: an upstream for trying things out
    settings    the settings file → one frozen Settings, all mistakes at once
    headers     what crosses and what never does: hop-by-hop, credentials, Portkey's own
    errors      every way a request can fail: code, source, status

Beside them lies ``console``, the files of the page that people look at, without a line of Python.

Arrows run down only:
``server → {relay, ops} → store → {access, routing, providers, form, audio, metering, records} →
{errors, headers, settings}``.
``routing``, ``providers``, ``form``, ``audio`` and ``metering`` know nothing of aiohttp, asyncio, the clock, the
environment or randomness: time and chance come in as arguments. ``tests/rules/test_rooms.py`` holds the code to this
map.
"""

__version__ = "0.1.0"
