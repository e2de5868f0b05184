"""Sending a notice by SMTP.

Policy: D1.
"""

from email.message import EmailMessage
from email.policy import SMTP
from email.utils import parseaddr

import aiosmtplib

from activities.rendering import SENDER


class MailRefused(Exception):  # noqa: N818 - the name says what happened to the mail
    """The mail server refused this mail for good; sending it again is of no use."""


class MailUnavailable(Exception):  # noqa: N818 - as above
    """The mail was not taken now, or it is unknown whether it was; it may be sent again under its Message-ID."""


class Mailer:
    """Sends mails through one SMTP server.

    `sender` is where undeliverable mail is returned to, with or without a name; `timeout` is in seconds and holds for
    each step of the dialogue.
    """

    def __init__(self, host: str, port: int, sender: str = SENDER, timeout: float = 10.0) -> None:
        self._host = host
        self._port = port
        self._sender = parseaddr(sender)[1]
        self._timeout = timeout

    async def send(self, message: EmailMessage) -> None:
        """Hand `message` to the server.

        Raises MailRefused when the server refuses the sender, the recipient or the content with a 5xx reply, and
        MailUnavailable for everything else that keeps the mail from being taken.
        """
        recipients = [address.addr_spec for address in message["To"].addresses]
        try:
            await aiosmtplib.send(
                message.as_bytes(policy=SMTP),
                sender=self._sender,
                recipients=recipients,
                hostname=self._host,
                port=self._port,
                timeout=self._timeout,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _failure(error.recipients[0]) from None
        except (aiosmtplib.SMTPSenderRefused, aiosmtplib.SMTPDataError) as error:
            raise _failure(error) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            raise MailUnavailable(f"{self._host}:{self._port} took no mail: {type(error).__name__}") from None


def _failure(error: aiosmtplib.SMTPResponseException) -> Exception:
    # The server's words may repeat the recipient's address, and errors are kept where addresses must not be.
    said = f"the mail server answered {error.code}"
    return MailRefused(said) if error.code >= 500 else MailUnavailable(said)
