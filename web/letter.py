"""What the head of a mail says: who wrote it, whether a person did, and by which id it is known when it comes again.

Policy: V6, C12.
"""

import hashlib
import re
from email.message import Message

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_ADDRESS = re.compile(r'[^\s<>()\[\],;:"@]+@[^\s<>()\[\],;:"@]+')
_BULK = frozenset({"bulk", "list", "junk", "auto_reply"})


def headers(mail: Message, name: str) -> list[str]:
    """Return the values of every header `name`, what is not ASCII as UTF-8 where it is that."""
    return [
        str(value).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        for each, value in mail.raw_items()
        if each.lower() == name.lower()
    ]


def automatic(mail: Message, envelope_sender: str) -> str | None:
    """Return by which sign a machine wrote this, None for a person's mail.

    An automatic answer is no answer: somebody's absence must not stop the clock of C12, and two machines must not
    write to each other for ever (RFC 3834).
    """
    if envelope_sender in ("", "<>"):
        return "empty envelope sender"
    for value in headers(mail, "Auto-Submitted"):
        if (kind := value.partition(";")[0].strip().lower()) != "no":
            return f"Auto-Submitted: {kind[:40]!a}"
    for value in headers(mail, "Precedence"):
        if (kind := value.strip().lower()) in _BULK:
            return f"Precedence: {kind}"
    for name in ("X-Autoreply", "X-Autorespond"):
        if headers(mail, name):
            return name
    return "multipart/report" if mail.get_content_type() == "multipart/report" else None


def writer(mail: Message) -> str | None:
    """Return the one address of the one From, None where there are several or none."""
    values = headers(mail, "From")
    found = _ADDRESS.findall(_QUOTED.sub("", values[0])) if len(values) == 1 else []
    return found[0] if len({each.casefold() for each in found}) == 1 else None


def command_id(mail: Message, raw: bytes, alias: str) -> str:
    """Return the id of the command that this mail to `alias` becomes: the same mail twice is one message.

    It is made from the Message-ID, from the whole mail where that is missing. The alias is part of it, so that a Message-ID
    of one side can never stand in the way of the other.
    """
    given = next((value.strip() for value in headers(mail, "Message-ID") if value.strip()), None)
    known = given.encode(errors="replace") if given else hashlib.sha256(raw).digest()
    return f"mail-{hashlib.sha256(alias.lower().encode() + b'/' + known).hexdigest()[:32]}"
