"""Reading the mails that people and machines send to an alias: text in any dress, what is quoted, who wrote it."""

import base64
import quopri
import time
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import pytest

from domain.message import alias
from web.html_text import text_of_html
from web.letter import automatic, command_id, writer
from web.mail_text import MAX_TEXT_BYTES, UnreadableMailError, parse, text_of
from web.quoted import own_words

NUMBER = "503-1234567-1234567"
ALIAS = alias(NUMBER, "seller")


def raw_mail(body: bytes, *headers: str) -> bytes:
    """Return a mail of these header lines and this body."""
    return "\r\n".join(headers).encode() + b"\r\n\r\n" + body


def read(body: bytes, *headers: str) -> str:
    """Return the text of a mail."""
    return text_of(parse(raw_mail(body, *headers)))


CHARSETS = [
    ("utf-8", "utf-8", "はい、合っています。Sì! 好的 ①"),
    ("iso-2022-jp", "iso2022_jp", "はい、合っています。"),
    ("ISO-2022-JP", "iso2022_jp_ext", "半角ではなく全角です。"),
    ("shift_jis", "cp932", "①番の青い方でお願いします。"),
    ("euc-jp", "euc_jp", "青い方でお願いします。"),
    ("gb2312", "gb18030", "请寄到新地址，谢谢。镕"),
    ("gbk", "gbk", "请寄到新地址，谢谢。"),
    ("big5", "big5", "請寄到新地址，謝謝。"),
    ("iso-8859-1", "cp1252", "Sì, va bene così – grazie “mille” €"),
    ("windows-1252", "cp1252", "Sì, è giusto."),
    ("us-ascii", "utf-8", "naïve"),
    ("x-nobody-knows", "utf-8", "はい"),
    ("x-nobody-knows", "cp1252", "così"),
    ("utf-8", "cp1252", "così"),
]


@pytest.mark.rule("V6", "D1")
@pytest.mark.parametrize("encoding", ["8bit", "base64", "quoted-printable"])
@pytest.mark.parametrize(("named", "codec", "text"), CHARSETS)
def test_text_is_read_in_the_charset_that_it_is_in(named: str, codec: str, text: str, encoding: str) -> None:
    """Also where a program names a smaller charset than it uses, none that is known, or the wrong one."""
    raw = text.encode(codec)
    body = {"8bit": raw, "base64": base64.encodebytes(raw), "quoted-printable": quopri.encodestring(raw)}[encoding]
    headers = (f"Content-Type: text/plain; charset={named}", f"Content-Transfer-Encoding: {encoding}")
    assert read(body, *headers).strip() == text


@pytest.mark.rule("V6")
def test_japanese_mail_may_hold_the_signs_that_windows_adds() -> None:
    """ISO-2022-JP with a 1 in a circle and half-width kana, which the standard does not have."""
    body = b"\x1b$B-!@D$$J}\x1b(B ok \x1b(IC=D\x1b(B."
    assert read(body, "Content-Type: text/plain; charset=iso-2022-jp") == "①青い方 ok ﾃｽﾄ."


@pytest.mark.rule("V6")
def test_plain_text_is_taken_before_html_and_attachments_are_not_taken() -> None:
    """Of a mail with both forms, a picture in the text and an attached text, the plain parts are the message."""
    mail = EmailMessage(policy=SMTP)
    mail.set_content("Yes, it is.\n")
    mail.add_alternative("<p>Something else.</p>", subtype="html")
    mail.add_attachment("not this", filename="note.txt")
    mail.add_attachment(b"\x89PNG", maintype="image", subtype="png", filename="photo.png")
    mail.add_attachment(message_from_bytes(raw_mail(b"nor this", "Subject: x")))
    assert text_of(parse(mail.as_bytes())).strip() == "Yes, it is."
    parts = b"--x\r\n\r\nabove\r\n--x\r\nContent-Type: image/png\r\n\r\n?\r\n--x\r\n\r\nbelow\r\n--x--\r\n"
    assert read(parts, "Content-Type: multipart/mixed; boundary=x").split() == ["above", "below"]


