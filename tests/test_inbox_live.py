"""Messages answered by mail on the real stack: mail sink, inbox, server and order, and each of them away."""

import asyncio
import os
import signal
import smtplib
from collections.abc import AsyncIterator
from datetime import timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP, default
from email.utils import make_msgid
from pathlib import Path
from typing import NamedTuple

import pytest
from live_kit import DAY, MINUTE, SECOND, Live, open_live, until

from domain.message import alias
from domain.order import HistoryEntry, Status
from domain.views import OrderView
from sandbox.stack import HOST, Stack

OTHER = {"buyer": "seller", "seller": "buyer"}


class Answer(NamedTuple):
    """What the inbox said: reply code and words."""

    code: int
    text: str


class Post:
    """Mails between buyer and seller of the orders on a live stack."""

    def __init__(self, live: Live, folder: Path) -> None:
        self.live, self.folder = live, folder

    async def asked(self, number: str) -> OrderView:
        """Have the seller ask for an answer within two days; return the order that waits for it."""
        answer_by = await self.live.orders.clock(number) + 2 * DAY
        text = "Which colour would you like? Please answer."
        await self.live.do(number, "send_message", "seller", text=text, answer_by=answer_by.isoformat())
        order = await self.live.order(number)
        assert order.answer_by == answer_by
        return order

    async def reply(self, number: str, side: str, text: str, **headers: str) -> EmailMessage:
        """Return what a mail program makes of an answer to the newest message mail that `side` has got."""
        wanted = [each for each in await self.live.mails(number) if f".message.{side}" in each["message_id"]]
        path = self.folder / "mails" / str(wanted[-1]["name"])
        got = message_from_bytes(path.read_bytes(), policy=default)
        quoted = "\n".join(f"> {line}" for line in str(wanted[-1]["text"]).splitlines())
        made = EmailMessage(policy=SMTP)
        made["From"], made["To"] = got["To"].addresses[0].addr_spec, got["Reply-To"].addresses[0].addr_spec
        made["Subject"], made["Message-ID"] = f"Re: {got['Subject']}", make_msgid(domain="mail.example")
        for name, value in headers.items():
            made[name.replace("_", "-")] = value
        made.set_content(f"{text}\n\nOn 3/1/26 21:00, {made['To']} wrote:\n{quoted}\n")
        return made

    async def mail(self, message: EmailMessage, sender: str | None = None, to: str | None = None) -> Answer:
        """Deliver a mail to the inbox, as the mail server of its sender does."""
        port = self.live.addresses.inbox_port

        def deliver() -> Answer:
            with smtplib.SMTP(HOST, port, timeout=60) as client:
                client.ehlo("mail.example")
                client.mail(sender if sender is not None else str(message["From"]))
                code, text = client.rcpt(to or str(message["To"]))
                code, text = client.data(message.as_bytes()) if code == 250 else (code, text)
            return Answer(code, " ".join(text.decode().split("\n")))

        return await asyncio.to_thread(deliver)

    async def texts(self, number: str) -> list[tuple[str, str | None]]:
        """Return the order's messages as (sender, text)."""
        return [(each.sender, each.text) for each in (await self.live.order(number)).messages]

    async def received(self, number: str, side: str, text: str) -> str:
        """Wait for the mail that brings `text` to one side and return its whole text."""

        async def there() -> str | None:
            found = [each for each in await self.live.mails(number) if f".message.{side}" in each["message_id"]]
            return next((str(each["text"]) for each in found if text in each["text"]), None)

        whole: str = await until(there, f"the mail with {text!r} to the {side}")
        return whole


@pytest.fixture
async def post(live: Live, stack: Stack) -> AsyncIterator[Post]:
    """Mails on the shared stack."""
    yield Post(live, stack.directory)


