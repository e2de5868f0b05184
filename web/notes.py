"""The notes of refused webhooks in the histories of the orders that they claimed to be about (D3).

Whoever can reach the receiver can make it write such a note, so they are few: one of each kind for an order in ten minutes,
thirty in all in a minute. What is not noted is still refused, and logged.
"""

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio.client import Client
from temporalio.service import RPCError

from domain.base import order_id
from domain.commands import WebhookFault
from web.deliveries import Claim, RefusedDelivery

NOTED_EVERY = timedelta(minutes=10)
"""How often one kind of refusal is noted for one order."""
NOTED_PER_MINUTE = 30
"""How many refusals are noted in all."""
_REMEMBERED = 10_000
_NOTED_WITHIN = timedelta(seconds=2)
_logger = logging.getLogger("web.receiver")


class Notes:
    """Decides which refusals are noted, and has them noted."""

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[str, WebhookFault], float] = OrderedDict()
        self._recent: deque[float] = deque(maxlen=NOTED_PER_MINUTE)

    @asynccontextmanager
    async def of_refusals(self, client: Client) -> AsyncIterator[None]:
        """Note a delivery that is refused inside as forged or too old, and let the refusal go on to its answer."""
        try:
            yield
        except RefusedDelivery as refused:
            about = refused.claim.order_number if refused.claim else "no order"
            _logger.warning("webhook about %s refused: %s", about, refused.message)
            if refused.claim is not None and refused.fault is not None and self.wants(refused.claim, refused.fault):
                await _note(client, refused.claim, refused.fault)
            raise

    def wants(self, claim: Claim, fault: WebhookFault) -> bool:
        """Return whether a refusal is to be noted now, and count it if so."""
        now, key = time.monotonic(), (claim.order_number, fault)
        last = self._last.get(key)
        if last is not None and now - last < NOTED_EVERY.total_seconds():
            return False
        if len(self._recent) == NOTED_PER_MINUTE and now - self._recent[0] < 60:
            return False
        self._recent.append(now)
        self._last[key] = now
        self._last.move_to_end(key)
        while len(self._last) > _REMEMBERED:
            self._last.popitem(last=False)
        return True


async def _note(client: Client, claim: Claim, fault: WebhookFault) -> None:
    order = client.get_workflow_handle(order_id(claim.order_number))
    try:
        async with asyncio.timeout(_NOTED_WITHIN.total_seconds()):
            await order.signal("payment_event", claim.noted(fault), rpc_timeout=_NOTED_WITHIN)
    except (RPCError, RuntimeError, ValueError, OSError) as error:
        # There may be no such order; the refusal stands whether it could be noted or not.
        _logger.info("the refusal could not be noted for order %s: %s", claim.order_number, str(error)[:200])
