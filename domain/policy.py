"""The marketplace's policy as data: windows, fees, sellers, loaded from `policy.toml` and snapshotted into each order.

Policy: the window table, C2, P7, G5.
"""

import tomllib
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Self
from zoneinfo import available_timezones

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from domain.base import Code, Email, Form, Line60, Minor, Value, describe_errors, format_duration, parse_duration
from domain.refund import PaymentMethod


class PolicyError(ValueError):
    """The policy cannot be used; the message names each key with its value and bound."""


def _duration(value: object) -> object:
    # ISO 8601 (`P7D`) is how a snapshot travels in JSON; people write `7d`.
    if isinstance(value, bool | int | float):
        raise ValueError("not a duration; write a text such as 5m or 7d")
    return parse_duration(value) if isinstance(value, str) and not value.startswith("P") else value


EditWindow = Annotated[timedelta, BeforeValidator(_duration), Field(ge=timedelta(seconds=1), le=timedelta(days=1))]
CancelWindow = Annotated[timedelta, BeforeValidator(_duration), Field(ge=timedelta(seconds=1), le=timedelta(days=7))]
LongWindow = Annotated[timedelta, BeforeValidator(_duration), Field(ge=timedelta(seconds=1), le=timedelta(days=365))]


class Windows(Value):
    """The windows of an order, each a duration."""

    edit_window: EditWindow = timedelta(minutes=5)
    edit_extension_limit: EditWindow = timedelta(days=1)
    cancel_window: CancelWindow = timedelta(minutes=30)
    processing_window: LongWindow = timedelta(days=21)
    confirm_window: LongWindow = timedelta(days=7)
    delivery_window: LongWindow = timedelta(days=21)
    return_window: LongWindow = timedelta(days=30)
    refund_window: LongWindow = timedelta(days=5)
    store_payment_window: LongWindow = timedelta(days=3)
    transit_window: LongWindow = timedelta(days=30)
    shortest_answer_window: LongWindow = timedelta(days=1)


class PolicyWindows(Windows):
    """The windows of the policy file.

    An order that was placed before one of these was known has none of it in its snapshot, and never gains it.
    """

    settlement_window: LongWindow = timedelta(days=14)
    retention_window: LongWindow = timedelta(days=30)


class SellerNotice(StrEnum):
    """The notices that a seller may do without (V7); its warnings and "sold, ship now" are matters of their own."""

    ORDER_CANCELLED = "order_cancelled"
    REQUEST_RECEIVED = "request_received"
    MESSAGE = "message"
    ITEMS_CANCELLED = "items_cancelled"
    REFUND_REQUESTED = "refund_requested"
    CASE_OPENED = "case_opened"
    CASE_CHANGED = "case_changed"


class SellerProfile(Value):
    """A seller as the order's notices and rules need it."""

    seller_id: Code
    name: Line60
    email: Email
    language: Annotated[str, Field(pattern=r"^(ja|zh|en|it)$")]
    notify_sold: bool = True
    unwanted_notices: tuple[SellerNotice, ...] = ()


REVISION = 2
"""The revision of the rules that orders are placed under today: 2 settles cases and refunds item by item, and parcel by parcel."""


class PolicySnapshot(Windows):
    """The policy of one order, fixed at its placement: a changed policy moves no deadline of a running order."""

    currency: str
    timezone: str
    handling_time: timedelta
    auto_approval_window: timedelta | None = None
    shipping_options: Mapping[str, int]
    seller: SellerProfile
    live_attributes: bool = True
    settlement_window: timedelta | None = None
    retention_window: timedelta | None = None
    payment_methods: tuple[PaymentMethod, ...] = (PaymentMethod.CARD,)
    return_fee_minor: int = 0
    review_above_minor: int | None = None
    revision: int = 1
    """The revision of the engine's own rules by which the order lives; 1 for those placed before there were several."""

    @property
    def buyer_cancel_window(self) -> timedelta:
        """How long the buyer cancels alone: the cancel window or the seller's longer auto-approval window (C1, C2)."""
        return max(self.cancel_window, self.auto_approval_window or self.cancel_window)


class MarketplacePolicy(Form):
    """One `[marketplaces.CODE]` table: currency, time zone, shipping options with their fees, and its own windows.

    `payment_methods` are those it takes (P5), `return_fee_minor` is kept back from the refund of a recalled parcel (A5),
    and an order above `review_above_minor` in all is held for review when it is placed (G4).

    Without `live_attributes` an order's search attributes stay as they were at its placement, which saves one billable
    action for each change of state; orders are then found by state in the store alone.
    """

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    timezone: str
    shipping_options: Annotated[dict[Code, Minor], Field(min_length=1)]
    windows: dict[str, Any] = Field(default_factory=dict)
    live_attributes: bool = True
    payment_methods: Annotated[tuple[PaymentMethod, ...], Field(min_length=1)] = (
        PaymentMethod.CARD,
        PaymentMethod.POINTS,
    )
    return_fee_minor: Minor = 0
    review_above_minor: Minor | None = None

    @model_validator(mode="after")
    def _known_timezone(self) -> Self:
        if self.timezone not in available_timezones():
            raise ValueError(f"timezone {self.timezone!r} is unknown; use an IANA name such as Asia/Tokyo")
        return self


