"""The inbox at its SMTP port: what it takes, and each refusal with fact and remedy."""

import asyncio
import logging
import smtplib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any, cast

import pytest
from store_kit import number, snapshot
from temporalio.service import RPCError, RPCStatusCode

from domain.base import MAX_TEXT
from domain.message import MESSAGE_DOMAIN, alias
from domain.order import Actor
from domain.refusal_codes import RefusalCode
from domain.refusals import refuse
from starter.client import InputError, OrderClient, RefusedError, Reply, UnreachableError
from store.store import Store
from web import inbound
from web.inbound import Inbox, reply
from web.inbox import listen

BUYER, SELLER = "Hanako@example.com", "shop@example.com"
TO_SELLER, TO_BUYER = alias(number(1), "seller"), alias(number(1), "buyer")
AHEAD = timedelta(days=3)
"""How far the orders' own clock is ahead of ours."""

Answer = tuple[int, str]


def mail(text: str = "Blue, please.\n", sender: str = f"Hanako <{BUYER}>", **headers: str) -> EmailMessage:
    """Return a mail; `headers` are named with underscores in place of dashes."""
    made = EmailMessage(policy=SMTP)
    made["From"], made["Message-ID"], made["Subject"] = sender, "<1@mail.example>", "Re: Message"
    for name, value in headers.items():
        del made[name.replace("_", "-")]
        made[name.replace("_", "-")] = value
    made.set_content(text)
    return made


class FakeOrders:
    """Takes commands as the starter's client does, or fails with `failure`."""

    def __init__(self) -> None:
        self.commands: list[dict[str, Any]] = []
        self.failure: Exception | None = None
        self.hangs = False

    async def clock(self, order_number: str) -> datetime:
        """Return the order's own clock."""
        if self.hangs:
            await asyncio.Event().wait()
        return datetime.now(UTC) + AHEAD

    async def command(self, order_number: str, name: str, fields: Mapping[str, Any], **more: Any) -> Reply:
        """Take a command."""
        if self.failure is not None:
            raise self.failure
        self.commands.append({"number": order_number, "name": name, **fields, **more})
        return Reply(more["command_id"], None)


@dataclass
class Desk:
    """An inbox in this process at a real port, over a real store and orders that are fake."""

    orders: FakeOrders
    store: Store
    port: int

    def dialogue(self, sender: str, to: str | list[str], data: bytes) -> Answer:
        """Deliver as a mail server does; return the first reply that is no 250, else the last, its lines joined."""
        with smtplib.SMTP("127.0.0.1", self.port, timeout=60) as client:
            client.ehlo("mail.example")
            code, text = client.docmd("MAIL", f"FROM:<{sender}>")
            for each in [to] if isinstance(to, str) else to:
                code, text = client.rcpt(each) if code == 250 else (code, text)
            code, text = client.data(data) if code == 250 else (code, text)
        return code, " ".join(text.decode().split("\n"))

    async def send(
        self, message: EmailMessage | bytes | None = None, *, sender: str = BUYER, to: str | list[str] = TO_SELLER
    ) -> Answer:
        """Deliver a mail and return the reply."""
        message = mail() if message is None else message
        data = message if isinstance(message, bytes) else message.as_bytes()
        return await asyncio.to_thread(self.dialogue, sender, to, data)


def recorded(tmp_path: Path) -> Store:
    """Return a store with one order."""
    store = Store(f"sqlite:///{tmp_path}/orders.db")
    store.migrate()
    store.record(snapshot(1, 1, {"A": (1, 0)}))
    return store


@pytest.fixture
def records(tmp_path: Path) -> Store:
    """A store with one order."""
    return recorded(tmp_path)


async def opened(records: Store, checked: str) -> AsyncIterator[Desk]:
    """Run an inbox for the length of a test."""
    orders = FakeOrders()
    server = await listen(Inbox(cast(OrderClient, orders), records, checked), "127.0.0.1", 0)
    yield Desk(orders, records, server.sockets[0].getsockname()[1])
    server.close()
    records.close()


@pytest.fixture
async def desk(records: Store) -> AsyncIterator[Desk]:
    """An inbox that checks envelope and From."""
    async for each in opened(records, "both"):
        yield each


