"""Sending mails through a real SMTP server: the sandbox's mail sink as its own process."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP, default
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from notice_samples import CASES, NUMBER, make_notice, make_view

from activities.mail import Mailer, MailRefused, MailUnavailable
from activities.rendering import render

ROOT = Path(__file__).parent.parent
LIMIT = 1024 * 1024


class Sink(NamedTuple):
    """A running mail sink: its ports, its directory and its process."""

    smtp: int
    http: int
    directory: Path
    process: subprocess.Popen[str]

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Ask the sink's page."""
        return httpx.request(method, f"http://127.0.0.1:{self.http}{path}", **options)

    def mails(self, **query: str) -> list[dict[str, Any]]:
        """Return the mails that match `query`."""
        found: list[dict[str, Any]] = self.call("GET", "/api/mails", params=query).json()
        return found

    def mailer(self) -> Mailer:
        """Return a mailer that sends to this sink."""
        return Mailer("127.0.0.1", self.smtp, timeout=5)


@contextmanager
def running_sink(directory: Path) -> Iterator[Sink]:
    """Run a sink that keeps its mails in `directory`; it is stopped by its process id."""
    port_file = directory.parent / f"{directory.name}.json"
    port_file.unlink(missing_ok=True)
    arguments = ["--directory", str(directory), "--port-file", str(port_file)]
    command = [sys.executable, "-m", "sandbox.mail", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 15
        while not port_file.exists():
            assert process.poll() is None, "the sink ended before it listened"
            assert time.monotonic() < deadline, "the sink did not listen in time"
            time.sleep(0.02)
        yield Sink(**json.loads(port_file.read_text()), directory=directory, process=process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


@pytest.fixture(scope="module")
def shared_sink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sink]:
    """One sink for the tests of this file."""
    with running_sink(tmp_path_factory.mktemp("sink") / "mails") as sink:
        yield sink


@pytest.fixture
def sink(shared_sink: Sink) -> Sink:
    """Return the sink with no fault switched on."""
    shared_sink.call("DELETE", "/faults")
    return shared_sink


def make_mail(key: str, **headers: str) -> EmailMessage:
    """Return a small mail with a Message-ID of its own."""
    message = EmailMessage(policy=SMTP)
    values = {
        "Message-ID": f"<{key}@orders.invalid>",
        "To": f"{key}@mail.example",
        "From": "a@b.example",
        "Subject": key,
    }
    for name, value in (values | headers).items():
        message[name] = value
    message.set_content("hello\n.\n.dots\n")
    return message


@pytest.mark.rule("D1")
@pytest.mark.parametrize("language", ["ja", "zh", "en", "it"])
async def test_every_notice_arrives_as_it_was_written(sink: Sink, language: str) -> None:
    """Every notice goes by SMTP and is read back with the same subject, recipient, date, text and HTML."""
    for kind, recipient in CASES:
        notice = make_notice(kind, recipient)
        message = render(notice.model_copy(update={"key": f"{notice.key}/{language}"}), make_view(language))
        await sink.mailer().send(message)
        [mail] = [each for each in sink.mails(order=NUMBER) if each["message_id"] == message["Message-ID"]]
        written = message_from_bytes(message.as_bytes(), policy=default)
        text, html = (part.get_content() for part in written.iter_parts())
        assert mail["subject"] == str(message["Subject"])
        assert mail["text"] == text.replace("\r\n", "\n")
        assert mail["html"].replace("\r\n", "\n") == html.replace("\r\n", "\n")
        assert mail["recipients"] == [message["To"].addresses[0].addr_spec]
        assert message["To"].addresses[0].display_name in mail["to"]
        assert mail["date"] == message["Date"].datetime.isoformat()


async def test_a_long_name_is_shown_whole(sink: Sink) -> None:
    """A name longer than one encoded word is put together again without gaps."""
    order = make_view()
    assert order.buyer is not None
    buyer = order.buyer.model_copy(update={"name": "日本" * 30})
    notice = make_notice("order_edited", "buyer").model_copy(update={"key": "long-name"})
    await sink.mailer().send(render(notice, order.model_copy(update={"buyer": buyer})))
    [mail] = sink.mails(order="long-name")
    assert mail["to"] == f"{'日本' * 30} <buyer@mail.example>"


async def test_the_same_message_id_is_kept_once(sink: Sink) -> None:
    """A mail that is sent again after an unknown outcome is one mail with two deliveries, in one file."""
    message = make_mail("twice")
    for _ in range(2):
        await sink.mailer().send(message)
    [mail] = sink.mails(subject="twice")
    assert mail["deliveries"] == 2
    kept = [path for path in sink.directory.iterdir() if "twice" in path.name]
    assert [path.name for path in kept] == [mail["name"]]
    assert message_from_bytes(kept[0].read_bytes())["X-Envelope-To"] == "twice@mail.example"
    assert mail["text"] == "hello\n.\n.dots\n"


async def test_mails_sent_at_once_are_all_kept(sink: Sink) -> None:
    """Many mails at the same time lose nothing and share no file."""
    await asyncio.gather(*(sink.mailer().send(make_mail(f"many-{number}")) for number in range(40)))
    mails = sink.mails(subject="many-")
    assert len({mail["name"] for mail in mails}) == len({mail["subject"] for mail in mails}) == 40


async def test_a_server_that_is_down_is_a_temporary_failure(sink: Sink) -> None:
    """A 451 makes the mail unavailable as often as it is answered; then the mail is taken."""
    assert sink.call("POST", "/faults", json={"kind": "down", "count": 2}).status_code == 201
    for _ in range(2):
        with pytest.raises(MailUnavailable, match="451"):
            await sink.mailer().send(make_mail("later"))
    await sink.mailer().send(make_mail("later"))
    [mail] = sink.mails(subject="later")
    assert mail["deliveries"] == 1


async def test_a_refused_recipient_is_a_permanent_failure(sink: Sink) -> None:
    """A 550 makes the mail refused until the fault is switched off, and nothing is kept."""
    sink.call("POST", "/faults", json={"kind": "refuse", "count": None})
    for _ in range(2):
        with pytest.raises(MailRefused, match="550"):
            await sink.mailer().send(make_mail("never"))
    assert sink.mails(subject="never") == []
    assert sink.call("GET", "/health").json()["fault"] == {"kind": "refuse", "count": None}
    assert sink.call("DELETE", "/faults").status_code == 204
    await sink.mailer().send(make_mail("never"))


async def test_a_mail_over_the_limit_is_refused(sink: Sink) -> None:
    """A mail of more than 1 MiB is refused for good, and one just below it is kept."""
    small, large = make_mail("small"), make_mail("large")
    small.set_content("x" * 70 + "\n" + ("y" * 70 + "\n") * 13_000)
    large.set_content(("y" * 70 + "\n") * 15_000)
    await sink.mailer().send(small)
    with pytest.raises(MailRefused, match="552"):
        await sink.mailer().send(large)
    assert len(small.as_bytes()) < LIMIT < len(large.as_bytes())
    assert sink.mails(subject="large") == []


async def test_nobody_listening_is_a_temporary_failure() -> None:
    """A refused connection leaves the mail to be sent later."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(MailUnavailable, match=str(port)):
        await Mailer("127.0.0.1", port).send(make_mail("nobody"))


async def test_a_silent_server_is_a_temporary_failure() -> None:
    """A server that takes the connection and says nothing costs no more than the timeout."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        before = time.monotonic()
        with pytest.raises(MailUnavailable):
            await Mailer("127.0.0.1", silent.getsockname()[1], timeout=0.2).send(make_mail("silent"))
        assert time.monotonic() - before < 5


@pytest.mark.parametrize(
    ("greeting", "failure"),
    [(b"554 go away\r\n", MailUnavailable), (b"garbage\r\n", MailUnavailable), (b"", MailUnavailable)],
)
async def test_a_server_that_turns_everyone_away_does_not_refuse_the_mail(
    greeting: bytes, failure: type[Exception]
) -> None:
    """What a server says before it has seen the mail is no verdict on the mail."""

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        with pytest.raises(failure):
            await Mailer("127.0.0.1", server.sockets[0].getsockname()[1], timeout=2).send(make_mail("turned"))


async def test_the_pages_run_nothing_from_a_mail(sink: Sink) -> None:
    """Subject and text are escaped, the HTML part stands in a sandboxed frame, and a strict policy forbids the rest."""
    message = make_mail("script", Subject="<script>s</script>")
    message.set_content("<script>t</script>\n")
    message.add_alternative('<script>h</script>"><b onclick="x">', subtype="html")
    await sink.mailer().send(message)
    [mail] = sink.mails(to="SCRIPT@mail")
    for path in ("/", f"/mails/{mail['name']}"):
        page = sink.call("GET", path)
        assert "<script" not in page.text
        assert '"><b' not in page.text
        assert "&lt;script&gt;s" in page.text
        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert '<iframe sandbox title="HTML part" srcdoc="&lt;script&gt;h' in page.text


@pytest.mark.parametrize("name", ["absent.eml", "..%2f..%2fpyproject.toml", "%2e%2e"])
def test_only_mails_are_shown(sink: Sink, name: str) -> None:
    """A name that is no mail's is not found, whatever it points to."""
    assert sink.call("GET", f"/mails/{name}").status_code == 404


@pytest.mark.parametrize("body", [{"kind": "fire"}, {"kind": "down", "count": 0}, {"kind": "down", "more": 1}, {}])
def test_an_unknown_fault_is_not_switched_on(sink: Sink, body: dict[str, Any]) -> None:
    """A fault of another kind or count is refused and changes nothing."""
    assert sink.call("POST", "/faults", json=body).status_code == 422
    assert sink.call("GET", "/health").json()["fault"] is None


async def _send_raw(sink: Sink, content: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", sink.smtp)
    for line in (b"HELO x", b"MAIL FROM:<a@b.example>", b"RCPT TO:<odd@mail.example>", b"DATA", content + b"\r\n."):
        await reader.readline()
        writer.write(line + b"\r\n")
    assert (await reader.readline()).startswith(b"250")
    writer.close()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" folded\r\nSubject: x\r\n\r\nbody",
        b"Subject: =?nope?b?!!!?=\r\nDate: yesterday\r\nContent-Type: text/plain; charset=nope\r\n\r\n\xff\xfe",
        b"X-Deliveries: many\r\nSubject: own\r\n\r\nbody",
        b"".join(b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (n, n) for n in range(3000)),
    ],
)
async def test_a_malformed_mail_is_kept_and_shown(sink: Sink, content: bytes) -> None:
    """Whatever a mail looks like, it is kept and can be read, and the sink goes on."""
    before = len(sink.mails(to="odd@"))
    await _send_raw(sink, content)
    mails = sink.mails(to="odd@")
    assert len(mails) == before + 1
    assert mails[-1]["deliveries"] == 1
    assert sink.call("GET", f"/mails/{mails[-1]['name']}").status_code == 200


async def test_mails_outlive_the_sink(tmp_path: Path) -> None:
    """A stopped sink ends cleanly with one line said; another one on its directory goes on with its mails and counts."""
    with running_sink(tmp_path / "mails") as sink:
        await sink.mailer().send(make_mail("kept"))
        sink.process.send_signal(signal.SIGTERM)
        said, _ = sink.process.communicate(timeout=10)
        assert sink.process.returncode == 0
        assert said == f"mail sink on smtp://127.0.0.1:{sink.smtp}, http://127.0.0.1:{sink.http}\n"
    with running_sink(tmp_path / "mails") as sink:
        await sink.mailer().send(make_mail("kept"))
        await sink.mailer().send(make_mail("new"))
        assert [(mail["subject"], mail["deliveries"]) for mail in sink.mails()] == [("kept", 2), ("new", 1)]
        assert [mail["name"][:5] for mail in sink.mails()] == ["0001-", "0002-"]
