"""The sandbox's mail server, a process of its own: `python -m sandbox.mail --directory DIR`.

It takes every mail by SMTP, keeps it as a file and shows it on a page. The same Message-ID received again is kept once
and counted. `POST /faults {"kind": "down" | "refuse", "count": n}` makes it answer 451 or 550, n times or until
`DELETE /faults`.
"""

import argparse
import asyncio
import hashlib
import json
import re
import signal
import socket
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesHeaderParser
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import uvicorn
from aiosmtpd.smtp import SMTP, Envelope, Session
from fastapi import APIRouter, FastAPI, HTTPException, Query, Request
from fastapi.responses import HTMLResponse
from jinja2 import DictLoader, Environment
from pydantic import BaseModel, ConfigDict, Field

MAX_MAIL_BYTES = 1024 * 1024
SECURITY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_PAGES = Environment(
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    loader=DictLoader(
        {
            "page": """<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>{{ title }}</title>
<style>body{font:15px/1.5 sans-serif;margin:24px auto;max-width:900px;padding:0 12px}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:6px 12px 6px 0;border-bottom:1px solid #ddd;vertical-align:top}
pre{white-space:pre-wrap;background:#f5f5f3;padding:12px}iframe{width:100%;height:640px;border:1px solid #ccc}</style>
{% block main %}{% endblock %}</html>""",
            "list": """{% extends "page" %}{% block main %}<h1>{{ title }}</h1>
{% if mails %}<table><tr><th>Received<th>To<th>Subject</tr>
{% for mail in mails %}
<tr><td>{{ mail.received_at[:19] }}<td>{{ mail.to }}<td><a href="/mails/{{ mail.name }}">{{ mail.subject }}</a>
{% if mail.deliveries > 1 %}({{ mail.deliveries }} deliveries){% endif %}</tr>
{% endfor %}</table>{% else %}<p>No mail yet.</p>{% endif %}{% endblock %}""",
            "mail": """{% extends "page" %}{% block main %}<p><a href="/">All mails</a></p><h1>{{ mail.subject }}</h1>
<table><tr><th>To<td>{{ mail.to }}</tr><tr><th>Date<td>{{ mail.date }}</tr><tr><th>Message-ID<td>{{ mail.message_id }}</tr>
<tr><th>Deliveries<td>{{ mail.deliveries }}</tr></table><h2>Text</h2><pre>{{ text }}</pre>
{% if html %}<h2>HTML</h2><iframe sandbox title="HTML part" srcdoc="{{ html }}"></iframe>{% endif %}{% endblock %}""",
        }
    ),
)


@dataclass(frozen=True)
class Mail:
    """One mail: its file `name`, envelope `recipients`, decoded headers, and how often it was delivered."""

    name: str
    recipients: tuple[str, ...]
    to: str
    subject: str
    message_id: str
    date: str
    received_at: str
    deliveries: int


def _header(message: Message, name: str) -> str:
    raw = str(message.get(name, ""))
    try:
        decoded = str(make_header(decode_header(raw)))
    except (HeaderParseError, LookupError, ValueError):
        decoded = raw
    return " ".join(decoded.split())


def _date(message: Message) -> str:
    try:
        return parsedate_to_datetime(str(message.get("Date", ""))).isoformat()
    except (ValueError, OverflowError):
        return ""


def _read_headers(name: str, raw: bytes) -> Mail:
    """Read the mail of the file `name`, whose own header lines come before those of the sender."""
    message = BytesHeaderParser().parsebytes(raw)
    deliveries = str(message.get("X-Deliveries", "1"))
    return Mail(
        name=name,
        recipients=tuple(filter(None, str(message.get("X-Envelope-To", "")).split(", "))),
        to=_header(message, "To"),
        subject=_header(message, "Subject"),
        message_id=_header(message, "Message-ID"),
        date=_date(message),
        received_at=str(message.get("X-Received-At", "")),
        deliveries=int(deliveries) if deliveries.isdecimal() else 1,
    )


def read_bodies(raw: bytes) -> dict[str, str]:
    """Return the first plain text and HTML part of a mail as `text` and `html`, empty where there is none."""
    found = {"text/plain": "", "text/html": ""}
    try:
        parts = list(message_from_bytes(raw).walk())
    except RecursionError:
        # Parts nested a thousand deep are shown as they came.
        return {"text": raw.decode(errors="replace"), "html": ""}
    for part in parts:
        kind = part.get_content_type()
        payload = part.get_payload(decode=True)
        if found.get(kind) == "" and isinstance(payload, bytes):
            try:
                found[kind] = payload.decode(part.get_content_charset("utf-8"), errors="replace")
            except LookupError:
                found[kind] = payload.decode(errors="replace")
    return {"text": found["text/plain"].replace("\r\n", "\n"), "html": found["text/html"]}


