"""The settings of worker, starter, receiver and inbox, from the environment. Every one is listed in `docs/configuration.md`."""

import base64
import binascii
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from domain.base import describe_errors

_SECRET = frozenset({"database_url", "webhook_secret", "stripe_secret_key", "stripe_webhook_secret"})
"""Settings whose value is told nowhere."""


class SettingsError(ValueError):
    """A setting cannot be used; the message names it, its value and the bound."""


def _decodable(secret: str) -> str:
    try:
        base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise ValueError(
            "what follows whsec_ is not base64; take the secret over as the payment provider has it"
        ) from None
    return secret


_WebhookSecret = Annotated[
    str, StringConstraints(pattern=r"^whsec_[A-Za-z0-9+/]{24,}={0,2}$"), AfterValidator(_decodable)
]


class Settings(BaseModel):
    """Where the partners are; Temporal's own settings are read by `temporalio.envconfig`."""

    model_config = ConfigDict(frozen=True)

    database_url: str = Field(default="sqlite:///.data/orders.db", pattern=r"^(sqlite|postgresql)")
    payment_provider: str = Field(default="http", pattern=r"^(http|stripe)$")
    payment_provider_url: str = Field(default="http://127.0.0.1:8481", pattern=r"^https?://")
    webhook_secret: _WebhookSecret | None = Field(default=None, repr=False)
    stripe_secret_key: str | None = Field(default=None, pattern=r"^(sk|rk)_", repr=False)
    stripe_api_base: str | None = Field(default=None, pattern=r"^https?://")
    stripe_webhook_secret: str | None = Field(default=None, pattern=r"^whsec_", repr=False)
    smtp_host: str = "127.0.0.1"
    smtp_port: int = Field(default=8425, ge=1, le=65535)
    mail_from: str = "Marketplace <orders@marketplace.example>"
    inbox_sender: str = Field(default="both", pattern=r"^(both|from)$")
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
            raise SettingsError(describe_errors(error, _SECRET)) from None
