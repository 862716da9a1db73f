"""Loads the settings anew on SIGHUP or when one of their files changes; a bad file changes nothing."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from proxy.server.assemble import assemble
from proxy.server.certificates import remarks
from proxy.server.logs import log
from proxy.server.notify import Notifier
from proxy.settings import SettingsError, fingerprint, load
from proxy.settings.environment import CONFIG_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from proxy.relay.house import House
    from proxy.settings import Loaded, Mistake, Settings

_UNHEARD: Final = logging.getLogger("audiogate.unheard")
_UNHEARD.disabled = True
_LOOK_EVERY: Final = 1.0  # seconds: kubelet swaps mounted files once a minute, an editor's save should feel immediate


class Source:
    """Where the settings come from: read again, it gives what the file, the environment and the flags say now."""

    def __init__(self, path: str | None, environ: Mapping[str, str], flags: Mapping[str, Any]) -> None:
        self.path = path
        self.flags = dict(flags)
        self.environ = dict(environ)

    @property
    def name(self) -> str | None:
        """The settings file's name without its folder, or None when there is no file."""
        path = self.path or self.environ.get(CONFIG_VARIABLE)
        return Path(path).name if path else None

    def load(self) -> tuple[Loaded, House]:
        """Return settings and house; raises SettingsError with the mistakes of both."""
        try:
            loaded = load(self.path, environ=self.environ, flags=self.flags)
        except SettingsError as error:
            names = assemble(error.partial)[1] if error.partial is not None else ()
            raise SettingsError(error.mistakes + names, files=error.files, fingerprint=error.fingerprint) from None
        house, mistakes = assemble(loaded.settings)
        if mistakes:
            raise SettingsError(mistakes, files=loaded.files, fingerprint=loaded.fingerprint)
        return loaded, house


class Reloader:
    """Watches a source and hands every good house to ``adopt``. ``succeeded`` tells of the last try.

    A ``quiet`` one leaves it to others to tell of what they all see. ``notifier`` tells the service manager.
    """

    def __init__(self, source: Source, loaded: Loaded, adopt: Callable[[House], None], *, quiet: bool = False) -> None:
        self.succeeded = True
        self.notifier = Notifier()
        self._log = _UNHEARD if quiet else log
        self._source = source
        self._adopt = adopt
        self._started = loaded.settings  # what listeners and workers were made from, for as long as they live
        self._files, self._fingerprint = loaded.files, loaded.fingerprint

    async def watch(self) -> None:
        """Look at the files again and again, for ever."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            if self._files and await asyncio.to_thread(fingerprint, self._files) != self._fingerprint:
                self.reload()

    def reload(self) -> None:
        """Load now; keep the old settings when the new ones have mistakes."""
        self.notifier.reloading()
        try:
            loaded, house = self._source.load()
        except SettingsError as error:
            self._files, self._fingerprint = error.files or self._files, error.fingerprint
            self.succeeded = False
            problem = f"settings refused, the old ones stay: {describe(error.mistakes)}"
            self._log.error("%s", problem)
            self.notifier.reloaded(problem)
            return
        self._files, self._fingerprint = loaded.files, loaded.fingerprint
        for name in _fixed_changes(self._started, loaded.settings):
            self._log.warning("%s has changed: a restart is needed for that", name)
        self.succeeded = True
        self._adopt(house)
        for remark in remarks(loaded.settings):
            self._log.warning("%s", remark)
        self._log.info("settings loaded anew")
        self.notifier.reloaded()


def describe(mistakes: tuple[Mistake, ...]) -> str:
    """Return all mistakes on one line, for a log."""
    return "; ".join(map(str, mistakes))


def _fixed_changes(old: Settings, new: Settings) -> list[str]:
    fixed = {
        "listen": (old.listen, new.listen),
        "ops.listen": (old.ops.listen, new.ops.listen),
        "workers": (old.workers, new.workers),
        "tls": (old.tls.cert is None, new.tls.cert is None),
        "ops.tls": (old.ops.tls.cert is None, new.ops.tls.cert is None),
        "records.store": (old.records.store, new.records.store),
        "metrics.key_label": (old.metrics.key_label, new.metrics.key_label),
        "metrics.models": (old.metrics.models, new.metrics.models),
    }
    return [name for name, (before, after) in fixed.items() if before != after]