class Mailbox:
    """The mails as files in `directory`, in the order in which they came; an earlier run's mails are kept."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._by_key: dict[str, Mail] = {}
        self._number = 0
        found = (re.fullmatch(r"(\d+)-.*\.eml", path.name) for path in directory.iterdir())
        for number, name in sorted((int(match[1]), match[0]) for match in found if match):
            mail = _read_headers(name, (directory / name).read_bytes())
            self._by_key[mail.message_id or name] = mail
            self._number = number

    def __len__(self) -> int:
        return len(self._by_key)

    def store(self, raw: bytes, recipients: list[str]) -> Mail:
        """Keep a mail as received, or count another delivery where its Message-ID is known."""
        if not re.match(rb"[!-9;-~]+:", raw):
            # Without headers of its own a mail's first line must not continue one of ours.
            raw = b"\r\n" + raw
        key = _header(BytesHeaderParser().parsebytes(raw), "Message-ID") or hashlib.sha256(raw).hexdigest()
        known = self._by_key.get(key)
        if known is not None:
            return self._count(key, known, recipients)
        self._number += 1
        name = f"{self._number:04d}-{re.sub(r'[^A-Za-z0-9._=~-]+', '_', key.strip('<>'))[:120]}.eml"
        return self._write(key, name, raw, recipients, datetime.now(UTC).isoformat(), 1)

    def _count(self, key: str, known: Mail, recipients: list[str]) -> Mail:
        everyone = [*known.recipients, *(each for each in recipients if each not in known.recipients)]
        kept = self.raw(known).split(b"\r\n", 3)[3]
        return self._write(key, known.name, kept, everyone, known.received_at, known.deliveries + 1)

    def _write(self, key: str, name: str, raw: bytes, recipients: list[str], received_at: str, deliveries: int) -> Mail:
        own = (
            f"X-Envelope-To: {', '.join(recipients)}\r\nX-Received-At: {received_at}\r\nX-Deliveries: {deliveries}\r\n"
        )
        whole = own.encode(errors="replace") + raw
        draft = self._directory / f"{name}.draft"
        draft.write_bytes(whole)
        draft.replace(self._directory / name)
        self._by_key[key] = _read_headers(name, whole)
        return self._by_key[key]

    def raw(self, mail: Mail) -> bytes:
        """Return the file of `mail`."""
        return (self._directory / mail.name).read_bytes()

    def find(self, to: str = "", subject: str = "", order: str = "") -> list[Mail]:
        """Return the mails whose recipient, subject and order number contain what is given, the oldest first."""
        return [
            mail
            for mail in list(self._by_key.values())
            if to.lower() in f"{mail.to} {' '.join(mail.recipients)}".lower()
            and subject.lower() in mail.subject.lower()
            and order in f"{mail.subject} {mail.message_id}"
        ]

    def named(self, name: str) -> Mail | None:
        """Return the mail of the file `name`, or None."""
        return next((mail for mail in list(self._by_key.values()) if mail.name == name), None)


class Fault(BaseModel):
    """A switched-on fault: `down` answers 451, `refuse` 550; `count` answers are left, None for no end."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["down", "refuse"]
    count: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] | None = None


