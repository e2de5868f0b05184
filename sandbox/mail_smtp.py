"""The SMTP side of the sandbox's mail sink, with its switches for faults."""

from typing import Annotated, Literal

from aiosmtpd.smtp import SMTP, Envelope, Session
from pydantic import BaseModel, ConfigDict, Field

from sandbox.mail_box import Mailbox


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
