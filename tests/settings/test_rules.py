"""What one key alone cannot see: keys that exclude each other, slugs given twice."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from proxy.settings.rules import GUARD

if TYPE_CHECKING:
    from tests.settings.conftest import Read, Refuse

VIRTUAL_KEYS = "virtual_keys: [{slug: a, provider: openai, key: b}]"
DIGEST = hashlib.sha256(b"b").hexdigest()

BROKEN = [
    # open mode, virtual keys, and a listener that strangers may reach
    (f"listen: :8787\n{VIRTUAL_KEYS}", f"auth.mode: {GUARD}"),
    (f"listen: 10.0.0.1:8787\nauth: {{mode: open}}\n{VIRTUAL_KEYS}", f"auth.mode: {GUARD}"),
    # listeners
    ("ops: {listen: 127.0.0.1:8787}", "ops.listen: must not be the same address as listen; choose another port"),
    # names
    (
        "configs: [{slug: a, config: {}}, {slug: b, config: {}}, {slug: a, config: {}}]",
        "configs[2].slug: the same slug as entry 0; give each its own",
    ),
    ("providers: [{slug: a}, {slug: a}]", "providers[1].slug: the same slug as entry 0; give each its own"),
    (
        "auth: {keys: [{name: a, key: b}, {name: a, key: c}]}",
        "auth.keys[1].name: the same name as entry 0; give each its own",
    ),
    # gateway keys
    ("auth: {keys: [{name: a}]}", "auth.keys[0]: needs exactly one of key, key_file and key_sha256"),
    (
        f"auth: {{keys: [{{name: a, key: b, key_sha256: {DIGEST}}}]}}",
        "auth.keys[0]: needs exactly one of key, key_file and key_sha256",
    ),
    (
        f"auth: {{keys: [{{name: a, key: b}}, {{name: c, key_sha256: {DIGEST.upper()}}}]}}",
        "auth.keys[1]: the same key as entry 0; give each its own",
    ),
    # virtual keys
    (
        "virtual_keys: [{slug: a, provider: b, deployment_id: c, deployments: {m: d}}]",
        "virtual_keys[0].deployments: deployment_id is given too; keep one of the two",
    ),
    (
        "virtual_keys: [{slug: a, provider: b, entra_tenant_id: c}]",
        "virtual_keys[0]: needs entra_client_id and entra_client_secret beside the other entra_ keys",
    ),
]

KEPT = [
    VIRTUAL_KEYS,
    f"listen: '[::1]:1'\n{VIRTUAL_KEYS}",
    f"listen: :8787\nauth: {{mode: keys}}\n{VIRTUAL_KEYS}",
    f"listen: :8787\nauth: {{trust_network: yes}}\n{VIRTUAL_KEYS}",
    "listen: :8787",
    "listen: :8787\nvirtual_keys: []",
    "listen: 127.0.0.1:0\nops: {listen: 127.0.0.1:0}",
    "virtual_keys: [{slug: a, provider: b}]\nproviders: [{slug: a}]\nconfigs: [{slug: a, config: {}}]",
]


@pytest.mark.parametrize(("text", "mistake"), BROKEN, ids=[mistake for _, mistake in BROKEN])
def test_a_broken_rule_says_what_to_do(text: str, mistake: str, refuse: Refuse) -> None:
    assert refuse(text) == [mistake]


@pytest.mark.parametrize("text", KEPT)
def test_what_keeps_the_rules_is_accepted(text: str, read: Read) -> None:
    read(text)


def test_rules_are_checked_whatever_else_is_wrong(refuse: Refuse) -> None:
    found = refuse(f"workers: many\nlisten: :8787\n{VIRTUAL_KEYS}\nauth: 5\nlimits: []")
    assert f"auth.mode: {GUARD}" not in found  # what auth would have said is not known
    assert f"auth.mode: {GUARD}" in refuse(f"workers: many\nlisten: :8787\n{VIRTUAL_KEYS}\nlimits: []")


def test_a_value_that_could_not_be_learnt_breaks_no_rule(refuse: Refuse) -> None:
    assert refuse("auth: {keys: [{name: a, key: '${UNSET}'}]}") == [
        "auth.keys[0].key: the variable UNSET is not set; set it, or give a default: ${UNSET:-…}"
    ]
