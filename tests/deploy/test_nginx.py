"""The sample for nginx: accepted by it, and passing uploads on as they come."""

from __future__ import annotations

import datetime as dt
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from proxy.settings import Settings
from tests.bootstrap import found, in_ci, missing
from tests.rules.sources import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SAMPLE = (ROOT / "deploy" / "nginx" / "audiogate.conf").read_text(encoding="utf-8")
DEFAULTS = Settings()


def said(name: str) -> str:
    """Return what the sample's only directive of a name says."""
    (value,) = re.findall(rf"^ *{name} +([^;]+);", SAMPLE, re.MULTILINE)
    return str(value)


def seconds(name: str) -> int:
    return int(said(name).removesuffix("s"))


@pytest.fixture
def nginx() -> str:
    if (reason := missing("nginx")) is not None:
        if in_ci():
            pytest.fail(reason)
        pytest.skip(reason)
    return found("nginx") or "nginx"


def write_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stt.example.com")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
    certificate = builder.sign(key, hashes.SHA256())
    (folder / "stt.example.com.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "stt.example.com.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def test_nginx_accepts_it(nginx: str, tmp_path: Path) -> None:
    write_certificate(tmp_path)
    (tmp_path / "audiogate.conf").write_text(SAMPLE.replace("/etc/nginx/tls", str(tmp_path)))
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; events {{}} http {{ access_log off; include {tmp_path}/audiogate.conf; }}"
    )
    command = [nginx, "-t", "-q", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-e", "stderr"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("proxy_request_buffering", "off"),
        ("proxy_buffering", "off"),
        ("proxy_http_version", "1.1"),
        ("client_max_body_size", "0"),
        ("proxy_next_upstream", "off"),
    ],
)
def test_it_passes_on_what_comes_when_it_comes(name: str, value: str) -> None:
    assert said(name) == value


def test_its_patience_is_longer_than_the_gateways_whose_errors_say_more() -> None:
    timeouts = DEFAULTS.timeouts
    assert timeouts.first_byte is not None
    assert timeouts.upload_idle is not None
    assert timeouts.keepalive is not None
    assert seconds("proxy_read_timeout") > timeouts.first_byte
    assert seconds("client_body_timeout") > timeouts.upload_idle
    assert seconds("proxy_send_timeout") > timeouts.upload_idle
    assert seconds("keepalive_timeout") < timeouts.keepalive, "the side that sends closes first"


def test_it_shows_the_gateway_and_never_ops() -> None:
    assert str(DEFAULTS.listen) in SAMPLE
    assert str(DEFAULTS.ops.listen.port) not in SAMPLE
