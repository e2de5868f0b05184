"""The provider's webhooks: an outbox that loses nothing, and the courier that delivers it, signed and in order.

Signatures are those of Standard Webhooks. A receiver must expect every event once or more, and must ask the provider for what it
never gets told: an outbox delivers at least once, and a test may switch duplicates, swaps and losses on.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

import httpx
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, select
from standardwebhooks import Webhook

from sandbox.provider_book import Book
from sandbox.provider_refunds import Refunds
from sandbox.provider_tables import EndpointRow, EventRow, iso

FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.2, 30.0
REORDER_SECONDS = 2.0
"""How long an event that is to be overtaken waits for another one."""
_SEND_SECONDS = 10.0
_logger = logging.getLogger(__name__)


class WebhookFault(StrEnum):
    """What can go wrong with an event: delivered twice, after the next one, or never."""

    DUPLICATE = "duplicate"
    REORDER = "reorder"
    DROP = "drop"


class Parcel(NamedTuple):
    """An event on its way, with the endpoint as it was when it left."""

    seq: int
    id: str
    body: str
    url: str
    secret: str


class Outbox:
    """The events to deliver; every public method is one transaction and safe to call from any thread."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self.faults: list[WebhookFault] = []
        """What will go wrong with the next events, one by one."""

    def configure(self, url: str | None, secret: str | None) -> None:
        """Set where events go and the secret (`whsec_…`) that signs them; a url of None keeps them in the outbox."""
        with self._book.transaction() as session:
            endpoint = _endpoint(session)
            endpoint.url, endpoint.secret = url, secret if url is not None else endpoint.secret

    def events(self, order_number: str | None) -> list[dict[str, Any]]:
        """Return the events of one order or of all, the oldest first; `attempts` counts how often each was sent."""
        query = select(EventRow).order_by(col(EventRow.seq))
        if order_number is not None:
            query = query.where(EventRow.order_number == order_number)
        with self._book.transaction() as session:
            return [_shown(event) for event in session.exec(query)]

    def next(self, later: Collection[int] = ()) -> Parcel | float | None:
        """Return the event that is to be sent now, the seconds until there is one, or None when nothing waits.

        Events whose `seq` is in `later` are passed over: the endpoint has refused them and is asked again by and by.
        """
        with self._book.transaction() as session:
            endpoint = _endpoint(session)
            if endpoint.url is None or endpoint.secret is None:
                return None
            self._decide_faults(session)
            query = select(EventRow).where(EventRow.copies > 0, col(EventRow.seq).not_in(later))
            waiting = session.exec(query.order_by(col(EventRow.seq)).limit(100)).all()
            shortest: float | None = None
            for event in waiting:
                wait = _held_back(session, event, has_follower=event is not waiting[-1])
                if wait <= 0:
                    return _parcel(event, endpoint.url, endpoint.secret)
                shortest = min(wait, shortest or wait)
            return shortest

    def _decide_faults(self, session: Session) -> None:
        undecided = select(EventRow).where(EventRow.copies > 0, col(EventRow.fault).is_(None))
        for event in session.exec(undecided.order_by(col(EventRow.seq))):
            event.fault = self.faults.pop(0).value if self.faults else ""
            event.copies = {WebhookFault.DROP.value: 0, WebhookFault.DUPLICATE.value: 2}.get(event.fault, 1)
        session.flush()

    def note_attempt(self, seq: int, *, delivered: bool) -> None:
        """Write down that an event was sent, and whether the endpoint took it."""
        with self._book.transaction() as session:
            event = session.get_one(EventRow, seq)
            event.attempts += 1
            if delivered:
                event.copies -= 1
                event.delivered_at = event.delivered_at or iso(datetime.now(UTC))


def _endpoint(session: Session) -> EndpointRow:
    endpoint = session.get(EndpointRow, 1)
    if endpoint is None:
        endpoint = EndpointRow()
        session.add(endpoint)
    return endpoint


def _held_back(session: Session, event: EventRow, *, has_follower: bool) -> float:
    """Return the seconds that an event must wait to be overtaken; 0 when it may go."""
    if event.fault != WebhookFault.REORDER:
        return 0.0
    overtaken = select(EventRow).where(col(EventRow.seq) > event.seq, col(EventRow.delivered_at).is_not(None))
    if session.exec(overtaken.limit(1)).first() is not None:
        return 0.0
    if has_follower:
        return REORDER_SECONDS
    until = datetime.fromisoformat(event.created_at) + timedelta(seconds=REORDER_SECONDS)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def _parcel(event: EventRow, url: str, secret: str) -> Parcel:
    data = {"reference": event.reference, "order_number": event.order_number}
    body = json.dumps({"type": event.type, "timestamp": event.at, "data": data})
    return Parcel(event.seq or 0, event.id, body, url, secret)