@pytest.mark.rule("V6")
@pytest.mark.parametrize("plain", [None, "", " \n\t\n"])
def test_a_mail_of_html_alone_is_read_as_text(plain: str | None) -> None:
    """With no plain part or an empty one the HTML is the message, without markup, style and script."""
    mail = EmailMessage(policy=SMTP)
    page = (
        "<html><head><title>T</title><style>p{color:red}</style></head><body><script>bad()</script>"
        "<p>Yes &amp; no:<br>the <b>blue</b>\r\n one.</p><ul><li>one</li><li>two</li></ul>"
        '<div class="gmail_quote"><div>On Sun, Mar 1, 2026, Shop &lt;s@x.example&gt; wrote:<br></div>'
        '<blockquote class="gmail_quote"><p>Which one?</p><p>Please.</p></blockquote></div></body></html>'
    )
    if plain is None:
        mail.set_content(page, subtype="html")
    else:
        mail.set_content(plain)
        mail.add_alternative(page, subtype="html")
    text = text_of(parse(mail.as_bytes()))
    assert own_words(text) == "Yes & no:\nthe blue one.\n\n- one\n- two"
    assert "> Which one?" in text


def test_html_that_is_broken_is_read_as_far_as_it_goes() -> None:
    """Elements that never end, ends without a beginning, and no markup at all."""
    assert text_of_html("</div><p>one<p>two<br></blockquote>three") == "one\ntwo\n\nthree"
    assert text_of_html("just words & more <") == "just words & more <"
    assert text_of_html("<pre>a\n  b</pre>c") == "a\n  b\nc"
    assert text_of_html('<blockquote style="margin-left:40px">mine</blockquote>') == "mine"
    assert text_of_html("") == ""


def test_lines_that_were_broken_for_the_way_are_made_whole() -> None:
    """Text that is sent as flowed: soft breaks go, hard ones, quotes and the signature's line stay; kana without blanks."""
    flowed = "Content-Type: text/plain; format=flowed; charset=utf-8"
    assert read(b"one \r\ntwo\r\n three\r\n> quoted \r\nfour \r\n-- \r\nme\r\n", flowed) == (
        "one two\nthree\n> quoted \nfour \n-- \nme\n"
    )
    joined = "Content-Type: text/plain; format=flowed; delsp=yes; charset=utf-8"
    assert read("青い \r\n方です。\r\n".encode(), joined) == "青い方です。\n"


def test_what_no_message_may_hold_is_left_out() -> None:
    """Control characters, direction marks and a byte order mark go; a face of joined signs stays whole."""
    text = "\ufeffone\x00\x07\ttwo\u200f\u202e\u2028three\x1b 👩‍👧 🏴󠁧󠁢󠁥󠁮󠁧󠁿"
    assert read(text.encode(), "Content-Type: text/plain; charset=utf-8") == "one two\nthree 👩‍👧 🏴󠁧󠁢󠁥󠁮󠁧󠁿"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r\n",
        b"no header at all",
        b"\x00\xff\xfe",
        b": : :\r\n\r\n",
        b"Content-Type: multipart/mixed\r\n\r\nno boundary",
        b"Content-Type: multipart/alternative; boundary=x\r\n\r\n--x--",
        b"Content-Type: text/plain; charset=\xff\xff\r\n\r\nx",
        b"Content-Type: text/plain; charset*=''%ff\r\n\r\nx",
        b"Content-Type: =?x?=\r\nContent-Disposition: \xff\r\nFrom: \xff\xfe\r\n\r\nx",
        b"Content-Transfer-Encoding: base64\r\n\r\n%%%",
        b"Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 666 x\r\nbroken",
        b"From: \r\nFrom: a@b.example, c@d.example\r\nMessage-ID:\r\nAuto-Submitted:\r\n\r\nx",
    ],
)
def test_broken_mails_are_read_as_far_as_they_go(raw: bytes) -> None:
    """Zero bytes, no headers, headers that are none: nothing is raised, and no writer is made up."""
    mail = parse(raw)
    assert isinstance(own_words(text_of(mail)), str)
    assert writer(mail) is None
    assert command_id(mail, raw, ALIAS).startswith("mail-")


