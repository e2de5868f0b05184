"""The text of a mail: its plain text parts in any charset, text made from HTML where there is no other, no attachments.

What is read comes from strangers: nothing here raises anything but UnreadableMailError.
"""

import re
import unicodedata
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message

from web.html_text import text_of_html

MAX_TEXT_BYTES = 512 * 1024
"""Largest text part that is read; what a person writes is far smaller, even with the whole conversation below it."""
_WIDER = {
    **dict.fromkeys(("gb2312", "gbk", "gb_2312-80", "x-gbk", "hz-gb-2312"), "gb18030"),
    **dict.fromkeys(("shift_jis", "shift-jis", "sjis", "x-sjis", "windows-31j", "ms_kanji"), "cp932"),
    **dict.fromkeys(("iso-8859-1", "latin-1", "latin1"), "cp1252"),
    **dict.fromkeys(("us-ascii", "ascii", "unknown-8bit", "utf8", "utf-8"), "utf-8"),
    "big5": "big5hkscs",
}
"""Charsets by the wider ones that mail programs mean by them."""


class UnreadableMailError(ValueError):
    """The mail's text cannot be read; the message has fact and remedy."""


def parse(raw: bytes) -> Message:
    """Return the mail; raises UnreadableMailError for parts that are nested without end."""
    try:
        return message_from_bytes(raw)
    except Exception as error:
        raise UnreadableMailError("the mail's parts cannot be told apart; send plain text") from error


def text_of(mail: Message) -> str:
    """Return the text of a mail with lines that end with `\\n`, empty where it has none. Attachments are left out.

    Raises UnreadableMailError for a text part of more than 512 KiB and for parts that cannot be read.
    """
    try:
        texts = list(_texts(mail))
    except UnreadableMailError:
        raise
    except Exception as error:
        raise UnreadableMailError("the mail's parts cannot be read; send plain text") from error
    return _clean("\n".join(texts))


def _texts(part: Message) -> Iterator[str]:
    kind = part.get_content_type()
    if part.get_content_disposition() == "attachment" or part.get_content_maintype() == "message":
        return
    if part.is_multipart():
        children = [each for each in part.get_payload() if isinstance(each, Message)]
        if kind == "multipart/alternative":
            # The same words several times over: plain text before HTML, and what is empty never.
            ranked = sorted(children, key=lambda each: each.get_content_type() != "text/plain")
            found = (list(_texts(each)) for each in ranked)
            yield from next((each for each in found if "".join(each).strip()), [])
        else:
            for child in children:
                yield from _texts(child)
    elif kind == "text/plain":
        flowed = str(part.get_param("format", "")).lower() == "flowed"
        text = _decoded(part)
        yield _unflowed(text, joined=str(part.get_param("delsp", "")).lower() == "yes") if flowed else text
    elif kind == "text/html":
        yield text_of_html(_decoded(part))


def _decoded(part: Message) -> str:
    payload = part.get_payload(decode=True)
    raw = payload if isinstance(payload, bytes) else b""
    if len(raw) > MAX_TEXT_BYTES:
        raise UnreadableMailError(f"the mail's text is over {MAX_TEXT_BYTES // 1024} KiB; send plain text alone")
    try:
        named = (part.get_content_charset() or "utf-8").lower()
        text = raw.decode(_WIDER.get(named, named))
    except (LookupError, ValueError):
        text = _guessed(raw)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _guessed(raw: bytes) -> str:
    """Decode what is not in the charset that it names, or names one that nobody knows."""
    if b"\x1b$" in raw:
        return "".join(_jis(segment) for segment in re.split(rb"(?=\x1b[$(])", raw))
    try:
        return raw.decode("utf-8")
    except ValueError:
        return raw.decode("cp1252", errors="replace")


def _jis(segment: bytes) -> str:
    """Decode a segment of ISO-2022-JP with the characters that Windows adds to it, such as a 1 in a circle."""
    escape, rest = segment[:3], segment[3:]
    if escape == b"\x1b(I":
        return bytes(each | 0x80 for each in rest).decode("cp932", errors="replace")
    if not escape.startswith(b"\x1b$"):
        return (rest if escape.startswith(b"\x1b") else segment).decode("ascii", errors="replace")
    shifted = bytearray()
    for row, cell in zip(rest[::2], rest[1::2], strict=False):
        lead = (row + 1) // 2 + (0x70 if row < 0x5F else 0xB0)
        shifted += bytes((lead & 0xFF, cell + (0x7E if row % 2 == 0 else 0x1F + (cell >= 0x60))))
    return shifted.decode("cp932", errors="replace")


def _unflowed(text: str, *, joined: bool) -> str:
    """Return text that is sent as "flowed" with its lines made whole; `joined` is for scripts without blanks (RFC 3676)."""
    lines: list[str] = []
    open_line = False
    for raw in text.split("\n"):
        line = raw[1:] if re.match(" [^>]", raw) else raw
        fixed = line.startswith(">") or line == "-- "
        if open_line and not fixed:
            lines[-1] = (lines[-1][:-1] if joined else lines[-1]) + line
        else:
            lines.append(line)
        open_line = line.endswith(" ") and not fixed
    return "\n".join(lines)


def _clean(text: str) -> str:
    """Return `text` without what no message may hold: control characters, direction marks, what is never seen."""
    kept = []
    for character in text.replace("\t", " ").replace("\u2028", "\n").replace("\u2029", "\n"):
        kind = unicodedata.category(character)
        # The joiners are part of some scripts and faces, and so are the tags above U+E0000.
        hidden = kind == "Cf" and character not in "\u200c\u200d" and character < "\U000e0000"
        if character == "\n" or not (hidden or kind in ("Cc", "Cs")):
            kept.append(character)
    return "".join(kept)
