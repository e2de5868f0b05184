"""The settings of a worker and of the starter, from the environment. Every one is listed in `docs/configuration.md`."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from domain.policy import describe_errors


class SettingsError(ValueError):
    """A setting cannot be used; the message names it, its value and the bound."""


class Settings(BaseModel):
    """Where the partners are; Temporal's own settings are read by `temporalio.envconfig`."""

    model_config = ConfigDict(frozen=True)

    database_url: str = Field(default="sqlite:///.data/orders.db", pattern=r"^(sqlite|postgresql)")
    payment_provider_url: str = Field(default="http://127.0.0.1:8481", pattern=r"^https?://")
    smtp_host: str = "127.0.0.1"
    smtp_port: int = Field(default=8425, ge=1, le=65535)
    mail_from: str = "Marketplace <orders@marketplace.example>"
    task_queue: str = Field(default="orders", min_length=1, max_length=200)
    policy_file: Path = Path("policy.toml")
    max_cached_workflows: int = Field(default=1000, ge=0, le=100_000)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read the settings from upper-case environment variables of the same names; raises SettingsError."""
        environment = os.environ if environment is None else environment
        given = {name: environment[name.upper()] for name in cls.model_fields if environment.get(name.upper())}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise SettingsError(describe_errors(error, frozenset({"database_url"}))) from None
