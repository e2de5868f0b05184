"""What every model of the domain shares: frozen values, checked text, money and instants; how a form is read."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.types import StringConstraints

MAX_MINOR = 10**12
"""Largest amount of money in one field, in minor units."""


class Value(BaseModel):
    """A frozen piece of an order's state; unknown fields are ignored, so that older state stays readable."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Form(BaseModel):
    """A frozen input from outside; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


_DIRECTION = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def _printable(text: object, also: str = "") -> object:
    """Return text in NFC; refuse control, direction and surrogate characters, which break headers and screens."""
    if not isinstance(text, str):
        return text
    for character in text:
        if character in also:
            continue
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _DIRECTION:
            raise ValueError(f"character U+{ord(character):04X} is not allowed; give plain text on one line")
    return unicodedata.normalize("NFC", text)


def _printable_lines(text: object) -> object:
    return _printable(text.replace("\r\n", "\n") if isinstance(text, str) else text, also="\n")


def _filled(text: str) -> str:
    if not text.strip():
        raise ValueError("nothing but blanks; give some text")
    return text


WALLET_PREFIX = "points-"
"""What the payment provider's name for a wallet of points begins with (P5)."""


def wallet_of(buyer_id: str) -> str:
    """Return the payment provider's name for a buyer's wallet of points (P5)."""
    return f"{WALLET_PREFIX}{buyer_id}"


def _no_card_number(token: str) -> str:
    if re.fullmatch(r"[0-9-]{12,23}", token):
        raise ValueError("this looks like a card number; give the payment provider's token for the card")
    if token.startswith(WALLET_PREFIX):
        # A wallet is the buyer's own and follows from who buys; taken as a card it could be anybody's.
        raise ValueError("this is a wallet of points, not a card; pay with points by points_minor or method points")
    return token


def _utc(instant: datetime) -> datetime:
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError("this instant does not exist in UTC; give one between the years 1 and 9999") from None


def _country(code: str) -> str:
    if code not in _COUNTRIES:
        raise ValueError("unknown country; give an ISO 3166 two-letter code, such as JP")
    return code


_COUNTRIES = frozenset(  # ISO 3166-1
    """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY
    BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK
    FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR
    IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK
    ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM
    PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF
    TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
    """.split()  # noqa: SIM905 - a quarter of the length of a list
)
Country = Annotated[str, AfterValidator(_country)]
"""An ISO 3166 two-letter country code."""


Line60 = Annotated[
    str, BeforeValidator(_printable), StringConstraints(strip_whitespace=True, min_length=1, max_length=60)
]
"""One line of 1 to 60 printable characters."""
Line120 = Annotated[
    str, BeforeValidator(_printable), StringConstraints(strip_whitespace=True, min_length=1, max_length=120)
]
"""One line of 1 to 120 printable characters."""
Line500 = Annotated[
    str, BeforeValidator(_printable), StringConstraints(strip_whitespace=True, min_length=1, max_length=500)
]
"""One line of 1 to 500 printable characters."""
Filled500 = Annotated[Line500, AfterValidator(_filled)]
"""One line of 1 to 500 printable characters, not all of them blank."""
MAX_TEXT = 1000
"""Characters that a person's text may have."""
Text1000 = Annotated[
    str,
    BeforeValidator(_printable_lines),
    StringConstraints(strip_whitespace=True, max_length=MAX_TEXT),
    AfterValidator(_filled),
]
"""1 to 1,000 printable characters on one or several lines."""
Code = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$")]
"""An identifier: 1 to 60 letters, digits, dots, dashes or underscores."""
CardToken = Annotated[Code, AfterValidator(_no_card_number)]
"""The payment provider's token for a card, never the card's number."""
OrderNumber = Annotated[str, StringConstraints(pattern=r"^[0-9]{3}-[0-9]{7}-[0-9]{7}$")]
"""The marketplace's 3-7-7 digit form, `503-1234567-1234567` (P3)."""
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 digest in hexadecimal."""
Email = Annotated[
    str, StringConstraints(max_length=254, pattern=r"^[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]+\.[A-Za-z]{2,}$")
]
"""An ASCII mail address, 254 characters at most."""
Quantity = Annotated[int, Field(strict=True, ge=1, le=999)]
"""Units of one item, 1 to 999."""
Minor = Annotated[int, Field(strict=True, ge=0, le=MAX_MINOR)]
"""Money in integer minor units of the order's currency, 0 to 10^12."""
Instant = Annotated[AwareDatetime, AfterValidator(_utc)]
"""An instant in UTC; a time without an offset is refused."""