class SellerPolicy(Form):
    """One `[sellers.ID]` table: who the seller is, its handling time and what it may override."""

    name: Line60
    email: Email
    language: Annotated[str, Field(pattern=r"^(ja|zh|en|it)$")]
    notify_sold: bool = True
    unwanted_notices: tuple[SellerNotice, ...] = ()
    handling_time: LongWindow = timedelta(days=2)
    auto_approval_minutes: Annotated[int, Field(strict=True, ge=1, le=10080)] | None = None


class Policy(Form):
    """The whole policy file."""

    windows: dict[str, Any] = Field(default_factory=dict)
    marketplaces: Annotated[dict[Code, MarketplacePolicy], Field(min_length=1)]
    sellers: dict[Code, SellerPolicy] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _windows_hold(self) -> Self:
        _checked_windows(self.windows, "windows")
        for code, marketplace in self.marketplaces.items():
            windows = self._windows_of(marketplace, f"marketplaces.{code}.windows")
            for seller_id, seller in self.sellers.items():
                minutes = seller.auto_approval_minutes
                if minutes is not None and timedelta(minutes=minutes) <= windows.cancel_window:
                    raise PolicyError(
                        f"sellers.{seller_id}.auto_approval_minutes is {minutes}; it must be longer than the"
                        f" cancel window of {code}, {format_duration(windows.cancel_window)} (C2)"
                    )
        return self

    def _windows_of(self, marketplace: MarketplacePolicy, where: str) -> PolicyWindows:
        windows = _checked_windows({**self.windows, **marketplace.windows}, where)
        if windows.edit_window > windows.cancel_window:
            raise PolicyError(
                f"{where}: edit_window is {format_duration(windows.edit_window)}; it must not outlast"
                f" cancel_window, {format_duration(windows.cancel_window)}"
            )
        return windows

    def seller(self, seller_id: str) -> SellerPolicy:
        """Return the policy of a seller; raises PolicyError for one that the policy does not know."""
        if seller_id not in self.sellers:
            raise PolicyError(f"seller {seller_id!r} is unknown; use one of: {', '.join(self.sellers)}")
        return self.sellers[seller_id]

    def snapshot(self, marketplace: str, seller_id: str) -> PolicySnapshot:
        """Fix the policy for an order of `seller_id` on `marketplace`.

        Raises PolicyError when the policy knows no such marketplace or seller.
        """
        place, seller = self.marketplaces.get(marketplace), self.seller(seller_id)
        if place is None:
            raise PolicyError(f"marketplace {marketplace!r} is unknown; use one of: {', '.join(self.marketplaces)}")
        minutes = seller.auto_approval_minutes
        return PolicySnapshot(
            **self._windows_of(place, f"marketplaces.{marketplace}.windows").model_dump(),
            currency=place.currency,
            timezone=place.timezone,
            handling_time=seller.handling_time,
            auto_approval_window=None if minutes is None else timedelta(minutes=minutes),
            shipping_options=place.shipping_options,
            live_attributes=place.live_attributes,
            payment_methods=place.payment_methods,
            return_fee_minor=place.return_fee_minor,
            review_above_minor=place.review_above_minor,
            revision=REVISION,
            seller=SellerProfile(
                seller_id=seller_id,
                **seller.model_dump(include={"name", "email", "language", "notify_sold", "unwanted_notices"}),
            ),
        )


def _checked_windows(chosen: Mapping[str, Any], where: str) -> PolicyWindows:
    unknown = sorted(set(chosen) - set(PolicyWindows.model_fields))
    if unknown:
        raise PolicyError(
            f"{where}: unknown window {', '.join(unknown)}; known are {', '.join(PolicyWindows.model_fields)}"
        )
    try:
        return PolicyWindows.model_validate(dict(chosen))
    except ValidationError as error:
        raise PolicyError(f"{where}: {describe_errors(error, frozenset())}") from None


def load_policy(text: str) -> Policy:
    """Read a policy from TOML text; raises PolicyError naming each key, value and bound that does not hold."""
    try:
        return Policy.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"the policy is not TOML: {error}") from None
    except ValidationError as error:
        raise PolicyError(describe_errors(error, frozenset())) from None
