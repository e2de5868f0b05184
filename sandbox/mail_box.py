"""The mails of the sandbox's mail sink, each a file as it was received."""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesHeaderParser
from email.utils import parsedate_to_datetime
from pathlib import Path


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
