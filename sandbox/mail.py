"""The sandbox's mail server, a process of its own: `python -m sandbox.mail --directory DIR`.

It takes every mail by SMTP, keeps it as a file and shows it on a page. The same Message-ID received again is kept once
and counted. `POST /faults {"kind": "down" | "refuse", "count": n}` makes it answer 451 or 550, n times or until
`DELETE /faults`.
"""

import argparse
import asyncio
import json
import socket
from pathlib import Path

import uvicorn
from aiosmtpd.smtp import SMTP

from sandbox.mail_box import Mailbox
from sandbox.mail_pages import create_app
from sandbox.mail_smtp import Receiver
from sandbox.serving import announce, end_on_signals, port_number

MAX_MAIL_BYTES = 1024 * 1024


async def serve(host: str, smtp_port: int, http_port: int, mailbox: Mailbox, port_file: Path | None) -> None:
    """Run both servers until the process is told to stop."""
    receiver = Receiver(mailbox)
    loop = asyncio.get_running_loop()
    # The name is given because aiosmtpd would look its own up in the DNS for each connection.
    smtp = await loop.create_server(
        lambda: SMTP(receiver, data_size_limit=MAX_MAIL_BYTES, hostname="mail-sink.invalid", timeout=60, loop=loop),
        host,
        smtp_port,
    )
    listener = socket.create_server((host, http_port))
    ports = {"smtp": smtp.sockets[0].getsockname()[1], "http": listener.getsockname()[1]}
    config = uvicorn.Config(create_app(receiver), log_level="warning", access_log=False, timeout_graceful_shutdown=1)
    try:
        addresses = ", ".join(f"{scheme}://{host}:{port}" for scheme, port in ports.items())
        announce(f"mail sink on {addresses}", port_file, json.dumps(ports))
        await uvicorn.Server(config).serve(sockets=[listener])
    finally:
        smtp.close()


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox.mail", description="The sandbox's mail server.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--smtp-port", type=port_number, default=0, help="0 (default) takes a free port")
    parser.add_argument("--http-port", type=port_number, default=0, help="0 (default) takes a free port")
    parser.add_argument("--directory", type=Path, required=True, help="where the mails are kept, made where missing")
    parser.add_argument("--port-file", type=Path, help='file to write {"smtp": p, "http": p} to once both listen')
    return parser.parse_args()


def main() -> None:
    """Run the mail sink until SIGTERM or SIGINT."""
    arguments = _read_arguments()
    end_on_signals()
    mailbox = Mailbox(arguments.directory)
    asyncio.run(serve(arguments.host, arguments.smtp_port, arguments.http_port, mailbox, arguments.port_file))


if __name__ == "__main__":
    main()