@pytest.fixture
async def trusting(records: Store) -> AsyncIterator[Desk]:
    """An inbox that checks From alone."""
    async for each in opened(records, "from"):
        yield each


@pytest.mark.rule("V6", "C12")
async def test_a_mail_becomes_one_message_of_the_other_side(desk: Desk) -> None:
    """To the seller's alias the buyer writes, and the other way round; stamped with the order's clock when it was here."""
    before = datetime.now(UTC)
    code, text = await desk.send(mail("Blue, please.\n\nOn 3/1/26 21:00, Shop wrote:\n> Which?\n"))
    after = datetime.now(UTC)
    assert code == 250
    command = desk.orders.commands[0]
    assert before + AHEAD <= command.pop("requested_at") <= after + AHEAD
    assert command.pop("command_id") in text
    assert command == {"number": number(1), "name": "send_message", "text": "Blue, please.", "actor": Actor.BUYER}
    assert (await desk.send(mail(sender=SELLER.upper()), sender=SELLER.title(), to=TO_BUYER.upper()))[0] == 250
    assert desk.orders.commands[1]["actor"] is Actor.SELLER


@pytest.mark.rule("V6")
async def test_a_mail_that_comes_again_has_the_id_that_it_had(desk: Desk) -> None:
    """The sending server that missed the answer sends it again: the command has the same id; another mail has another."""
    for message in (mail(), mail(), mail(Message_ID="<2@mail.example>")):
        assert (await desk.send(message))[0] == 250
    first, again, other = (each["command_id"] for each in desk.orders.commands)
    assert first == again != other


@pytest.mark.rule("V6", "A7")
async def test_an_alias_that_nobody_has_is_refused(desk: Desk) -> None:
    """No order, another domain, an erased order: 550 before the mail is sent, with what to do."""
    unknown = (f"seller-0000000000000000@{MESSAGE_DOMAIN}", f"x@{MESSAGE_DOMAIN}", alias(number(2), "seller"))
    for address in unknown:
        code, text = await desk.send(to=address)
        assert (code, text[:5]) == (550, "5.1.1")
        assert "no order is known behind this address" in text
        assert "answer the newest message" in text
    code, text = await desk.send(to="somebody@elsewhere.example")
    assert (code, text[:5]) == (550, "5.7.1")
    assert f"mail for @{MESSAGE_DOMAIN} alone" in text
    desk.store.record(snapshot(1, 2, {"A": (1, 0)}, buyer=None, erased_at=datetime.now(UTC)))
    assert (await desk.send())[0] == 550
    assert desk.orders.commands == []


FORGED = [
    ("mallory@evil.example", "mallory@evil.example", TO_SELLER),
    ("mallory@evil.example", BUYER, TO_SELLER),
    (BUYER, "mallory@evil.example", TO_SELLER),
    (BUYER, f"{BUYER} <mallory@evil.example>", TO_SELLER),
    (BUYER, f"{BUYER}, mallory@evil.example", TO_SELLER),
    (SELLER, SELLER, TO_SELLER),
    (BUYER, BUYER, TO_BUYER),
    (TO_BUYER, TO_BUYER, TO_SELLER),
]


@pytest.mark.rule("V6", "G1")
@pytest.mark.parametrize(("envelope", "sender", "to"), FORGED)
async def test_whoever_is_not_the_other_side_is_refused(desk: Desk, envelope: str, sender: str, to: str) -> None:
    """A stranger, in envelope or From, and the side itself: 550, nothing is told, and no address is given away."""
    raw = b"From: " + sender.encode() + b"\r\nMessage-ID: <1@x>\r\n\r\nBlue, please.\r\n"
    code, text = await desk.send(raw, sender=envelope, to=to)
    assert (code, text[:5]) == (550, "5.7.1")
    assert "only from the mail address of the order's other side" in text
    assert "send it from the address that the order's mails go to" in text
    assert "example.com" not in text
    assert desk.orders.commands == []


@pytest.mark.rule("V6")
async def test_behind_a_dmarc_check_the_from_alone_decides(trusting: Desk) -> None:
    """With INBOX_SENDER from, an envelope that a help desk or a forwarder rewrote is no hindrance; a strange From is."""
    assert (await trusting.send(sender="bounces+1@helpdesk.example"))[0] == 250
    assert (await trusting.send(mail(sender="mallory@evil.example")))[0] == 550
    assert len(trusting.orders.commands) == 1


