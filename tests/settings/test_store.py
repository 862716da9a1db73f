"""The store's address: what may be written, where a relative path starts, who named it, and that no password shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from proxy.settings import Settings, load, redacted, secrets_in
from proxy.settings.store import StoreUrl

if TYPE_CHECKING:
    from tests.settings.conftest import Read, Refuse

SERVER = "postgresql://audiogate:p%40ss-word@db.example.com:5432/records"
MUST = "must be sqlite:PATH, postgresql://USER:PASSWORD@HOST/DATABASE or none"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("sqlite:audiogate.db", "sqlite"),
        ("sqlite:a folder/é.db", "sqlite"),
        ("sqlite:/var/lib/audiogate.db", "sqlite"),
        (SERVER, "postgresql"),
        ("postgres://localhost/records?sslmode=require", "postgresql"),
        ("none", "none"),
    ],
)
def test_a_store_is_a_file_a_server_or_none(text: str, kind: str, read: Read) -> None:
    store = read(json.dumps({"records": {"store": text}})).settings.records.store
    assert (store.kind, store.named) == (kind, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("audiogate.db", MUST),
        ("mysql://host/records", MUST),
        ("postgresql://a b/c", MUST),
        ("sqlite:a\nb", MUST),
        ("", MUST),
        (None, MUST),
        (5, MUST),
        ("sqlite:", "must name a file after sqlite:, like sqlite:audiogate.db"),
        ("sqlite::memory:", "must name a file after sqlite:, like sqlite:audiogate.db"),
        (
            "sqlite:///audiogate.db",
            "must be sqlite:PATH, without slashes before the path; an absolute one has its own",
        ),
    ],
)
def test_what_is_no_store_is_refused_without_being_repeated(text: object, message: str, refuse: Refuse) -> None:
    assert refuse(json.dumps({"records": {"store": text}})) == [f"records.store: {message}"]


def test_a_relative_path_in_the_file_starts_at_its_folder(read: Read, tmp_path: Path) -> None:
    store = read("records: {store: '${KIND}deep/x.db'}", {"KIND": "sqlite:"}).settings.records.store
    assert store.url == f"sqlite:{tmp_path}/deep/x.db"
    assert str(store) == "sqlite:deep/x.db"


def test_a_relative_path_from_outside_starts_where_we_run(read: Read) -> None:
    variable = read("", {"AUDIOGATE_RECORDS__STORE": "sqlite:x.db"}).settings.records.store
    flag = read("records: {store: none}", {}, **{"records.store": "sqlite:y.db"}).settings.records.store
    assert (variable.url, flag.url) == ("sqlite:x.db", "sqlite:y.db")
    assert variable.named
    assert flag.named


def test_the_default_lies_beside_the_settings_and_nobody_named_it(read: Read, tmp_path: Path) -> None:
    beside = read("records: {queue: 5}").settings.records.store
    assert (beside.url, beside.named) == (f"sqlite:{tmp_path}/audiogate.db", False)
    without_file = load(None, environ={}, flags={}).settings.records.store
    assert (without_file.url, without_file.named) == (f"sqlite:{Path.cwd()}/audiogate.db", False)


def test_a_file_may_hold_the_address(read: Read, tmp_path: Path) -> None:
    (tmp_path / "dsn").write_text(f"{SERVER}\n")
    store = read("records: {store_file: dsn}").settings.records.store
    assert (store.url, store.named) == (SERVER, True)


def test_a_mistake_in_a_flag_names_the_flag(refuse: Refuse) -> None:
    assert refuse("", {}, **{"records.store": "nowhere"}) == [f"records.store: {MUST} (in --store)"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (SERVER, "postgresql://***@db.example.com:5432/records"),
        ("postgresql://u:SECRET/with#odd?ones@host/db", "postgresql://***@host/db"),
        ("postgresql://host/db?user=u&password=SECRET", "postgresql://host/db?user=u&password=***"),
        ("postgresql://u@host/db?sslpassword=SECRET&x=1", "postgresql://***@host/db?sslpassword=***&x=1"),
        ("postgres://host/db", "postgres://host/db"),
    ],
)
def test_no_password_shows(text: str, shown: str) -> None:
    store = StoreUrl.parse(text)
    settings = Settings.model_validate({"records": {"store": text}})
    assert str(store) == shown
    assert redacted(settings)["records"]["store"] == shown
    assert "SECRET" not in repr(store) + repr(settings)
    assert "p%40ss" not in repr(store) + repr(settings)


def test_a_password_is_among_the_secrets_as_written_and_as_meant() -> None:
    assert secrets_in(Settings.model_validate({"records": {"store": SERVER}})) == ("p%40ss-word", "p@ss-word")
    assert StoreUrl.parse("postgresql://u:a/b@h/d?sslpassword=c").passwords == ("a/b", "c")


@pytest.mark.parametrize("days", [1, 30, None])
def test_records_are_kept_for_days_or_for_ever(days: int | None, read: Read) -> None:
    assert read(json.dumps({"records": {"retention_days": days}})).settings.records.retention_days == days


@pytest.mark.parametrize(("given", "shown"), [(0, "0"), (1.5, "1.5"), ("month", "'month'")])
def test_half_a_day_is_no_time_to_keep_records(given: object, shown: str, refuse: Refuse) -> None:
    assert refuse(json.dumps({"records": {"retention_days": given}})) == [
        f"records.retention_days: must be a whole number of days from 1 to 36500, or null to keep all, not {shown}"
    ]
