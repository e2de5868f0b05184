"""What a person wrote in a reply, without the mail that it answers and without the signature.

Line by line and in linear time. What is cut is what mail programs put in: lines that begin with ">", the line that
introduces them, what follows an "original message", and a signature behind its "-- ". Everything else stays.
"""

import re
from collections.abc import Sequence

from domain.message import MESSAGE_DOMAIN

_QUOTE = re.compile(r">(?!\S?<)")  # but not the faces >< and >_<
_HISTORY = re.compile(
    r"[-_]{3,}\s*(?:original(?:e| message| mail)?|forwarded message|messaggio (?:originale|inoltrato)"
    r"|元のメッセージ|転送(?:された)?メッセージ|原始(?:邮件|郵件|信件)|原邮件|转发(?:的)?(?:邮件|信息)|转发邮件信息)\s*[-_]{3,}"
    r"|begin forwarded message:|inizio messaggio inoltrato:|转发的邮件：|転送されたメッセージ：",
    re.IGNORECASE,
)
_HEADER = re.compile(
    r"[*_\s]*(from|sent|date|to|cc|subject|da|inviato|data|a|oggetto|差出人|送信者|送信日時|送信日|日付|日時|宛先|件名"
    r"|发件人|發件人|寄件者|发送时间|發送時間|时间|日期|收件人|抄送|主题|主題)\s*[*_]*\s*[:：]",
    re.IGNORECASE,
)
_FIRST_HEADERS = frozenset({"from", "da", "差出人", "送信者", "发件人", "發件人", "寄件者"})
_RULE = re.compile(r"_{5,}|-{5,}")
_SUBJECTS = frozenset({"subject", "oggetto", "件名", "主题", "主題"})
_WROTE = re.compile(
    r"on\b.*\bwrote\s*:|il\b.*\bha scritto\s*:|.*(?:写道|寫道|のメール|のメッセージ)\s*[:：]", re.IGNORECASE
)
_WRAPPED = re.compile(r"(?:on|il|am|le|el|em|op)\b.*\d|(?:在\s?)?(?:19|20)\d\d[年/.-]|.*<[^>]*$", re.IGNORECASE)
_ADDRESS = re.compile(r"<\s?[^<>\s]+@[^<>\s]+>")
_DATED = re.compile(r"\b(?:19|20)\d\d\b|(?:19|20)\d\d[年/.-]|\d{1,2}[/.-]\d{1,2}[/.-]\d{2}\b")
_DEVICE = (
    r"[^.。]{0,30}(?:iphone|ipad|android|galaxy|samsung|pixel|xiaomi|huawei|oppo|phone|mobile|tablet|outlook|yahoo|gmail"
    r"|手机|手機|携帯|スマートフォン|スマホ)[^.。]{0,30}"
)
_MOBILE = re.compile(
    rf"(?:sent from|inviato da|发自|發自|发送自){_DEVICE}|{_DEVICE}から送信"
    r"|(?:get|scarica|获取|取得|下载)\s?outlook\s?(?:for|per)?\s?(?:ios|android).{0,60}"
    r"|outlook for (?:ios|android)\s?を(?:入手|取得).{0,60}",
    re.IGNORECASE,
)
_ATTRIBUTION_LINES, _ATTRIBUTION_CHARACTERS, _HEADERS_WITHIN = 3, 400, 8


def own_words(text: str) -> str:
    """Return what the writer of a reply wrote itself, empty where that is nothing; lines end with `\\n`. Policy: V6."""
    lines = [line.rstrip() for line in text.split("\n")]
    kept: list[str] = []
    at = 0
    while at < len(lines):
        if lines[at].strip() == "--" or _history_begins(lines, at):
            break
        if length := _attribution(lines, at):
            if not _is_quoted(lines, at + length):
                break
            at += length
        elif not _QUOTE.match(lines[at]):
            kept.append(lines[at])
            at += 1
        else:
            at += 1
    return _without_mobile_signature(kept)


def _history_begins(lines: Sequence[str], at: int) -> bool:
    """Tell whether the whole former mail follows from here, as Outlook and the webmails put it."""
    line = lines[at].strip()
    if _HISTORY.fullmatch(line):
        return True
    rule = _RULE.fullmatch(line) is not None
    if not rule and not _HEADER.match(line):
        return False
    following = [each for each in lines[at + rule : at + rule + _HEADERS_WITHIN] if each.strip()]
    names = [match[1].lower() for each in following if (match := _HEADER.match(each))]
    begins = len(names) >= 3 and names[0] in _FIRST_HEADERS and _HEADER.match(following[0]) is not None
    # People write from, to and date as well, of a journey for example; a subject only a mail has.
    return begins and not _SUBJECTS.isdisjoint(names)


def _attribution(lines: Sequence[str], at: int) -> int:
    """Return over how many lines "on … somebody wrote:" goes from here, 0 where it is none."""
    joined = ""
    for length in range(1, _ATTRIBUTION_LINES + 1):
        if at + length > len(lines):
            break
        line = lines[at + length - 1].strip()
        joined = f"{joined} {line}".strip()
        if not line or len(joined) > _ATTRIBUTION_CHARACTERS or _QUOTE.match(line):
            break
        if line.endswith((":", "：")):
            return length if _introduces(joined, followed=_is_quoted(lines, at + length)) else 0
        if not _WRAPPED.match(joined):
            # What stands above such a line is somebody's own words, also without a free line between them.
            break
    return 0


def _introduces(line: str, *, followed: bool) -> bool:
    """Tell whether a line that ends with a colon introduces the former mail; `followed` says that lines with ">" come next."""
    if f"@{MESSAGE_DOMAIN}" in line:
        return True
    told = _ADDRESS.search(line) or _WROTE.fullmatch(line)
    return followed and told is not None and _DATED.search(line) is not None


def _is_quoted(lines: Sequence[str], at: int) -> bool:
    """Tell whether the next line with something in it begins with ">"."""
    following = next((line for line in lines[at : at + 3] if line.strip()), "")
    return _QUOTE.match(following) is not None


def _without_mobile_signature(lines: Sequence[str]) -> str:
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")
    rest, _, last = text.rpartition("\n")
    return rest.strip("\n") if _MOBILE.fullmatch(last.strip()) and rest.strip() else text