@pytest.mark.rule("C12")
@pytest.mark.parametrize(
    ("envelope", "headers"),
    [
        ("", {}),
        (BUYER, {"Auto_Submitted": "auto-replied"}),
        (BUYER, {"Auto_Submitted": "auto-generated"}),
        (BUYER, {"Precedence": "bulk"}),
        (BUYER, {"Precedence": "list"}),
    ],
)
async def test_an_automatic_mail_is_taken_and_dropped(
    desk: Desk, caplog: pytest.LogCaptureFixture, envelope: str, headers: dict[str, str]
) -> None:
    """An absence note is no answer: 250, so that nothing bounces to and fro, a line in the log, and the order is told nothing."""
    with caplog.at_level(logging.INFO, "web.inbox"):
        code, text = await desk.send(mail("I am away until Monday.", **headers), sender=envelope)
    assert (code, text) == (250, "2.0.0 automatic mail is not handed on")
    assert f"order {number(1)}: an automatic mail is dropped (" in caplog.text
    assert "away" not in caplog.text
    assert desk.orders.commands == []


@pytest.mark.rule("V6")
async def test_a_mail_without_words_of_its_own_is_refused(desk: Desk) -> None:
    """Nothing, blanks, quotations alone, an attachment alone: 550 that says what to write, and that attachments are not taken."""
    picture = mail()
    picture.clear_content()
    picture.add_attachment(b"\x89PNG", maintype="image", subtype="png", filename="a.png")
    for message in (mail(""), mail(" \n\n"), mail("On 3/1/26 21:00, Shop wrote:\n> Which?\n"), picture):
        code, text = await desk.send(message)
        assert (code, text[:5]) == (550, "5.6.0")
        assert "write your message above the quoted mail. Attachments are not taken" in text
    code, text = await desk.send(b"\r\n", sender=BUYER)
    assert code == 550
    assert desk.orders.commands == []
    with_text = mail("Here is a picture.")
    with_text.add_attachment(b"\x89PNG", maintype="image", subtype="png", filename="a.png")
    assert (await desk.send(with_text))[0] == 250


@pytest.mark.rule("V6")
async def test_a_text_that_is_too_long_is_refused_and_never_cut(desk: Desk) -> None:
    """One character over the limit of a message: 552 with length, limit and remedy; at the limit it is whole."""
    code, text = await desk.send(mail("文" * (MAX_TEXT + 1)))
    assert (code, text[:5]) == (552, "5.3.4")
    assert f"the message has {MAX_TEXT + 1} characters, {MAX_TEXT} at most; shorten it" in text
    assert (await desk.send(mail("文" * MAX_TEXT)))[0] == 250
    assert [each["text"] for each in desk.orders.commands] == ["文" * MAX_TEXT]


@pytest.mark.rule("V6")
async def test_a_mail_that_is_too_large_is_refused(desk: Desk) -> None:
    """17 MiB, told beforehand or not: 552 with limit and remedy. 10 MB with a text are taken; so are very long lines."""
    large = mail()
    large.add_attachment(b"\x00" * 7_500_000, maintype="image", subtype="png", filename="a.png")
    assert len(large.as_bytes()) > 10_000_000
    assert (await desk.send(large))[0] == 250
    huge = mail().as_bytes() + (b"x" * 900 + b"\r\n") * 19_000
    code, text = await desk.send(huge)
    assert (code, text) == (552, "5.3.4 the mail is over 16 MiB; send the text alone, attachments are not taken")

    def announced() -> Answer:
        with smtplib.SMTP("127.0.0.1", desk.port, timeout=60) as client:
            client.ehlo("mail.example")
            assert client.esmtp_features["size"] == str(16 * 1024 * 1024)
            found, words = client.mail(BUYER, [f"SIZE={len(huge)}"])
        return found, words.decode()

    assert await asyncio.to_thread(announced) == (code, text)
    html = mail()
    html.clear_content()
    raw = html.as_bytes().rstrip() + b"\r\nContent-Type: text/html\r\n\r\n<p>Blue<i>" + b"<b></b>" * 5000 + b"</p>\r\n"
    assert (await desk.send(raw))[0] == 250
    assert desk.orders.commands[-1]["text"] == "Blue"