@pytest.mark.rule("V6", "C12")
async def test_a_buyer_who_answers_by_mail_in_time_keeps_the_order(post: Post) -> None:
    """The buyer replies to the mail that it got: the seller gets what was written and nothing else, and the clock stands still."""
    number = await post.live.place()
    order = await post.asked(number)
    await post.live.mailed(number, "message", "buyer")
    message = await post.reply(number, "buyer", "Blue, please.\n\nAnd thank you!")
    assert message["To"] == alias(number, "seller")
    assert (await post.mail(message)).code == 250
    assert (await post.texts(number))[-1] == ("buyer", "Blue, please.\n\nAnd thank you!")
    whole = await post.received(number, "seller", "> Blue, please.")
    assert "Which colour" not in whole
    assert str(message["From"]) not in whole
    assert order.answer_by is not None
    await post.live.travel_to(number, order.answer_by + MINUTE)
    after = await post.live.order(number)
    assert (after.status, after.answer_by) == (Status.UNSHIPPED, None)
    assert "answer_due" not in after.flags


@pytest.mark.rule("V6")
async def test_mails_go_to_and_fro(post: Post) -> None:
    """The seller replies to the buyer's mail, the buyer to the seller's, each behind its alias."""
    number = await post.live.place()
    await post.live.do(number, "send_message", "buyer", text="Is it for gas hobs?")
    await post.live.mailed(number, "message", "seller")
    assert (await post.mail(await post.reply(number, "seller", "はい、ご利用いただけます。"))).code == 250
    await post.received(number, "buyer", "はい、ご利用いただけます。")
    assert (await post.mail(await post.reply(number, "buyer", "Thank you."))).code == 250
    await post.received(number, "seller", "Thank you.")
    assert [sender for sender, _ in await post.texts(number)] == ["buyer", "seller", "buyer"]


@pytest.mark.rule("C12")
async def test_an_absence_note_does_not_stop_the_clock(post: Post) -> None:
    """The buyer's mail program answers by itself: taken and dropped, and at the date the order is cancelled for silence."""
    number = await post.live.place()
    order = await post.asked(number)
    await post.live.mailed(number, "message", "buyer")
    note = await post.reply(number, "buyer", "I am away.", Auto_Submitted="auto-replied", Precedence="bulk")
    assert (await post.mail(note)).code == 250
    assert (await post.mail(await post.reply(number, "buyer", "I am away."), sender="")).code == 250
    assert len(await post.texts(number)) == 1
    assert order.answer_by is not None
    await post.live.travel_to(number, order.answer_by + SECOND)
    cancelled = await post.live.reaches(number, Status.CANCELLED)
    assert cancelled.cancellation is not None
    assert cancelled.cancellation.reason == "no_answer"


@pytest.mark.rule("V6", "G1")
async def test_strangers_and_strange_addresses_reach_no_order(post: Post) -> None:
    """A forged sender, the seller in the buyer's place, an alias that nobody has: 550, and nothing in the order's history."""
    number = await post.live.place()
    await post.live.do(number, "send_message", "buyer", text="Hello")
    await post.live.mailed(number, "message", "seller")
    before = len(await post.live.history(number))
    message = await post.reply(number, "seller", "Pay me elsewhere.")
    seller = str(message["From"])
    assert (await post.mail(message, to=alias(number, "seller"))).code == 550
    assert (await post.mail(message, to=alias("503-0000000-0000000", "buyer"))).code == 550
    assert (await post.mail(message, sender="mallory@evil.example")).code == 550
    message.replace_header("From", "Shop <mallory@evil.example>")
    assert (await post.mail(message, sender=seller)).code == 550
    assert len(await post.live.history(number)) == before


@pytest.mark.rule("V6", "C12")
async def test_the_same_mail_twice_is_one_message(post: Post) -> None:
    """A mail whose answer was lost on the way comes again, and again: 250 each time, one message, one mail to the other side."""
    number = await post.live.place()
    await post.asked(number)
    await post.live.mailed(number, "message", "buyer")
    message = await post.reply(number, "buyer", "Blue, please.")
    answers = await asyncio.gather(*(post.mail(message) for _ in range(3)))
    assert {each.code for each in answers} == {250}
    assert (await post.mail(message)).code == 250
    assert (await post.texts(number))[1:] == [("buyer", "Blue, please.")]
    message.set_content("Red, please.")
    changed = await post.mail(message)
    assert changed.code == 550
    assert "COMMAND_ID_REUSED" in changed.text


