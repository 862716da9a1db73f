"""What the operator may be shown of the settings in force."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import orjson

from proxy.settings import Settings, redacted, secrets_in

if TYPE_CHECKING:
    from tests.settings.conftest import Read

EVERY_SECRET = """
ops: {token: SECRET-1}
auth:
  mode: keys
  keys:
    - {name: a, key: SECRET-2, metadata: {token: kept}}
    - {name: b, key_sha256: 5EC0E7000000000000000000000000000000000000000000000000000005EC0E}
virtual_keys:
  - {slug: a, provider: b, key: SECRET-3, azure_ad_token: SECRET-4, entra_tenant_id: t, entra_client_id: c,
     entra_client_secret: SECRET-5}
configs:
  - slug: a
    config:
      api_key: SECRET-6
      custom_host: https://me:SECRET-7@x/v1?api_key=SECRET-8&version=1
      targets:
        - {virtual_key: a, azure_entra_client_secret: SECRET-9, aws_secret_access_key: SECRET-10, api_key: null}
      override_params: {token: SECRET-11, Authorization: SECRET-12, max_tokens: 5}
"""


def test_no_secret_is_in_the_view(read: Read) -> None:
    settings = read(EVERY_SECRET).settings
    view = json.dumps(redacted(settings))
    assert "SECRET" not in view
    assert "5ec0e" not in view.lower()
    assert "SECRET" not in repr(settings)


def test_everything_else_is_in_the_view(read: Read) -> None:
    view = redacted(read(EVERY_SECRET).settings)
    assert view["auth"]["keys"][0]["metadata"] == {"token": "kept"}
    tls = dict.fromkeys(("cert", "key", "client_ca", "client_auth"))
    assert view["ops"] == {"listen": "127.0.0.1:8788", "token": "***", "hosts": [], "tls": tls}
    assert view["configs"][0]["config"] == {
        "api_key": "***",
        "custom_host": "https://***@x/v1?api_key=***&version=1",
        "targets": [
            {
                "virtual_key": "a",
                "azure_entra_client_secret": "***",
                "aws_secret_access_key": "***",
                "api_key": None,
            }
        ],
        "override_params": {"token": "***", "Authorization": "***", "max_tokens": 5},
    }


def test_the_view_is_json_in_the_shape_of_the_file(read: Read) -> None:
    view = redacted(Settings())
    assert read(orjson.dumps(view).decode()).settings == Settings()


def test_every_secret_is_known_by_value_longest_first(read: Read) -> None:
    secrets = secrets_in(read(EVERY_SECRET).settings)
    in_urls = {"SECRET-7", "SECRET-8"}
    assert set(secrets) == {f"SECRET-{n}" for n in range(1, 13)} - in_urls
    assert [len(secret) for secret in secrets] == sorted((len(secret) for secret in secrets), reverse=True)
    assert secrets_in(Settings()) == ()