def test_a_mail_of_ten_megabytes_is_read_quickly_for_its_text() -> None:
    """A large attachment is passed over; a text of that size is refused, and so are parts nested without end."""
    mail = EmailMessage(policy=SMTP)
    mail.set_content("Here is the picture.\n")
    mail.add_attachment(b"\x00" * 7_500_000, maintype="image", subtype="png", filename="large.png")
    raw = mail.as_bytes()
    assert len(raw) > 10_000_000
    began = time.process_time()
    assert text_of(parse(raw)).strip() == "Here is the picture."
    with pytest.raises(UnreadableMailError, match="over 512 KiB; send plain text alone"):
        read(b"x" * 10_000_000)
    nested = b"".join(b"Content-Type: multipart/mixed; boundary=%d\r\n\r\n--%d\r\n" % (n, n) for n in range(3000))
    with pytest.raises(UnreadableMailError, match="send plain text"):
        text_of(parse(nested))
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    "page", ["<" * 500_000, "<a " * 170_000, "<!--" * 120_000, "<p>" * 170_000, "&" * 500_000, "<![CDATA[" * 50_000]
)
def test_html_that_is_made_to_be_slow_is_not(page: str) -> None:
    """The largest page that is read takes seconds at most, whatever is in it."""
    assert len(page) <= MAX_TEXT_BYTES
    began = time.process_time()
    own_words(text_of_html(page))
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "line", ["> " * 250_000, "On a " * 100_000, "From: x\n" * 60_000, ">\n" * 250_000, "x@" * 200_000]
)
def test_text_that_is_made_to_be_slow_is_not(line: str) -> None:
    """What is quoted is found in linear time."""
    began = time.process_time()
    own_words(line)
    assert time.process_time() - began < 5


QUOTED = "> Which colour would you like?\n> \n> -- \n> This message is kept with order 503.\n"
PLAIN = "Dear Hanako,\n\nShop writes to you:\n\n> Which colour?\n\n-- \nThis message is kept with order 503.\n"
REPLIES = {
    "gmail en": f"Blue, please.\n\nOn Sun, Mar 1, 2026 at 9:00 PM Shop via Marketplace <{ALIAS}>\nwrote:\n\n{QUOTED}",
    "gmail it": f"Blue, please.\n\n"
    f"Il giorno dom 1 mar 2026 alle ore 21:00 Shop tramite Marketplace <\n{ALIAS}> ha scritto:\n\n"
    f"{QUOTED}",
    "gmail ja": f"Blue, please.\n\n2026年3月1日(日) 21:00 Shop（Marketplace 経由） <{ALIAS}>:\n\n{QUOTED}",
    "gmail zh": f"Blue, please.\n\nShop（通过 Marketplace） <{ALIAS}> 于2026年3月1日周日 21:00写道：\n\n{QUOTED}",
    "apple en": f"Blue, please.\n\n"
    f"Sent from my iPhone\n\n> On 1 Mar 2026, at 21:00, Shop <{ALIAS}> wrote:\n> \n{QUOTED}",
    "apple ja": f"Blue, please.\n\niPhoneから送信\n\n> 2026/03/01 21:00、Shop <{ALIAS}>のメール:\n> \n{QUOTED}",
    "apple zh": f"Blue, please.\n\n发自我的 iPhone\n\n> 在 2026年3月1日，21:00，Shop <{ALIAS}> 写道：\n> \n{QUOTED}",
    "apple it": f"Blue, please.\n\n"
    f"Inviato da iPhone\n\n> Il giorno 1 mar 2026, alle ore 21:00, Shop <{ALIAS}> ha scritto:\n"
    f"{QUOTED}",
    "thunderbird en": f"Blue, please.\n\nOn 3/1/26 21:00, Shop via Marketplace wrote:\n{QUOTED}",
    "thunderbird ja": f"Blue, please.\n\nOn 2026/03/01 21:00, Shop（Marketplace 経由） wrote:\n{QUOTED}",
    "thunderbird below": f"On 01/03/26 21:00, Shop wrote:\n{QUOTED}\nBlue, please.\n\n-- \nHanako\n",
    "yahoo en": f"Blue, please.\n\nOn Sunday, March 1, 2026, 09:00 PM, Shop <{ALIAS}> wrote:\n\n{PLAIN}",
    "outlook en": f"Blue, please.\n\n"
    f"________________________________\nFrom: Shop via Marketplace <{ALIAS}>\n"
    f"Sent: Sunday, March 1, 2026 9:00 PM\nTo: Hanako <h@x.example>\nSubject: Message from Shop\n\n"
    f"{PLAIN}",
    "outlook ja": f"Blue, please.\n\n"
    f"差出人: Shop <{ALIAS}>\n送信日時: 2026年3月1日 21:00\n宛先: 山田 花子\n件名: メッセージ\n\n{PLAIN}",
    "outlook zh": f"Blue, please.\n\n发件人: Shop <{ALIAS}>\n发送时间: 2026年3月1日 21:00\n收件人: 张三\n主题: 消息\n\n{PLAIN}",
    "outlook it": f"Blue, please.\n\n"
    f"Da: Shop <{ALIAS}>\nInviato: domenica 1 marzo 2026 21:00\nA: Hanako\nOggetto: Messaggio\n\n"
    f"{PLAIN}",
    "outlook ios": f"Blue, please.\n\n"
    f"Get Outlook for iOS<https://aka.ms/o0ukef>\n________________________________\n"
    f"From: Shop <{ALIAS}>\nSent: Sunday\nTo: H\nSubject: M\n\n{PLAIN}",
    "original en": f"Blue, please.\n\n-----Original Message-----\n{PLAIN}",
    "original ja": f"Blue, please.\n\n----- 元のメッセージ -----\n{PLAIN}",
    "original it": f"Blue, please.\n\n-----Messaggio originale-----\n{PLAIN}",
    "qq": f"Blue, please.\n\n------------------ 原始邮件 ------------------\n发件人: Shop\n\n{PLAIN}",
    "no free line": f"Blue, please.\nOn Sun, Mar 1, 2026 at 9:00 PM Shop <\n{ALIAS}> wrote:\n{QUOTED}",
    "no free line ja": f"Blue, please.\n2026年3月1日(日) 21:00 Shop <{ALIAS}>:\n{QUOTED}",
    "no free line, no address": f"Blue, please.\nOn 3/1/26 21:00, Shop wrote:\n{QUOTED}",
    "no free line, other mail": f"Blue, please.\nOn 3/1/26 21:00, Shop <\ns@x.example> wrote:\n{QUOTED}",
    "in any language": f"Blue, please.\n\nAm 01.03.2026 um 21:00 schrieb Shop <{ALIAS}>:\n\n{PLAIN}",
    "signature": "Blue, please.\n-- \nHanako Yamada\nTokyo\n",
    "signature without its blank": "Blue, please.\n\n--\nHanako\n",
    "alone": "\n\nBlue, please.  \n\n\n",
}