def _shown(event: EventRow) -> dict[str, Any]:
    fields = {"id", "type", "reference", "order_number", "attempts"}
    dropped = event.fault == WebhookFault.DROP
    return {**event.model_dump(include=fields), "delivered": event.copies == 0 and not dropped, "dropped": dropped}


class Courier:
    """What the provider does by itself: it ends refunds whose time has come and delivers the outbox."""

    def __init__(self, book: Book, refunds: Refunds, outbox: Outbox) -> None:
        self._book, self._refunds, self._outbox = book, refunds, outbox
        self._refund_news, self._event_news = asyncio.Event(), asyncio.Event()
        self._failures, self._not_before = 0, 0.0
        self._refused: dict[int, tuple[int, float]] = {}
        """How often the endpoint refused each event, and when it is asked again."""

    def try_now(self) -> None:
        """Forget how long the endpoint was to be left alone."""
        self._failures, self._not_before = 0, 0.0
        self._refused = {seq: (times, 0.0) for seq, (times, _) in self._refused.items()}
        self._wake()

    def _wake(self) -> None:
        self._refund_news.set()
        self._event_news.set()

    async def run(self) -> None:
        """Work until cancelled."""
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop has ended: the next run of the provider goes on
                loop.call_soon_threadsafe(self._wake)

        self._book.on_news = wake
        async with httpx.AsyncClient(timeout=_SEND_SECONDS) as client:
            await asyncio.gather(
                _repeat(self._refund_news, lambda: asyncio.to_thread(self._refunds.end_due)),
                _repeat(self._event_news, lambda: self._deliver_next(client)),
            )

    async def _deliver_next(self, client: httpx.AsyncClient) -> float | None:
        """Send the event whose turn it is; returns the seconds to wait for the next, None until there is news.

        An endpoint that is away is left alone for a while, and nothing overtakes; an event that it refuses stands back for
        the others.
        """
        now = time.monotonic()
        if self._not_before > now:
            return self._not_before - now
        later = {seq: at for seq, (_, at) in self._refused.items() if at > now}
        parcel = await asyncio.to_thread(self._outbox.next, later)
        if not isinstance(parcel, Parcel):
            waits = [at - now for at in later.values()] + ([] if parcel is None else [parcel])
            return min(waits, default=None)
        answer = await _send(client, parcel)
        await asyncio.to_thread(self._outbox.note_attempt, parcel.seq, delivered=answer is _Answer.TAKEN)
        self._failures = self._failures + 1 if answer is _Answer.AWAY else 0
        if answer is _Answer.AWAY:
            self._not_before = time.monotonic() + retry_seconds(self._failures)
        elif answer is _Answer.REFUSED:
            times = self._refused.get(parcel.seq, (0, 0.0))[0] + 1
            self._refused[parcel.seq] = (times, time.monotonic() + retry_seconds(times))
        else:
            self._refused.pop(parcel.seq, None)
        return 0.0


class _Answer(StrEnum):
    TAKEN = "taken"
    REFUSED = "refused"
    AWAY = "away"


def retry_seconds(failures: int) -> float:
    """Return how long an endpoint is left alone after so many failures in a row: 0.2 s, doubling, 30 s at most."""
    return float(min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** min(failures - 1, 20)))


async def _repeat(news: asyncio.Event, step: Callable[[], Awaitable[float | None]]) -> None:
    """Repeat a step for ever, each time after the seconds that it returned or when there is news."""
    while True:
        news.clear()
        try:
            wait = await step()
        except SQLAlchemyError:
            _logger.exception("the payment provider's database failed; trying again in a second")
            wait = 1.0
        if wait != 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), wait)


async def _send(client: httpx.AsyncClient, parcel: Parcel) -> _Answer:
    """Send an event once, signed now: taken with 2xx, refused with 4xx, and away with anything else."""
    now = datetime.now(UTC)
    headers = {
        "content-type": "application/json",
        "webhook-id": parcel.id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(parcel.secret).sign(parcel.id, now, parcel.body),
    }
    try:
        response = await client.post(parcel.url, content=parcel.body, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL):
        return _Answer.AWAY
    if response.is_success:
        return _Answer.TAKEN
    return _Answer.REFUSED if response.is_client_error else _Answer.AWAY
