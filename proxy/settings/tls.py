"""The TLS sections: what a listener shows its clients, and what the gateway wants of an upstream.

Keys and certificates are paths of PEM files, never their content: files are read again when they change.
"""

from __future__ import annotations

from typing import Annotated, Literal

from proxy.settings.section import Section
from proxy.settings.values import Flag, HostName, Must, PemPath


class ListenerTls(Section):
    """TLS of a listener: on as soon as cert and key are given."""

    cert: PemPath | None = None
    """PEM file of the certificate, with its intermediates behind it, like tls.crt of a Kubernetes secret."""
    key: PemPath | None = None
    """PEM file of the certificate's private key, not encrypted."""
    client_ca: PemPath | None = None
    """PEM file of the authorities whose client certificates are accepted; null asks for none."""
    client_auth: Annotated[Literal["required", "optional"] | None, Must("required or optional")] = None
    """required (as null is, once there is a client_ca): nobody without a certificate. optional: if any, a good one."""


class UpstreamTls(Section):
    """TLS towards an upstream."""

    ca: PemPath | None = None
    """PEM file of the authorities to trust instead of the system's."""
    cert: PemPath | None = None
    """PEM file of the gateway's client certificate, with its intermediates behind it."""
    key: PemPath | None = None
    """PEM file of the client certificate's private key, not encrypted."""
    server_name: HostName | None = None
    """The name to ask for and to find in the certificate; null for the one in the address."""
    verify: Flag = True
    """Whether the certificate is checked; false is for trying things out."""