@pytest.mark.rule("C13", "A7", "V6")
async def test_a_cancelled_order_tells_the_sender_where_to_turn(post: Post) -> None:
    """Cancelled: 550 with the refusal's message and remedy. Erased: the alias is unknown."""
    number = await post.live.place()
    await post.asked(number)
    await post.live.mailed(number, "message", "buyer")
    message = await post.reply(number, "buyer", "Blue, please.")
    await post.live.do(number, "cancel", "buyer")
    refused = await post.mail(message)
    assert (refused.code, refused.text[:21]) == (550, "5.7.1 ORDER_CANCELLED")
    assert number in refused.text
    assert "customer service" in refused.text
    assert len(await post.texts(number)) == 1
    await post.live.erased(number)
    assert (await post.mail(message)).text.startswith("5.1.1 no order is known behind this address")


@pytest.mark.rule("C12", "V6")
async def test_a_mail_counts_by_when_it_was_here_while_no_worker_runs(post: Post) -> None:
    """No worker across the date: a mail a second before it is an answer in time, one a second after it is none."""
    queue = "mails-late"
    down = Post(post.live.on_queue(queue), post.folder)
    async with post.live.worker(queue):
        timely, late = await asyncio.gather(down.live.place(), down.live.place())
        due = {number: (await down.asked(number)).answer_by for number in (timely, late)}
        replies = {}
        for number in due:
            await down.live.mailed(number, "message", "buyer")
            replies[number] = await down.reply(number, "buyer", "Blue, please.")
        await asyncio.gather(*(down.live.travel_to(number, at - 12 * SECOND) for number, at in due.items() if at))

    async def send_at(number: str, offset: timedelta) -> Answer:
        at = due[number]
        assert at is not None
        assert await down.live.orders.clock(number) < at, "the machine was too slow to stop the worker in time"

        async def come() -> bool:
            return await down.live.orders.clock(number) >= at + offset

        await until(come, f"{offset} from the date")
        return await down.mail(replies[number])

    answers = await asyncio.gather(send_at(timely, -SECOND), send_at(late, SECOND))
    assert [each.code for each in answers] == [250, 250]
    async with post.live.worker(queue):

        async def decided(number: str) -> HistoryEntry | None:
            found = [each for each in await down.live.history(number) if each.name == "send_message"]
            return found[1] if len(found) > 1 else None

        entry = await until(lambda: decided(timely), "the answer in time")
        assert entry.recorded_at is not None
        asked = due[timely]
        assert asked is not None
        assert (entry.accepted, entry.at < asked < entry.recorded_at) == (True, True)
        order = await down.live.order(timely)
        assert (order.status, order.answer_by) == (Status.UNSHIPPED, None)
        cancelled = await down.live.reaches(late, Status.CANCELLED)
        assert cancelled.cancellation is not None
        assert (cancelled.cancellation.reason, cancelled.cancellation.at) == ("no_answer", due[late])
        entry = await until(lambda: decided(late), "the late answer")
        assert entry.refusal is not None
        assert entry.refusal.code == "ORDER_CANCELLED"


@pytest.mark.rule("V6", "C12")
async def test_mails_wait_at_their_sender_while_the_inbox_or_temporal_is_away(tmp_path: Path) -> None:
    """The server is killed: 451; the inbox is killed: no connection. Both are back: the same mail is taken, once."""
    stack = Stack(tmp_path, ui_port=None, environment={name: "" for name in os.environ if name.startswith("TEMPORAL_")})
    await stack.start(with_worker=False)
    try:
        async with open_live(stack) as live:
            post, number = Post(live, tmp_path), await live.place()
            await post.asked(number)
            await live.mailed(number, "message", "buyer")
            message = await post.reply(number, "buyer", "Blue, please.")
            await stack.stop_part("server", signal.SIGKILL)
            away = await post.mail(message)
            assert (away.code, away.text[:5]) == (451, "4.4.1")
            await stack.stop_part("inbox", signal.SIGKILL)
            with pytest.raises(OSError, match="refused"):
                await post.mail(message)
            await asyncio.gather(stack._start_server(), stack.start_inbox())

            async def taken() -> bool:
                return (await post.mail(message)).code == 250

            await until(taken, "a 250")
            assert (await post.mail(message)).code == 250
            assert (await post.texts(number))[1:] == [("buyer", "Blue, please.")]
    finally:
        await stack.stop()