class Money(Form):
    """An amount with its currency: `amount_minor` in integer minor units, `currency` as an ISO 4217 code."""

    amount_minor: Annotated[int, Field(strict=True, ge=1, le=MAX_MINOR)]
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]


def order_id(number: str) -> str:
    """Return the id of an order's workflow; of an empty number the prefix that all of them have."""
    return f"order-{number}"


_DURATION = re.compile(r"(?:([0-9]{1,6})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,8})s)?")


def parse_duration(text: str) -> timedelta:
    """Read a duration such as `7d`, `30m` or `1d12h`: days, hours, minutes, seconds, in that order.

    Raises ValueError when the text is of another form.
    """
    match = _DURATION.fullmatch(text.strip())
    if not text.strip() or match is None:
        raise ValueError(
            f"{text!r} is not a duration; write days, hours, minutes, seconds, for example 7d, 30m or 1d12h"
        )
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def format_duration(duration: timedelta) -> str:
    """Write a duration in the form that `parse_duration` reads, whole seconds, `0s` for none."""
    left = int(duration.total_seconds())
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def format_instant(instant: datetime) -> str:
    """Write an instant for people: `2026-03-01 12:30:00 UTC`."""
    return instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _bound(context: Mapping[str, Any]) -> str | None:
    """Word the bound of a duration as people write it."""
    for key, word in (("le", "at most"), ("ge", "at least")):
        if isinstance(context.get(key), timedelta):
            return f"must be {word} {format_duration(context[key])}"
    return None


PRIVATE = frozenset(
    {"card", "name", "email", "phone", "recipient", "line1", "line2", "city", "region", "postal_code", "note"}
    | {"text", "memo", "comment", "consent"}
)
"""Fields whose value no error repeats: errors are kept in histories and logs."""
_HOLD_PRIVATE = frozenset({"shipping_address", "address", "buyer", "payment"})


def describe_errors(error: ValidationError, private: frozenset[str] = PRIVATE) -> str:
    """Say all errors of a validation at once, each with field, value and limit; of `private` fields no value."""
    told = []
    errors = error.errors()
    for each in errors:
        where = each["loc"]
        if each["type"] == "too_short" and any(other["loc"][: len(where)] == where != other["loc"] for other in errors):
            # A list is "too short" only because its bad items, told by themselves, were left out.
            continue
        field = ".".join(str(part) for part in each["loc"]) or "input"
        message = _bound(each.get("ctx", {})) or each["msg"].removeprefix("Value error, ")
        value = each.get("input")
        unasked = bool(private) and each["type"] == "extra_forbidden"
        hidden = unasked or isinstance(value, dict | list) or each["type"] == "missing"
        hidden = hidden or (bool(private) and not _HOLD_PRIVATE.isdisjoint(each["loc"][-1:]))
        hidden = hidden or not private.isdisjoint(each["loc"])
        shown = "" if hidden else f" (got {str(value)[:60]!r})"
        told.append(f"{field}: {message}{shown}")
    return "; ".join(told)


F = TypeVar("F", bound=Form)


def read_form(form: type[F], payload: object, noun: str, error: type[ValueError], most_bytes: int) -> F:
    """Read a form from decoded JSON, `most_bytes` of it at most.

    Raises `error`, which names all that is wrong at once, each with field, value and limit.
    """
    try:
        text = json.dumps(payload)
        if len(text) > most_bytes:
            raise error(f"input: {len(text)} bytes; at most {most_bytes}")
        return form.model_validate_json(text)
    except ValidationError as problem:
        raise error(describe_errors(problem)) from None
    except RecursionError:
        raise error(f"input: nested too deeply; give one {noun}") from None
    except (TypeError, ValueError) as problem:
        raise problem if isinstance(problem, error) else error(f"input: {problem}") from None


def content_digest(content: Mapping[str, object]) -> str:
    """Return the SHA-256 of what a form holds in JSON, by which a repeated one is compared."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