@pytest.mark.rule("V6", "D1")
@pytest.mark.parametrize("program", REPLIES)
def test_of_a_reply_only_what_was_written_is_left(program: str) -> None:
    """The former mail, the line that introduces it and the signature are cut, as mail programs of four languages put them."""
    assert own_words(REPLIES[program]) == "Blue, please."


KEPT = [
    "The dates are:\n2026-03-01\n2026-03-02",
    "Please note:\n- the blue one\n- the red one",
    "My address is new:\nFrom: Tokyo\nnow in Osaka",
    "Sent from Osaka yesterday.",
    "From: me\nI would like the blue one.",
    "Nice! >_< thanks\n>_<\nbye",
    "On Monday I wrote to you.\nDid you get it?",
    "5 > 3\na -- b\n---\nend",
    "写道：这是我的意见",
    "送信しました。\n発送から送信済み",
    "取得しました",
    "Write to me at 2026@x.example:\nI am there all day.",
    "Answer 1:\nyes\n\nAnswer 2:\nno",
    "From: Milan\nTo: Rome\nDate: 2026-03-03\nPlease.",
    "Da: Milano\nA: Roma\nData: 3 marzo 2026\nGrazie.",
    "On 2026-03-01 you wrote:\nWhich colour?\nBlue.",
    "Order it by 2026/03/05\nthanks\nMy address <h@x.example> is new",
]


@pytest.mark.rule("V6")
@pytest.mark.parametrize("text", KEPT)
def test_nothing_that_a_person_wrote_is_lost(text: str) -> None:
    """Lists, colons, dashes, faces and words that merely look like a mail's head stay as they are."""
    assert own_words(text) == text


