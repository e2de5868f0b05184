"""The mail partner: the notices of one decision, with the record they tell of.

Mails go first and wait for the store only for a moment; what failed is tried again. A notice is sent once:
what is sent is kept in the store and, while the store is away, in the activity's heartbeat; its Message-ID stays the same.
"""

import asyncio

from temporalio import activity

from activities.mail import Mailer, MailRefused, MailUnavailable
from activities.records import published, write
from activities.rendering import SENDER, render
from domain.effects import Notice, Outcome, Publish
from domain.order import Actor
from store.store import Store

STORE_WITHIN = 4.0
"""Seconds for which a store that does not answer may hold up a publication, at each question."""


class NotPublishedError(Exception):
    """Something of a publication is still to be done; the message says what."""


class NoticeActivities:
    """Activities on notices."""

    def __init__(self, mailer: Mailer, store: Store, sender: str = SENDER) -> None:
        self._mailer = mailer
        self._sender = sender
        self._store = store

    @activity.defn(name="notify")
    async def notify(self, effect: Publish) -> Outcome:
        """Write the order's record and mail the notices; raises NotPublishedError until all of it is done."""
        details = activity.info().heartbeat_details
        # An attempt of an earlier release has left the keys alone.
        left = details[0] if details else {}
        done: dict[str, str] = dict(left) if isinstance(left, dict) else dict.fromkeys(left, "sent")
        troubles = []
        for notice in effect.notices:
            try:
                await self._send_once(notice, effect, done)
            except MailUnavailable as error:
                troubles.append(f"{notice.kind} to the {notice.recipient}: {error}"[:300])
            except Exception as error:  # noqa: BLE001 - the mail is out; only its mark in the store is wanting
                troubles.append(f"mark of {notice.key}: {type(error).__name__}")
        try:
            await asyncio.wait_for(write(self._store, effect), STORE_WITHIN)
        except Exception as error:  # noqa: BLE001 - whatever ails the database has not held back the mails
            troubles.append(f"record: {type(error).__name__}")
        if troubles:
            raise NotPublishedError("; ".join(troubles))
        refused = tuple(notice for notice in effect.notices if done.get(notice.key) == "refused")
        return published(effect).model_copy(update={"refused": refused})

    async def _send_once(self, notice: Notice, effect: Publish, done: dict[str, str]) -> None:
        """Send a notice unless it is done; `done` gets its key with what became of it: sent, or refused for good."""
        status, error = "sent", None
        activity.heartbeat(done)
        if notice.key not in done:
            if (known := await self._known(notice)) is not None:
                done[notice.key] = known
                return
            try:
                await self._mailer.send(render(notice, effect.record, self._sender))
            except (MailRefused, ValueError) as refused:
                activity.logger.error("notice %s cannot be sent, now or later: %s", notice.key, refused)
                status, error = "refused", str(refused)[:300]
            done[notice.key] = status
            activity.heartbeat(done)
        saving = asyncio.to_thread(
            self._store.save_notice,
            notice.key,
            effect.record.number,
            notice.kind,
            notice.recipient,
            _language(notice, effect),
            done[notice.key],
            error,
            effect.record.clock,
        )
        await asyncio.wait_for(saving, STORE_WITHIN)

    async def _known(self, notice: Notice) -> str | None:
        try:
            return await asyncio.wait_for(asyncio.to_thread(self._store.notice_status, notice.key), STORE_WITHIN)
        except Exception:  # noqa: BLE001 - a notice is rather sent twice than not at all
            activity.logger.warning("store away: cannot tell whether %s was sent", notice.key)
            return None


def _language(notice: Notice, effect: Publish) -> str:
    buyer = effect.record.buyer
    return buyer.language if notice.recipient is Actor.BUYER and buyer is not None else effect.record.seller.language
