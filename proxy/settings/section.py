"""What every section of the settings file is: a frozen model with nothing in it but what is declared."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A mapping of the settings file: frozen, and nothing in it but what is declared."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)
