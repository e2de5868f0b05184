"""Orders on a real stack, for tests: placing, commanding, moving clocks, and looking at what the partners know."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar

import httpx
from temporalio.client import WorkflowExecutionStatus
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer, Worker

from activities.mail import Mailer
from activities.provider import HttpPaymentProvider
from activities.settings import Settings
from domain.effects import NoticeKind
from domain.order import CLOSED, Actor, HistoryEntry, Status
from domain.policy import Policy, load_policy
from domain.refund import RefundStatus
from domain.views import OrderView
from sandbox.stack import ROOT, Addresses, Stack
from starter import carts
from starter.client import OrderClient, RefusedError, Reply
from starter.samples import SAMPLES
from starter.travel import advance
from store.store import Store
from worker import build_worker
from workflows.connection import connect, ensure_search_attributes
from workflows.order import OrderWorkflow

PATIENCE = 30.0
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
_skus = itertools.count(1)
Found = TypeVar("Found")


def sample_policy() -> Policy:
    """Return the policy file that is shipped."""
    return load_policy((ROOT / "policy.toml").read_text())


async def until(condition: Callable[[], Awaitable[Found | None]], told: str = "condition") -> Found:
    """Wait until `condition` answers something true and return it; fails after half a minute."""
    end = asyncio.get_running_loop().time() + PATIENCE
    while True:
        if found := await condition():
            return found
        assert asyncio.get_running_loop().time() < end, f"{told} never came"
        await asyncio.sleep(0.03)


class Live:
    """A client of the stack with everything that a test asks of it."""

    def __init__(self, orders: OrderClient, store: Store, addresses: Addresses, settings: Settings) -> None:
        self.orders = orders
        self.store = store
        self.addresses = addresses
        self.settings = settings
        self.placed: list[str] = []
        """The orders of the running test, whose histories are replayed at its end."""
        self.provider = httpx.AsyncClient(base_url=addresses.provider, timeout=20)
        self.mail = httpx.AsyncClient(base_url=addresses.mail, timeout=20)

    def worker(self, queue: str | None = None, **changes: Any) -> Worker:
        """Build a worker in this process, for a task queue of its own if one is named."""
        settings = self.settings.model_copy(update={"task_queue": queue or self.settings.task_queue, **changes})
        provider = HttpPaymentProvider(self.addresses.provider, timeout=2.0)
        mailer = Mailer("127.0.0.1", self.addresses.smtp_port, sender=settings.mail_from)
        return build_worker(self.orders.temporal, settings, provider, mailer, self.store)

    def on_queue(self, queue: str, policy: Policy | None = None) -> "Live":
        """Return the same stack seen through another task queue and policy."""
        client = OrderClient(self.orders.temporal, queue, policy or sample_policy())
        seen = Live(client, self.store, self.addresses, self.settings)
        seen.placed = self.placed
        return seen

    async def close(self) -> None:
        """Close the connections to provider and mail sink."""
        await self.provider.aclose()
        await self.mail.aclose()

    def sku(self, units: int = 100, seller: str = "S-100") -> str:
        """Return a new item of which the seller has `units`."""
        sku = f"T-{next(_skus)}"
        self.store.set_on_hand(seller, sku, units)
        return sku

    async def place(self, *, wait: bool = True, quantity: int = 2, **options: Any) -> str:
        """Place an order of two at 1,200 unless told otherwise; return its number once its payment is decided."""
        if "items" not in options:
            seller = options.get("seller", "S-100")
            options["items"] = (f"{self.sku(seller=seller)}:{quantity}:1200:Cup",)
        placement = carts.cart(**options)
        await self.orders.place(placement)
        self.placed.append(placement.order_number)
        if wait:
            await self.orders.settled(placement.order_number, timedelta(seconds=PATIENCE))
        return placement.order_number

    async def replay(self) -> None:
        """Replay the histories of the test's orders, as a worker does that takes over a running order."""
        numbers, self.placed[:] = list(dict.fromkeys(self.placed)), []
        replayer = Replayer(workflows=[OrderWorkflow], data_converter=pydantic_data_converter)
        for number in numbers:
            await replayer.replay_workflow(await self.orders.handle(number).fetch_history())

    async def do(self, number: str, name: str, actor: Actor | str, **fields: Any) -> Reply:
        """Send a command through the starter's client."""
        extra = {key: fields.pop(key) for key in ("command_id", "requested_at") if key in fields}
        return await self.orders.command(number, name, fields, actor=Actor(actor), **extra)

    async def refused(self, number: str, name: str, actor: Actor | str, **fields: Any) -> str:
        """Send a command that must be refused; return the code."""
        try:
            await self.do(number, name, actor, **fields)
        except RefusedError as error:
            return error.refusal.code
        raise AssertionError(f"{name} was accepted")

    async def ship(self, number: str, **fields: Any) -> Reply:
        """Confirm a shipment as the seller."""
        return await self.do(number, "ship", "seller", **{"carrier": "Yamato", "tracking_number": "T-1", **fields})

    async def shipped(self, *, delivered: bool = False, **options: Any) -> str:
        """Return the number of a shipped or delivered order of two at 1,200 and 500 shipping."""
        number = await self.place(**options)
        await self.ship(number)
        if delivered:
            await self.do(number, "deliver", "system")
        return number

    async def signal(self, number: str, name: str, payload: Any) -> None:
        """Send a raw signal, as a hand or script would."""
        await self.orders.handle(number).signal(name, payload)

    async def order(self, number: str, viewer: Actor = Actor.OPERATOR) -> OrderView:
        """Return the order."""
        return await self.orders.order(number, viewer)

    async def history(self, number: str) -> list[HistoryEntry]:
        """Return the order's history."""
        return await self.orders.history(number)

    async def entry(self, number: str, name: str) -> HistoryEntry:
        """Wait for the newest history entry of a name and return it."""

        async def there() -> HistoryEntry | None:
            return next((each for each in reversed(await self.history(number)) if each.name == name), None)

        return await until(there, f"history entry {name}")

    async def sees(self, number: str, condition: Callable[[OrderView], object], told: str) -> OrderView:
        """Wait until the order is as `condition` wants it and return it; `told` says what was waited for."""

        async def there() -> OrderView | None:
            order = await self.order(number)
            return order if condition(order) else None

        return await until(there, f"{told} of order {number}")

    async def reaches(self, number: str, status: Status) -> OrderView:
        """Wait until the order is in `status` and return it."""
        return await self.sees(number, lambda order: order.status is status, f"state {status}")

    async def refund_is(self, number: str, status: RefundStatus) -> OrderView:
        """Wait until the order's newest refund has come to `status`."""
        wanted = f"a refund that is {status}"
        return await self.sees(number, lambda order: order.refunds and order.refunds[-1].status is status, wanted)

    async def ended(self, number: str) -> None:
        """Wait until the order is closed and every effect has been seen through; its workflow may stay for the retention period."""

        async def closed() -> bool:
            found = await self.orders.describe(number)
            if found.status is not WorkflowExecutionStatus.RUNNING:
                return True
            order = await self.order(number)
            if order.status not in CLOSED or order.voids or found.raw_description.pending_activities:
                return False
            stored = self.store.order(number)
            return stored is not None and stored.version == order.version

        await until(closed, f"the end of order {number}")

    async def erased(self, number: str) -> None:
        """Move the order past its retention period and wait until its workflow has ended."""
        order = await self.order(number)
        closed_at = order.cancellation.at if order.cancellation else order.completed_at
        assert closed_at is not None
        await self.travel_to(number, closed_at + 31 * DAY)
        await self.over(number)

    async def over(self, number: str) -> None:
        """Wait until the order's workflow has ended."""

        async def over() -> bool:
            return (await self.orders.describe(number)).status is not WorkflowExecutionStatus.RUNNING

        await until(over, f"the end of the workflow of {number}")

    async def travel(self, number: str, by: timedelta) -> None:
        """Move the order's clock ahead."""
        if by > timedelta():
            await advance(self.orders, number, by)

    async def travel_to(self, number: str, instant: datetime) -> None:
        """Move the order's clock to `instant`."""
        await self.travel(number, instant - await self.orders.clock(number))

    async def at_provider(self, number: str) -> list[dict[str, Any]]:
        """Return the provider's own authorisations of the order."""
        answer = await self.provider.get("/authorizations", params={"order_number": number})
        found: list[dict[str, Any]] = answer.raise_for_status().json()
        return found

    async def held(self, number: str) -> int:
        """Return what the provider holds for the order, in minor units."""
        return sum(each["amount_minor"] for each in await self.at_provider(number) if each["status"] == "authorized")

    async def charged(self, number: str) -> int:
        """Return what the provider has charged for the order, in minor units."""
        return sum(each["captured_minor"] or 0 for each in await self.at_provider(number))

    async def log(self, number: str) -> list[str]:
        """Return what the provider's own log says that it did for the order, repeated calls left out."""
        entries = (await self.provider.get("/log", params={"order_number": number})).raise_for_status().json()
        return [each["action"] for each in entries if each["action"] != "replay"]

    async def mails(self, number: str) -> list[dict[str, Any]]:
        """Return the mails about the order, the oldest first."""
        answer = await self.mail.get("/api/mails", params={"order": number})
        found: list[dict[str, Any]] = answer.raise_for_status().json()
        return sorted(found, key=lambda each: str(each["name"]))

    async def mailed(self, number: str, kind: str, to: str) -> dict[str, Any]:
        """Wait for the notice of a kind to the buyer or seller and return its mail."""

        async def there() -> dict[str, Any] | None:
            return next((each for each in await self.mails(number) if _tells(each, kind, to)), None)

        return await until(there, f"mail {kind} to the {to}")

    async def kinds_mailed(self, number: str, to: str) -> set[str]:
        """Return the kinds of the notices that went to the buyer or seller."""
        mails = await self.mails(number)
        return {kind.value for kind in NoticeKind if any(_tells(each, kind, to) for each in mails)}

    def units(self, sku: str) -> tuple[int, int]:
        """Return (on hand, reserved) of an item."""
        row = next(row for row in self.store.stock() if row.sku == sku)
        return row.on_hand, row.reserved

    async def stock_is(self, sku: str, on_hand: int, reserved: int) -> None:
        """Wait until an item has these units; stock follows the order's record."""

        async def there() -> bool:
            return self.units(sku) == (on_hand, reserved)

        await until(there, f"{on_hand} units of {sku}, {reserved} of them reserved")

    def stock_samples(self) -> None:
        """Give the sample sellers their stock, as the embedded stack does."""
        for seller, items in SAMPLES.items():
            for sku, units in items.items():
                self.store.set_on_hand(seller, sku, units)

    async def provider_fault(self, kind: str, count: int | None = None, **more: Any) -> None:
        """Make the provider fail."""
        (await self.provider.post("/faults", json={"kind": kind, "count": count, **more})).raise_for_status()

    async def mail_fault(self, kind: str, count: int | None = None) -> None:
        """Make the mail sink fail."""
        (await self.mail.post("/faults", json={"kind": kind, "count": count})).raise_for_status()

    async def clear_faults(self) -> None:
        """Make provider and mail sink well again."""
        await self.provider.delete("/faults")
        await self.mail.delete("/faults")


def _tells(mail: dict[str, Any], kind: str, to: str) -> bool:
    return any(part in mail["message_id"] for part in (f".{kind}.{to}@", f".{kind}.{to}.", f"/{kind}/{to}"))


@asynccontextmanager
async def open_live(stack: Stack, max_cached_workflows: int = 1000) -> AsyncIterator[Live]:
    """Open a client on the stack with a worker in this process."""
    addresses = stack.addresses
    assert addresses is not None
    settings = Settings.from_environment({**addresses.environment(), "MAX_CACHED_WORKFLOWS": str(max_cached_workflows)})
    store = Store(addresses.database_url)
    store.migrate()
    client = await connect(target_host=addresses.temporal, namespace="default")
    await ensure_search_attributes(client)
    live = Live(OrderClient(client, settings.task_queue, sample_policy()), store, addresses, settings)
    async with live.worker():
        yield live
    await live.close()
    store.close()