@pytest.mark.rule("V6")
async def test_one_recipient_at_a_time_is_taken(desk: Desk) -> None:
    """A mail to two aliases: the second is put off, which makes the sending server deliver it by itself."""
    desk.store.record(snapshot(2, 1, {"A": (1, 0)}))
    code, text = await desk.send(to=[TO_SELLER, alias(number(2), "seller")])
    assert (code, text[:5]) == (452, "4.5.3")


@pytest.mark.rule("C13", "V6")
async def test_a_refusal_of_the_order_comes_back_to_the_sender(desk: Desk) -> None:
    """550 with code, message, remedy and rule, in lines that mail allows, however long they are."""
    refusal = refuse(RefusalCode.ORDER_CANCELLED, number=number(1), closed_at="2026-03-01 12:00:00 UTC")
    desk.orders.failure = RefusedError(refusal)
    code, text = await desk.send()
    assert code == 550
    assert f"ORDER_CANCELLED: {refusal.message}; {refusal.remedy} [{refusal.rule}]" in text
    long = reply("550 5.7.1", "words " * 300 + "終\r\n550 forged")
    assert all(len(line) <= 510 and line[:10] in ("550-5.7.1 ", "550 5.7.1 ") for line in long.split("\r\n"))
    assert long.isascii()
    assert [line[3] for line in long.split("\r\n")] == ["-"] * (long.count("\r\n")) + [" "]
    assert reply("250 2.0.0", "") == "250 2.0.0 "


AWAY: list[Exception] = [
    UnreachableError("Temporal does not answer"),
    InputError("order_number: there is no order"),
    RuntimeError("Failed client connect: connection refused"),
    RPCError("namespace not found", RPCStatusCode.NOT_FOUND, b""),
    OSError("no route"),
]


@pytest.mark.rule("V6", "C12")
@pytest.mark.parametrize("failure", AWAY, ids=lambda each: type(each).__name__)
async def test_while_the_order_cannot_be_told_the_mail_stays_with_its_sender(desk: Desk, failure: Exception) -> None:
    """Whatever keeps Temporal from taking it: 451, and the same mail is taken once it is back. Nothing is ever lost by a 250."""
    desk.orders.failure = failure
    code, text = await desk.send()
    assert (code, text) == (451, "4.4.1 the order cannot be told now; try again later")
    desk.orders.failure = None
    assert (await desk.send())[0] == 250
    assert len(desk.orders.commands) == 1


async def test_an_order_that_does_not_answer_is_given_up_in_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that hangs is bounded, and answered with 451."""
    monkeypatch.setattr(inbound, "HANDED_ON_WITHIN", timedelta(seconds=0.05))
    desk.orders.hangs = True
    assert (await desk.send())[0] == 451


async def test_while_the_store_is_away_the_mail_stays_with_its_sender(desk: Desk, tmp_path: Path) -> None:
    """A database without tables, as before the first worker: 451. A bug is 451 too, never a lost mail."""
    empty = Store(f"sqlite:///{tmp_path}/empty.db")
    server = await listen(Inbox(cast(OrderClient, desk.orders), empty), "127.0.0.1", 0)
    other = Desk(desk.orders, empty, server.sockets[0].getsockname()[1])
    code, text = await other.send()
    assert (code, text) == (451, "4.3.0 the orders cannot be looked up now; try again later")
    server.close()
    empty.close()
    desk.orders.failure = ZeroDivisionError("a bug")
    assert await desk.send() == (451, "4.3.0 the mail could not be taken now; try again later")


async def test_an_inbox_that_ends_waits_for_the_mail_that_it_is_handing_on(
    records: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """It waits until nothing is under way, or so long and no longer; a mail that was not answered comes again."""
    inbox = Inbox(cast(OrderClient, FakeOrders()), records)
    async with inbox._at_work():
        await inbox.finish(timedelta(seconds=0.01))
        assert "their senders will try again" in caplog.text
        ending = asyncio.create_task(inbox.finish(timedelta(seconds=20)))
    await asyncio.wait_for(ending, 5)
    records.close()
