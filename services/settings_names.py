"""Every setting by name, as `promptmill.toml` and the environment write it: for the documentation and the doctor."""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from services.settings import Settings

PREFIX = "PROMPTMILL_"
OPTIONS_OF_COMMANDS = "cli"  # not a setting, but the tables of all commands
# Set by promptmill for its own processes.
OWN_NAMES = frozenset({"PROMPTMILL_WORKER_NAME", "PROMPTMILL_FLEET_PID"})


@dataclass(frozen=True)
class SettingName:
    """One setting: `section` is empty for those at the top of `promptmill.toml`."""

    section: str
    name: str
    field: FieldInfo

    @property
    def dotted(self) -> str:
        """As messages write it: `s3.bucket`."""
        return f"{self.section}.{self.name}" if self.section else self.name

    @property
    def environment(self) -> str:
        """As the environment writes it: `PROMPTMILL_S3__BUCKET`."""
        return PREFIX + self.dotted.replace(".", "__").upper()

    @property
    def default(self) -> Any:
        """The default, secrets as plain text; None where there is none."""
        value = self.field.default
        if value is PydanticUndefined:
            return None
        return value.get_secret_value() if hasattr(value, "get_secret_value") else value


def all_settings() -> Iterator[SettingName]:
    """Every setting, sections in the order of `Settings`, those without a section last."""
    sections = {name: kind for name, field in Settings.model_fields.items() if (kind := _section(field)) is not None}
    for section, kind in sections.items():
        for name, field in kind.model_fields.items():
            yield SettingName(section, name, field)
    for name, field in Settings.model_fields.items():
        if name not in sections and name != OPTIONS_OF_COMMANDS:
            yield SettingName("", name, field)


def _section(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def unknown_names(environment: Iterable[str], options: Iterable[str] = ()) -> dict[str, str | None]:
    """Names that look like settings of ours and are none, each with the one that was probably meant.

    Args:
        environment: names to look at.
        options: names of options of commands, as the environment writes them.
    """
    sections = {PREFIX + setting.section.upper() for setting in all_settings() if setting.section}
    known = {setting.environment for setting in all_settings()} | set(options)
    passed = known | sections | OWN_NAMES | {PREFIX + OPTIONS_OF_COMMANDS.upper()}
    strangers = [name for name in environment if name.upper().startswith(PREFIX) and name.upper() not in passed]
    return {
        name: next(iter(difflib.get_close_matches(name.upper(), sorted(known), n=1, cutoff=0.8)), None)
        for name in sorted(strangers)
    }
