"""The inbox: mail to the alias of an order's buyer or seller becomes a message of the order's other side (V6, C12).

`python -m web.inbox` speaks SMTP. It needs Temporal and the store only while it takes a mail in.
"""

import argparse
import asyncio
import logging
import signal
from typing import Any

from aiosmtpd.smtp import SMTP
from sqlalchemy.exc import ArgumentError
from temporalio.runtime import Runtime, TelemetryConfig

from activities.settings import Settings, SettingsError
from domain.message import MESSAGE_DOMAIN
from starter.client import OrderClient
from store.store import Store
from web.inbound import HANDED_ON_WITHIN, Inbox, reply
from web.serving import announce, run
from workflows.connection import connect

MAX_MAIL_BYTES = 16 * 1024 * 1024
MAX_LINE_BYTES = 64 * 1024
"""Far more than mail allows; programs that write HTML on one line are not refused for it."""
_logger = logging.getLogger("web.inbox")


class _Server(SMTP):
    """The SMTP server, with words of ours for a mail that is too large."""

    line_length_limit = MAX_LINE_BYTES

    async def push(self, status: Any) -> None:
        """Send a reply."""
        if isinstance(status, str) and status.startswith("552 Error"):
            most = f"{MAX_MAIL_BYTES // 1024 // 1024} MiB"
            status = reply("552 5.3.4", f"the mail is over {most}; send the text alone, attachments are not taken")
        await super().push(status)


async def listen(inbox: Inbox, host: str, port: int) -> asyncio.Server:
    """Begin to take mail in for `inbox`; raises OSError where the port cannot be had."""
    loop = asyncio.get_running_loop()
    # The name is given because aiosmtpd would look its own up in the DNS for each connection.
    return await loop.create_server(
        lambda: _Server(
            inbox, data_size_limit=MAX_MAIL_BYTES, hostname=MESSAGE_DOMAIN, ident="marketplace inbox", loop=loop
        ),
        host,
        port,
    )


async def serve(arguments: argparse.Namespace, settings: Settings) -> None:
    """Take mail in until SIGTERM or SIGINT; raises SettingsError for a database that cannot be used, OSError for a taken port."""
    try:
        store = Store(settings.database_url)
    except (ValueError, ArgumentError) as error:
        raise SettingsError(f"DATABASE_URL: {error}") from None
    # Temporal's client is kept from writing lines of its own: what could not be handed on is told here, once.
    client = await connect(lazy=True, runtime=Runtime(telemetry=TelemetryConfig(logging=None)))
    inbox = Inbox(OrderClient(client, settings.task_queue), store, settings.inbox_sender)
    server, stop = await listen(inbox, arguments.host, arguments.port), asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    port = server.sockets[0].getsockname()[1]
    announce(f"inbox on smtp://{arguments.host}:{port}", arguments.port_file, port)
    await stop.wait()
    server.close()
    await inbox.finish(HANDED_ON_WITHIN / 3)
    store.close()


if __name__ == "__main__":
    # The SMTP server's own lines would tell every address.
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    run("inbox", "Takes in the mail to the aliases of orders.", serve)