class Receiver:
    """What the SMTP server asks at each step of a mail's delivery."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox = mailbox
        self.fault: Fault | None = None

    def _fails(self, kind: str) -> bool:
        fault = self.fault
        if fault is None or fault.kind != kind:
            return False
        if fault.count is not None:
            self.fault = Fault(kind=fault.kind, count=fault.count - 1) if fault.count > 1 else None
        return True

    async def handle_MAIL(  # noqa: N802 - aiosmtpd finds its hooks by these names
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, mail_options: list[str]
    ) -> str:
        """Take the sender, unless the server plays dead."""
        if self._fails("down"):
            return "451 4.3.0 The mail sink is down; try again later"
        envelope.mail_from = address
        envelope.mail_options.extend(mail_options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802 - as above
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, rcpt_options: list[str]
    ) -> str:
        """Take a recipient, unless the server refuses them."""
        if self._fails("refuse"):
            return "550 5.1.1 The mail sink refuses this recipient"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(rcpt_options)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - as above
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """Keep the mail; a full disk is a temporary failure."""
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        try:
            mail = self.mailbox.store(content, [str(address) for address in envelope.rcpt_tos])
        except OSError as error:
            return f"452 4.3.1 The mail could not be kept: {error.strerror}"
        return f"250 2.0.0 Kept as {mail.name}"


router = APIRouter()


def _receiver(request: Request) -> Receiver:
    found: Receiver = request.app.state.receiver
    return found


def _page(template: str, **facts: Any) -> HTMLResponse:
    return HTMLResponse(_PAGES.get_template(template).render(facts), headers=SECURITY)


@router.get("/")
def list_page(request: Request) -> HTMLResponse:
    """Show the newest mails."""
    mails = _receiver(request).mailbox.find()
    return _page("list", title="Mail sink", mails=mails[:-501:-1])


@router.get("/mails/{name}")
def mail_page(request: Request, name: str) -> HTMLResponse:
    """Show one mail; its HTML runs nothing and loads nothing."""
    mailbox = _receiver(request).mailbox
    mail = mailbox.named(name)
    if mail is None:
        raise HTTPException(404, f"there is no mail {name}")
    return _page("mail", title=mail.subject, mail=mail, **read_bodies(mailbox.raw(mail)))


@router.get("/api/mails")
def find_mails(
    request: Request,
    to: str = "",
    subject: str = "",
    order: str = "",
    limit: Annotated[int, Query(ge=1, le=5000)] = 1000,
) -> list[dict[str, Any]]:
    """Return the newest `limit` mails that match, in the order in which they came."""
    mailbox = _receiver(request).mailbox
    return [asdict(mail) | read_bodies(mailbox.raw(mail)) for mail in mailbox.find(to, subject, order)[-limit:]]


@router.get("/health")
def health(request: Request) -> dict[str, Any]:
    """Say that the sink runs, how many mails it holds and which fault is on."""
    receiver = _receiver(request)
    return {"status": "ok", "mails": len(receiver.mailbox), "fault": receiver.fault}


@router.post("/faults", status_code=201)
async def set_fault(request: Request, fault: Fault) -> Fault:
    """Switch a fault on, in place of any other."""
    _receiver(request).fault = fault
    return fault


@router.delete("/faults", status_code=204)
async def clear_fault(request: Request) -> None:
    """Switch the fault off."""
    _receiver(request).fault = None


class AnnouncingServer(uvicorn.Server):
    """The page's server, which says where both servers listen once they do."""

    def __init__(self, config: uvicorn.Config, host: str, ports: dict[str, int], port_file: Path | None) -> None:
        super().__init__(config)
        self._host, self._ports, self._port_file = host, ports, port_file

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, write the port file in one step, and print the addresses."""
        await super().startup(sockets)
        self._announce()

    def _announce(self) -> None:
        if self._port_file is not None:
            draft = self._port_file.with_name(self._port_file.name + ".draft")
            draft.write_text(json.dumps(self._ports))
            draft.replace(self._port_file)
        addresses = ", ".join(f"{scheme}://{self._host}:{port}" for scheme, port in self._ports.items())
        sys.stdout.write(f"mail sink on {addresses}\n")
        sys.stdout.flush()


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
    app = FastAPI(title="Sandbox mail sink", docs_url=None, redoc_url=None)
    app.state.receiver = receiver
    app.include_router(router)
    listener = socket.create_server((host, http_port))
    ports = {"smtp": smtp.sockets[0].getsockname()[1], "http": listener.getsockname()[1]}
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
    try:
        await AnnouncingServer(config, host, ports, port_file).serve(sockets=[listener])
    finally:
        smtp.close()


def _stop(_signal: int, _frame: Any) -> NoReturn:
    sys.exit(0)


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox.mail", description="The sandbox's mail server.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--smtp-port", type=int, default=0, help="0 (default) takes a free port")
    parser.add_argument("--http-port", type=int, default=0, help="0 (default) takes a free port")
    parser.add_argument("--directory", type=Path, required=True, help="where the mails are kept, made where missing")
    parser.add_argument("--port-file", type=Path, help='file to write {"smtp": p, "http": p} to once both listen')
    return parser.parse_args()


def main() -> None:
    """Run the mail sink until SIGTERM or SIGINT."""
    arguments = _read_arguments()
    # Uvicorn raises the signal that stopped it once more when it is done; without these the exit would not be clean.
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    mailbox = Mailbox(arguments.directory)
    asyncio.run(serve(arguments.host, arguments.smtp_port, arguments.http_port, mailbox, arguments.port_file))


if __name__ == "__main__":
    main()
