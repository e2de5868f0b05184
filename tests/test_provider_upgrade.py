"""A payment provider's database that an older version made is brought up to date when it is opened."""

import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
from provider_kit import (
    ask_of,
    capture_of,
    hold_of,
    konbini_of,
    logged,
    new_card,
    pay_at_shop,
    refund_of,
    run_provider,
    used,
    void_of,
)

from activities.provider import HttpPaymentProvider
from domain.effects import Result

OLDER_TABLES = """
CREATE TABLE account (card VARCHAR NOT NULL, currency VARCHAR NOT NULL, limit_minor INTEGER NOT NULL,
    held_minor INTEGER NOT NULL, captured_minor INTEGER NOT NULL, PRIMARY KEY (card, currency),
    CONSTRAINT not_negative CHECK (held_minor >= 0 AND captured_minor >= 0),
    CONSTRAINT never_overdrawn CHECK (held_minor + captured_minor <= limit_minor));
CREATE TABLE hold (reference VARCHAR NOT NULL, order_number VARCHAR NOT NULL, amount_minor INTEGER, currency VARCHAR,
    card VARCHAR, status VARCHAR NOT NULL, decline_code VARCHAR, captured_minor INTEGER NOT NULL, expires_at VARCHAR,
    own_clock BOOLEAN NOT NULL, PRIMARY KEY (reference));
CREATE INDEX own_clock_lapse ON hold (own_clock, status, expires_at);
CREATE INDEX ix_hold_order_number ON hold (order_number);
CREATE TABLE capturekey ("key" VARCHAR NOT NULL, reference VARCHAR NOT NULL, amount_minor INTEGER NOT NULL,
    PRIMARY KEY ("key"));
CREATE TABLE logentry (seq INTEGER NOT NULL, at VARCHAR NOT NULL, order_number VARCHAR NOT NULL,
    reference VARCHAR NOT NULL, action VARCHAR NOT NULL, amount_minor INTEGER NOT NULL, PRIMARY KEY (seq));
CREATE INDEX ix_logentry_order_number ON logentry (order_number);
"""


async def test_an_older_database_goes_on(tmp_path: Path) -> None:
    """Holds, charges and voids of an older file are known, can be charged and refunded, and new kinds of payment work."""
    held, charged, buried = (hold_of(new_card()) for _ in range(3))
    rows = (
        (held, 1000, held.card, "authorized", 0, "2031-03-08T12:00:00.000000+00:00"),
        (charged, 1000, charged.card, "captured", 1000, "2031-03-08T12:00:00.000000+00:00"),
        (buried, None, None, "voided", 0, None),
    )
    with closing(sqlite3.connect(tmp_path / "provider.db")) as older, older:
        older.executescript(OLDER_TABLES)
        for hold, amount, card, status, captured, expires_at in rows:
            currency = "EUR" if card else None
            values = (hold.reference, hold.order_number, amount, currency, card, status, None, captured, expires_at, 0)
            older.execute("INSERT INTO hold VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        account = "INSERT INTO account VALUES (?, 'EUR', 1000000, ?, ?)"
        older.executemany(account, [(held.card, 1000, 0), (charged.card, 0, 1000)])
        capture = (f"{charged.reference}/capture", charged.reference, 1000)
        older.execute("INSERT INTO capturekey VALUES (?, ?, ?)", capture)
    for _ in range(2):  # the second run opens what the first one brought up to date
        with run_provider(tmp_path, "--refund-seconds", "3600") as process:
            provider = HttpPaymentProvider(process.url)
            refund, number = refund_of(charged, 200), konbini_of()
            assert (await provider.authorize(held)).result == Result.AUTHORIZED
            assert (await provider.capture(capture_of(charged))).result == Result.CAPTURED
            assert (await provider.capture(capture_of(held))).result == Result.CAPTURED
            assert (await provider.authorize(buried)).result == Result.VOIDED
            assert (await provider.refund(refund)).result == Result.REFUND_PENDING
            assert (await provider.ask(ask_of(refund))).result == Result.REFUND_PENDING
            async with httpx.AsyncClient(base_url=process.url) as http:
                issued = await provider.authorize(number)
                assert await pay_at_shop(http, issued.number) == (200, "authorized")
                assert await used(http, charged.card) == (0, 1000)
            await provider.aclose()
    with run_provider(tmp_path) as process:
        provider = HttpPaymentProvider(process.url)
        await provider.void(void_of(charged))
        async with httpx.AsyncClient(base_url=process.url) as http:
            assert (await logged(http, charged.order_number))[-1] == ("reverse", 600)
        await provider.aclose()
