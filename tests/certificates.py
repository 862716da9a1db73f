"""Certificates for the tests, made when they are needed: authorities, and what they issue, as files."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, NamedTuple

import trustme

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path


class Pair(NamedTuple):
    """The files of a certificate and of its key."""

    cert: Path
    key: Path

    @property
    def settings(self) -> dict[str, str]:
        """The pair as a ``tls`` section names it."""
        return {"cert": str(self.cert), "key": str(self.key)}


class Authority:
    """A certificate authority whose certificate is in ``file``."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._ca = trustme.CA(organization_name=name)
        self.file = folder / f"{name}.crt"
        self._ca.cert_pem.write_to_path(str(self.file))

    def issue(
        self,
        name: str = "tls",
        *hosts: str,
        not_after: datetime | None = None,
        key_type: trustme.KeyType = trustme.KeyType.ECDSA,
    ) -> Pair:
        """Issue a certificate for ``hosts`` (this machine by default) into files called ``name``; those before go."""
        issued = self._ca.issue_cert(*hosts or ("127.0.0.1", "localhost"), not_after=not_after, key_type=key_type)
        pair = Pair(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        issued.private_key_pem.write_to_path(str(pair.key))
        pair.cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        return pair

    def client(self, shown: Pair | None = None) -> ssl.SSLContext:
        """Return a client's context that trusts this authority and shows a certificate, if it has one."""
        context = ssl.create_default_context(cafile=self.file)
        if shown is not None:
            context.load_cert_chain(*shown)
        return context
