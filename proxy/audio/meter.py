"""Watches one file of audio as it passes: its container by the first bytes, its duration by all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.audio.container import FLAC, MP3, MP4, NEEDED, OGG, WAV, WEBM, Container, sniff
from proxy.audio.duration import UNKNOWN_DURATION, Duration, Probe, Unmeasured
from proxy.audio.flac import FlacProbe
from proxy.audio.mp3 import Mp3Probe
from proxy.audio.mp4 import Mp4Probe
from proxy.audio.ogg import OggProbe
from proxy.audio.wav import WavProbe
from proxy.audio.webm import WebmProbe

if TYPE_CHECKING:
    from collections.abc import Mapping

# A new format of which the duration can be told is one more row.
_PROBES: Final[Mapping[str, type[Probe]]] = {
    WAV.name: WavProbe,
    FLAC.name: FlacProbe,
    MP3.name: Mp3Probe,
    MP4.name: Mp4Probe,
    OGG.name: OggProbe,
    WEBM.name: WebmProbe,
}


def probe_for(container: Container) -> Probe:
    """Return a new probe for a file of ``container``."""
    return _PROBES.get(container.name, Unmeasured)()


class Meter:
    """Push parser: ``feed`` it a file, tell it when that ``end``s, and ask for its ``duration`` at any time.

    ``container`` is None until the first bytes have shown it, or the file ended; ``size`` counts bytes. It never
    raises, holds no more than its probe does, and does nothing per byte. ``fault`` is what a probe should not have
    raised.
    """

    __slots__ = ("_final", "_head", "_probe", "container", "fault", "size")

    def __init__(self) -> None:
        self.container: Container | None = None
        self.size = 0
        self.fault: Exception | None = None
        self._head = b""
        self._probe: Probe | None = None
        self._final: Duration | None = None

    @property
    def seconds(self) -> float:
        """The audio seen so far, in seconds, as far as it can be told while bytes still come."""
        return 0.0 if self._probe is None else self._probe.seconds

    @property
    def duration(self) -> Duration:
        """How long the audio is, as far as the bytes that have come show it."""
        if self._final is not None:
            return self._final
        if self._probe is None:
            return UNKNOWN_DURATION
        try:
            return self._probe.finish()
        except Exception as error:  # noqa: BLE001  (see feed)
            self._give_up(error)
            return UNKNOWN_DURATION

    def feed(self, chunk: bytes) -> None:
        """Take the file's next bytes."""
        self.size += len(chunk)
        if self._probe is None:
            self._head += chunk
            if len(self._head) >= NEEDED:
                self._begin()
            return
        try:
            self._probe.feed(chunk)
        except Exception as error:  # noqa: BLE001  (an observer never breaks the stream; whoever asks logs the fault)
            self._give_up(error)

    def end(self) -> None:
        """Take note that no more will come: a short file shows only now what it is."""
        if self._probe is None and self._head:
            self._begin()
        try:
            if self._probe is not None:
                self._probe.end()
        except Exception as error:  # noqa: BLE001  (see feed)
            self._give_up(error)
        self._final = self.duration

    def _begin(self) -> None:
        head, self._head = self._head, b""
        self.container = sniff(head)
        self._probe = probe_for(self.container)
        self.size -= len(head)
        self.feed(head)

    def _give_up(self, error: Exception) -> None:
        self.fault = error
        self._probe = Unmeasured()
