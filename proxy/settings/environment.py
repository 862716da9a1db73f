"""What the environment adds: ``${NAME}`` inside the file's text, and ``AUDIOGATE_…`` variables above it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from proxy.settings.document import DocumentError, parse
from proxy.settings.fields import is_container, keys_of, section_of, takes_text
from proxy.settings.mistakes import VARIABLES, Ledger, Where, did_you_mean, dotted
from proxy.settings.model import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydantic.fields import FieldInfo

    from proxy.settings.section import Section

CONFIG_VARIABLE: Final = "AUDIOGATE_CONFIG"  # names the settings file
_NOT_SETTINGS: Final = frozenset({CONFIG_VARIABLE, "AUDIOGATE_API_KEY"})  # a key for the transcribe command
_INTERNAL: Final = "AUDIOGATE_INTERNAL_"  # between the gateway's own processes

# Kubernetes gives every pod variables for the services of its namespace; one may well be called audiogate.
# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_SERVICE_LINK: Final = re.compile(
    r"AUDIOGATE_(?:[A-Z0-9_]+_)?"
    r"(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_[A-Z]+)?)"
)
_SERVICE_URL: Final = re.compile(r"(?:tcp|udp|sctp)://.*")  # the value of AUDIOGATE_PORT among them

_VARIABLE: Final = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?")
_FLAGS: Final = {"records.store": "--store"}  # flags with a name of their own
_NEAR_NAME: Final = 0.88  # names of one section are alike already by its name

Keys = tuple[str, ...]  # a place that no list lies on the way to


class Unset(Exception):  # noqa: N818  (the words at the call read better)
    """Text that cannot be completed; the message says why."""


def interpolate(tree: Any, environ: Mapping[str, str], ledger: Ledger, at: Where = ()) -> Any:
    """Return a copy of ``tree`` with ``${NAME}``, ``${NAME:-default}`` and ``$${`` replaced in every text.

    A place whose variable is missing is spoiled and holds None.
    """
    if isinstance(tree, dict):
        return {key: interpolate(value, environ, ledger, (*at, key)) for key, value in tree.items()}
    if isinstance(tree, list):
        return [interpolate(value, environ, ledger, (*at, n)) for n, value in enumerate(tree)]
    if not isinstance(tree, str) or "${" not in tree:
        return tree
    try:
        text, variable = expand(tree, environ)
    except Unset as problem:
        ledger.spoil(at, str(problem))
        return None
    if variable:
        ledger.origins[at] = f"${{{variable}}}"
    return text


def expand(text: str, environ: Mapping[str, str]) -> tuple[str, str | None]:
    """Return ``text`` with its variables replaced, and the first variable's name. Raises :class:`Unset`."""
    first: str | None = None

    def replace(found: re.Match[str]) -> str:
        nonlocal first
        name, default = found[1], found[2]
        if found[0] == "$${":
            return "${"
        if name is None:
            raise Unset("has a '${' that is not ${NAME} or ${NAME:-default}; write '$${' for the two characters")
        first = first or name
        value = environ.get(name)
        if default is not None:
            return value or default  # as in the shell: ":-" also stands in for an empty variable
        if value is None:
            raise Unset(f"the variable {name} is not set; set it, or give a default: ${{{name}:-…}}")
        return value

    return _VARIABLE.sub(replace, text), first


def overlay(environ: Mapping[str, str], ledger: Ledger) -> tuple[dict[str, Any], dict[Where, str]]:
    """Return the settings that variables give, as a tree, and which variable gave each place.

    ``AUDIOGATE_TIMEOUTS__CONNECT=3`` is ``{"timeouts": {"connect": 3}}``. Values of fields that are not text
    are read as YAML. A variable for a section adds to it; a deeper variable beats it.
    """
    known = dict(_variables(Settings, ()))
    tree: dict[str, Any] = {}
    origins: dict[Where, str] = {}
    for name in sorted(environ, key=lambda name: (name.count("__"), name)):
        text = environ[name]
        if not name.startswith(VARIABLES) or _is_foreign(name, text):
            continue
        if name not in known:
            ledger.spoil((name,), f"unknown setting{_near(name, known)}")
            continue
        where, field = known[name]
        if not text:
            ledger.spoil(where, f"{name} is empty; unset it or give it a value")
            continue
        value = read(text, field, where, ledger, name)
        if not ledger.echoes(where):
            put(tree, where, value)
            origins |= dict.fromkeys(_leaves(value, where), name)
    return tree, origins


def from_flags(flags: Mapping[str, Any], ledger: Ledger) -> tuple[dict[str, Any], dict[Where, str]]:
    """Return the settings that flags give, as :func:`overlay` does.

    Keys are dotted paths; None stands for a flag that was not given. Raises KeyError for a path that is no
    setting: flags are the program's own words.
    """
    known = {dotted(where): (where, field) for _, (where, field) in _variables(Settings, ())}
    tree: dict[str, Any] = {}
    origins: dict[Where, str] = {}
    for path, value in flags.items():
        where, field = known[path]
        if value is None:
            continue
        name = _FLAGS.get(path) or "--" + path.replace(".", "-").replace("_", "-")
        put(tree, where, read(value, field, where, ledger, name) if isinstance(value, str) else value)
        origins[where] = name
    return tree, origins


def read(text: str, field: FieldInfo | None, at: Where, ledger: Ledger, origin: str) -> Any:
    """Return what ``text`` from outside means for ``field``: itself, or the YAML that it is.

    Text that is no YAML is left to the models to refuse, or spoils the place of a section, list or mapping.
    """
    if field is None or takes_text(field):
        return text
    try:
        return parse(text, ledger, at)
    except DocumentError as problem:
        if not is_container(field):
            return text
        ledger.spoil(at, f"{problem} (in {origin})")
        return None


def put(tree: dict[str, Any], where: Keys, value: Any) -> None:
    """Set a place in a tree of sections; a section's mapping is added to what is there.

    A section that is no mapping stays as it is, for the models to refuse.
    """
    *above, last = where
    for step in above:
        section: Any = tree.setdefault(step, {})
        if not isinstance(section, dict):
            return
        tree = section
    here = tree.get(last)
    tree[last] = here | value if isinstance(here, dict) and isinstance(value, dict) else value


def merge(base: Any, layer: Mapping[str, Any], model: type[Section] = Settings) -> Any:
    """Return ``base`` with a stronger layer's places in it.

    A base that is no mapping is left as it is, for the models to refuse. A secret in the layer also removes
    its twin from the base: a variable's ``token_file`` beats the file's ``token``.
    """
    if base is not None and not isinstance(base, dict):
        return base
    merged = dict(base or {})
    for key, value in layer.items():
        field = model.model_fields.get(key)
        section = section_of(field) if field else None
        if section and isinstance(value, dict):
            merged[key] = merge(merged.get(key), value, section)
            continue
        twin = key.removesuffix("_file") if key.endswith("_file") else f"{key}_file"
        if twin not in layer:
            merged.pop(twin, None)
        merged[key] = value
    return merged


def _variables(model: type[Section], above: Keys) -> Iterator[tuple[str, tuple[Keys, FieldInfo | None]]]:
    """Yield each variable's name with its place and field; a ``*_file`` twin has no field."""
    for key in keys_of(model):
        where = (*above, key)
        field = model.model_fields.get(key)
        yield VARIABLES + "__".join(where).upper(), (where, field)
        if field and (section := section_of(field)):
            yield from _variables(section, where)


def _is_foreign(name: str, value: str) -> bool:
    """Tell whether a variable with our prefix is not a setting: reserved, or a Kubernetes service link."""
    if name in _NOT_SETTINGS or name.startswith(_INTERNAL):
        return True
    if name.endswith("_PORT") and _SERVICE_URL.fullmatch(value):
        return True
    return _SERVICE_LINK.fullmatch(name) is not None


def _near(name: str, known: Iterable[str]) -> str:
    """Suggest a variable by what follows the prefix, which all of them have in common."""
    words = [word.removeprefix(VARIABLES) for word in known]
    return did_you_mean(name.removeprefix(VARIABLES).upper(), words, near=_NEAR_NAME).replace("'", f"'{VARIABLES}", 1)


def _leaves(value: Any, at: Where) -> Iterator[Where]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*at, key))
    else:
        yield at
