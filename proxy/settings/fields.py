"""What the loader asks of a model's field: is it a section, a list of sections, text, or read from text?"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr

from proxy.settings.model import PriceFile, Settings
from proxy.settings.section import Section
from proxy.settings.store import StoreUrl
from proxy.settings.values import READ_AGAIN, Address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

_TEXT = (str, SecretStr, StoreUrl, Address, Path, PriceFile, Decimal)  # a number of money is exact only as text


def _choices(annotation: Any) -> Iterator[Any]:
    """Yield the types that a union allows, without their ``Annotated`` wrapping."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _choices(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for choice in get_args(annotation):
            yield from _choices(choice)
    else:
        yield annotation


def section_of(field: FieldInfo) -> type[Section] | None:
    """Return the section that the field is, if it is one."""
    for choice in _choices(field.annotation):
        if isinstance(choice, type) and issubclass(choice, Section):
            return choice
    return None


def items_of(field: FieldInfo) -> type[Section] | None:
    """Return the section that the field is a list of, if it is such a list."""
    for choice in _choices(field.annotation):
        if get_origin(choice) is tuple and isinstance(item := get_args(choice)[0], type):
            return item if issubclass(item, Section) else None
    return None


def rows_of(field: FieldInfo) -> type[Section] | None:
    """Return the section that the field maps names to, if it is such a mapping."""
    for choice in _choices(field.annotation):
        if get_origin(choice) is Mapping and isinstance(row := get_args(choice)[1], type):
            return row if issubclass(row, Section) else None
    return None


def takes_text(field: FieldInfo) -> bool:
    """Tell whether text is the field's value as it is, rather than YAML to be read."""
    return all(
        choice in _TEXT or choice is NoneType or get_origin(choice) is Literal for choice in _choices(field.annotation)
    )


def is_container(field: FieldInfo) -> bool:
    """Tell whether the field is a section, a list or a mapping."""
    return any(
        get_origin(choice) or (isinstance(choice, type) and issubclass(choice, Section))
        for choice in _choices(field.annotation)
        if get_origin(choice) is not Literal
    )


def is_nullable(field: FieldInfo) -> bool:
    """Tell whether null is a value of the field."""
    return NoneType in _choices(field.annotation)


def is_flag(field: FieldInfo) -> bool:
    """Tell whether the field is true or false."""
    return bool in _choices(field.annotation)


def secrets_of(model: type[Section]) -> tuple[str, ...]:
    """Return the names of what is, or may hold, a secret in the section: each has a twin ``NAME_file``."""
    return tuple(
        name
        for name, field in model.model_fields.items()
        if any(choice in (SecretStr, StoreUrl) for choice in _choices(field.annotation))
    )


def watched_of(model: type[Section]) -> tuple[str, ...]:
    """Return the names of what are, in the section, paths of files to be looked at with the settings."""
    return tuple(
        name
        for name, field in model.model_fields.items()
        if any(READ_AGAIN in get_args(choice) for choice in (field.annotation, *get_args(field.annotation)))
    )


def keys_of(model: type[Section]) -> tuple[str, ...]:
    """Return every key that a file may have in this section, ``*_file`` twins included."""
    return (*model.model_fields, *(f"{name}_file" for name in secrets_of(model)))


def paths(model: type[Section] = Settings, above: str = "") -> Iterator[str]:
    """Yield every key of the settings file as users write it: ``ops.token_file``, ``virtual_keys[].slug``."""
    for key in keys_of(model):
        yield f"{above}{key}"
        field = model.model_fields.get(key)
        if field and (section := section_of(field)):
            yield from paths(section, f"{above}{key}.")
        elif field and (item := items_of(field)):
            yield from paths(item, f"{above}{key}[].")
