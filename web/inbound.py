"""What becomes of a mail to an alias: who may write, what is handed on, and what its sender is told (V6, C12, C13).

The answer is 250 only once Temporal has the message, 451 while Temporal or the store is away, so that the sending server
tries again, and 550 or 552 with fact and remedy where a mail is not taken.
"""

import asyncio
import logging
import textwrap
import unicodedata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.message import Message

from aiosmtpd.smtp import SMTP, Envelope, Session
from sqlalchemy.exc import SQLAlchemyError
from temporalio.exceptions import TemporalError

from domain.base import MAX_TEXT
from domain.commands import UnreadableCommandError, parse_command
from domain.message import MESSAGE_DOMAIN
from domain.order import Actor
from starter.client import OrderClient, RefusedError
from store.store import Addressee, Store
from web.letter import automatic, command_id, writer
from web.mail_text import UnreadableMailError, parse, text_of
from web.quoted import own_words

HANDED_ON_WITHIN = timedelta(seconds=30)
"""How long an order may take to answer; past it the sender is told to come again, and the same mail is one message."""
_logger = logging.getLogger("web.inbox")


class RefusedMail(Exception):  # noqa: N818 - an answer, not a failure of ours
    """A mail that is not taken: `reply` is the SMTP reply, code and words."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.reply = reply(code, message)


def reply(code: str, message: str) -> str:
    """Return an SMTP reply of as many lines as `message` needs; `code` is `550 5.7.1`, reply and enhanced status code."""
    basic, _, enhanced = code.partition(" ")
    plain = " ".join(message.encode("ascii", "replace").decode().split())
    *lines, last = textwrap.wrap(plain, 400) or [""]
    return "\r\n".join([*(f"{basic}-{enhanced} {line}" for line in lines), f"{basic} {enhanced} {last}"])


class Inbox:
    """What the SMTP server asks at each step of a mail's delivery; `checked` is the setting INBOX_SENDER."""

    def __init__(self, orders: OrderClient, store: Store, checked: str = "both") -> None:
        self._orders, self._store, self._checked = orders, store, checked
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def handle_RCPT(  # noqa: N802 - aiosmtpd finds its hooks by these names
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, rcpt_options: list[str]
    ) -> str:
        """Take an alias that is known, for a sender that may write to it; one recipient for each mail."""
        try:
            if envelope.rcpt_tos:
                raise RefusedMail("452 4.5.3", "one recipient for each mail is taken; send it to the others by itself")
            addressee = await self._addressee(address)
            if self._checked == "both" and not _is_null(envelope.mail_from):
                _check_writer(envelope.mail_from, addressee)
        except RefusedMail as refused:
            return refused.reply
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(rcpt_options)
        return "250 2.1.5 the order is known"

    async def handle_DATA(  # noqa: N802 - as above
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """Hand the mail to its order."""
        received_at = datetime.now(UTC)
        raw = envelope.content if isinstance(envelope.content, bytes) else b""
        async with self._at_work():
            try:
                return await self._take(envelope.mail_from or "", str(envelope.rcpt_tos[0]), raw, received_at)
            except RefusedMail as refused:
                return refused.reply

    async def handle_exception(self, error: Exception) -> str:
        """Answer for a bug: the mail stays with its sender, who tries again."""
        _logger.error("a mail could not be taken", exc_info=error)
        return reply("451 4.3.0", "the mail could not be taken now; try again later")

    async def finish(self, within: timedelta) -> None:
        """Wait until no mail is being handed on, `within` at most."""
        try:
            await asyncio.wait_for(self._idle.wait(), within.total_seconds())
        except TimeoutError:
            _logger.warning("the inbox ends while mails are handed on; their senders will try again")

    @asynccontextmanager
    async def _at_work(self) -> AsyncIterator[None]:
        self._under_way += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _addressee(self, address: str) -> Addressee:
        """Return whom `address` stands for; raises RefusedMail with 550 or, while the store is away, 451."""
        if not address.lower().endswith(f"@{MESSAGE_DOMAIN}"):
            where = f"mail for @{MESSAGE_DOMAIN} alone is taken here; send it to the mail server of the recipient"
            raise RefusedMail("550 5.7.1", where)
        try:
            found = await asyncio.to_thread(self._store.addressee, address)
        except SQLAlchemyError as error:
            _logger.warning("mail is put off, the store does not answer: %s", type(error).__name__)
            raise RefusedMail("451 4.3.0", "the orders cannot be looked up now; try again later") from error
        if found is None:
            raise RefusedMail(
                "550 5.1.1",
                "no order is known behind this address, or its data has been erased; answer the newest message of the "
                "order, or write in the messages of the order",
            )
        return found

    async def _take(self, sender: str, address: str, raw: bytes, received_at: datetime) -> str:
        addressee = await self._addressee(address)
        try:
            mail = await asyncio.to_thread(parse, raw)
            if sign := automatic(mail, "" if _is_null(sender) else sender):
                _logger.info("order %s: an automatic mail is dropped (%s)", addressee.order_number, sign)
                return reply("250 2.0.0", "automatic mail is not handed on")
            if self._checked == "both":
                _check_writer(sender, addressee)
            _check_writer(writer(mail), addressee)
            text = await asyncio.to_thread(_message, mail)
        except UnreadableMailError as error:
            raise RefusedMail("550 5.6.0", str(error)) from error
        return await self._hand_on(addressee, text, command_id(mail, raw, address), received_at)

    async def _hand_on(self, addressee: Addressee, text: str, known_as: str, received_at: datetime) -> str:
        """Tell the order: 250 once Temporal has it, 550 where the order refuses it, 451 while Temporal is away."""
        number, actor = addressee.order_number, Actor.SELLER if addressee.side is Actor.BUYER else Actor.BUYER
        try:
            async with asyncio.timeout(HANDED_ON_WITHIN.total_seconds()):
                # The order's own clock, which may be ahead of ours, at the instant at which the mail was here.
                requested_at = await self._orders.clock(number) - (datetime.now(UTC) - received_at)
                await self._orders.command(
                    number, "send_message", {"text": text}, actor=actor, command_id=known_as, requested_at=requested_at
                )
        except RefusedError as refused:
            it = refused.refusal
            _logger.info("order %s: the %s's mail is refused: %s", number, actor.value, it.code)
            raise RefusedMail("550 5.7.1", f"{it.code}: {it.message}; {it.remedy} [{it.rule}]") from refused
        except (TemporalError, RuntimeError, ValueError, OSError) as error:
            why = str(error)[:300] or f"no answer within {HANDED_ON_WITHIN.seconds} s"
            _logger.warning("order %s: the %s's mail is put off: %s", number, actor.value, why)
            raise RefusedMail("451 4.4.1", "the order cannot be told now; try again later") from error
        _logger.info("order %s: the %s's mail is handed on as %s", number, actor.value, known_as)
        return reply("250 2.0.0", f"the order has it as {known_as}")


def _is_null(sender: object) -> bool:
    return sender in (None, "", "<>")


def _check_writer(address: str | None, addressee: Addressee) -> None:
    """Raise RefusedMail unless `address` is the registered one of the side that may write; it does not tell which that is."""
    if address is None or address.casefold() != addressee.writer.casefold():
        raise RefusedMail(
            "550 5.7.1",
            "mail to this address is taken only from the mail address of the order's other side, in the envelope and as the "
            "one From; send it from the address that the order's mails go to, or write in the messages of the order",
        )


def _message(mail: Message) -> str:
    """Return what the mail's writer wrote itself; raises RefusedMail where that is nothing, too long or no text."""
    text = unicodedata.normalize("NFC", own_words(text_of(mail))).strip()
    if not text:
        raise RefusedMail(
            "550 5.6.0",
            "the mail has no text of its own; write your message above the quoted mail. Attachments are not taken",
        )
    if len(text) > MAX_TEXT:
        raise RefusedMail(
            "552 5.3.4",
            f"the message has {len(text)} characters, {MAX_TEXT} at most; shorten it or send it as several mails, "
            "and leave out what is quoted",
        )
    try:
        parse_command("send_message", {"actor": Actor.BUYER.value, "text": text})
    except UnreadableCommandError as error:
        raise RefusedMail("550 5.6.0", f"{error}; send plain text") from error
    return text