@pytest.mark.rule("V6")
def test_answers_between_the_lines_are_kept() -> None:
    """Whoever answers below each question is read whole, without the questions."""
    text = "Hello,\n\nOn 3/1/26 21:00, Shop wrote:\n> Which colour?\n\nBlue.\n\n> How many?\n\nTwo.\n\n-- \nH\n"
    assert own_words(text) == "Hello,\n\nBlue.\n\nTwo."
    assert own_words(QUOTED) == ""
    dated = "Send it by 2026-03-05.\nThanks.\nMy answers:\n> Which colour?\nBlue."
    assert own_words(dated) == "Send it by 2026-03-05.\nThanks.\nMy answers:\nBlue."


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("From: h@x.example", "h@x.example"),
        ('From: "Yamada, Hanako" <H@X.example>', "H@X.example"),
        ("From: =?utf-8?b?5bGx55Sw?= <h@x.example>", "h@x.example"),
        ("From: 山田 花子 <h@x.example>", "h@x.example"),
        ("From: h@x.example (Hanako)", "h@x.example"),
        ("From: h@x.example <H@x.example>", "h@x.example"),
        ('From: "h@x.example" <mallory@y.example>', "mallory@y.example"),
        ("from:\r\n Hanako\r\n <h@x.example>", "h@x.example"),
        ("From: h@x.example <mallory@y.example>", None),
        ("From: h@x.example, mallory@y.example", None),
        ("From: <h@x.example>mallory@y.example", None),
        ("From: h@x.example\r\nFrom: mallory@y.example", None),
        ("From: h@x.example\r\nFROM: h@x.example", None),
        ("From: Hanako", None),
        ("From:", None),
        ("Sender: h@x.example", None),
    ],
)
@pytest.mark.rule("V6")
def test_a_mail_is_from_the_one_address_of_its_one_from(line: str, found: str | None) -> None:
    """A name may look like an address; several addresses or several From lines are nobody."""
    assert writer(parse(raw_mail(b"x", line))) == found


@pytest.mark.rule("C12")
@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ((), None),
        (("Auto-Submitted: no",), None),
        (("Auto-Submitted: No ; x=1",), None),
        (("Precedence: first-class",), None),
        (("Auto-Submitted: auto-replied",), "Auto-Submitted: 'auto-replied'"),
        (("auto-submitted: auto-generated (vacation)",), "Auto-Submitted: 'auto-generated (vacation)'"),
        (("Auto-Submitted: no", "Auto-Submitted: auto-replied"), "Auto-Submitted: 'auto-replied'"),
        (("Auto-Submitted:",), "Auto-Submitted: ''"),
        (("Precedence: bulk",), "Precedence: bulk"),
        (("Precedence: LIST",), "Precedence: list"),
        (("X-Autoreply: yes",), "X-Autoreply"),
        (("Content-Type: multipart/report; report-type=disposition-notification; boundary=x",), "multipart/report"),
    ],
)
def test_a_machine_s_mail_is_known_by_its_signs(headers: tuple[str, ...], told: str | None) -> None:
    """Absence notes, lists and receipts are told from what a person sends; an empty envelope sender is always a machine."""
    mail = parse(raw_mail(b"x", "From: h@x.example", *headers))
    assert automatic(mail, "h@x.example") == told
    assert automatic(mail, "<>") == "empty envelope sender"


@pytest.mark.rule("V6")
def test_a_mail_has_one_id_however_often_it_comes() -> None:
    """The Message-ID makes it, apart for each alias; without one the whole mail does."""
    first, again = raw_mail(b"x", "Message-ID: <1@x.example>"), raw_mail(b"y", "X: y", "message-id:  <1@x.example> ")
    other, bare = raw_mail(b"x", "Message-ID: <2@x.example>"), raw_mail(b"x", "Subject: s")

    def known(raw: bytes, to: str = ALIAS) -> str:
        return command_id(parse(raw), raw, to)

    assert known(first) == known(again) == known(first, ALIAS.upper())
    assert known(bare) == known(bare)
    ids = [known(first), known(other), known(bare), known(bare + b"!"), known(first, alias(NUMBER, "buyer"))]
    assert len(set(ids)) == len(ids)
    assert all(len(each) <= 100 and each.isascii() for each in ids)


def test_a_folder_of_templates_has_no_line_that_would_be_cut() -> None:
    """The words of the message mails are no mark of a former mail, so that a text which repeats them is kept."""
    for name in ("ja", "zh", "it"):
        wording = (Path(__file__).parent.parent / "activities" / "locale" / f"{name}.po").read_text(encoding="utf-8")
        lines = [line[8:-1] for line in wording.splitlines() if line.startswith('msgstr "') and "%" not in line]
        assert [line for line in lines if line and own_words(line) != line] == []
