"""The worker: `python worker.py` connects with the environment's settings and works until SIGTERM.

Temporal's settings (address, namespace, TLS, API key) are those of `temporalio.envconfig`; the partners' are listed in
`docs/configuration.md`. Any number of workers may run side by side.
"""

import asyncio
import logging
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from sqlalchemy.exc import ArgumentError, DBAPIError
from temporalio.client import Client
from temporalio.worker import Worker

from activities.mail import Mailer
from activities.notices import NoticeActivities
from activities.orders import OrderActivities
from activities.payments import PaymentActivities
from activities.provider import HttpPaymentProvider, PaymentProvider
from activities.records import RecordActivities
from activities.settings import Settings, SettingsError
from activities.stock import StockActivities
from activities.stripe_provider import StripePaymentProvider
from store.store import Store
from workflows.connection import SearchAttributesMissingError, begin_order, connect, ensure_search_attributes
from workflows.order import OrderWorkflow
from workflows.parcel import ParcelWorkflow
from workflows.purchase import PurchaseWorkflow

DRAIN = timedelta(seconds=15)
"""How long activities under way may go on after SIGTERM."""
PROVIDER_ANSWERS = 5.0
"""Seconds that one request to the payment provider may take."""


def payment_provider(settings: Settings) -> HttpPaymentProvider | StripePaymentProvider:
    """Open the provider that PAYMENT_PROVIDER names; raises SettingsError where Stripe's key is missing."""
    if settings.payment_provider == "http":
        return HttpPaymentProvider(settings.payment_provider_url, timeout=PROVIDER_ANSWERS)
    if settings.stripe_secret_key is None:
        raise SettingsError("stripe_secret_key: missing; PAYMENT_PROVIDER is stripe, so give the account's secret key")
    return StripePaymentProvider(
        settings.stripe_secret_key, api_base=settings.stripe_api_base, timeout=PROVIDER_ANSWERS
    )


def build_worker(client: Client, settings: Settings, provider: PaymentProvider, mailer: Mailer, store: Store) -> Worker:
    """Put a worker together from its partners."""
    payments, stock = PaymentActivities(provider, store), StockActivities(store)
    notices, records = NoticeActivities(mailer, store, settings.mail_from), RecordActivities(store)
    orders = OrderActivities(client, store, begin_order)
    return Worker(
        client,
        task_queue=settings.task_queue,
        workflows=[OrderWorkflow, PurchaseWorkflow, ParcelWorkflow],
        activities=[
            payments.authorize,
            payments.capture,
            payments.void,
            payments.refund,
            payments.ask,
            stock.reserve,
            notices.notify,
            records.record,
            orders.reserve,
            orders.begin,
            orders.withdraw,
            orders.check,
            orders.command,
        ],
        max_cached_workflows=settings.max_cached_workflows,
        # A worker that is killed holds up the next command on its orders for this long.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
        graceful_shutdown_timeout=DRAIN,
    )


async def work(settings: Settings) -> None:
    """Run a worker until SIGTERM or SIGINT, then let it finish what is under way."""
    provider = payment_provider(settings)
    try:
        store, client = Store(settings.database_url), await connect()
    except (ValueError, ArgumentError) as error:
        raise SettingsError(f"DATABASE_URL or TEMPORAL_ADDRESS: {error}") from None
    except RuntimeError as error:
        raise ConnectionError(
            f"no Temporal server answers ({error}); check TEMPORAL_ADDRESS and that it runs"
        ) from None
    await ensure_search_attributes(client)
    await asyncio.to_thread(store.migrate)
    mailer = Mailer(settings.smtp_host, settings.smtp_port, sender=settings.mail_from)
    # Store calls run in threads: one that hangs must not keep the others waiting.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(max_workers=32))
    stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    async with build_worker(client, settings, provider, mailer, store):
        logging.info("worker takes orders from task queue %s in namespace %s", settings.task_queue, client.namespace)
        await stop.wait()
        logging.info("worker is draining")
    await provider.aclose()
    store.close()


def main() -> int:
    """Run from the command line; exits 2 for settings that cannot be used, 4 when Temporal or the store is not ready."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(work(Settings.from_environment()))
    except SettingsError as error:
        logging.error("settings: %s", error)
        return 2
    except DBAPIError as error:
        why = " ".join(str(error.orig).split())
        logging.error("the worker cannot start: the store does not answer (%s); check DATABASE_URL", why)
        return 4
    except (SearchAttributesMissingError, RuntimeError, OSError) as error:
        logging.error("the worker cannot start: %s", error)
        return 4
    return 0


if __name__ == "__main__":
    ended = main()
    logging.shutdown()
    # Threads of Temporal's client that are still at work while Python shuts down abort the process now and then (exit 134).
    os._exit(ended)
