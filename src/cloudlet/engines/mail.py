"""The mail server of the installation: the `Mail` port over SMTP, by smtplib in threads of its own.

https://www.rfc-editor.org/rfc/rfc5321
"""

import asyncio
import smtplib
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, formataddr, localtime

from cloudlet.engines.ports.mail import Letter
from cloudlet.kernel.errors import Busy, EngineError, Refused
from cloudlet.kernel.site import MailServer

THREADS = 8
STEP_S, TIMEOUT_S = 15.0, 60.0  # for each answer, and for a letter


class SmtpMail:
    """Sends each letter in a session of its own. `context` says whose certificates are trusted: by default those that
    this machine trusts."""

    def __init__(self, server: MailServer, context: ssl.SSLContext | None = None) -> None:
        self._server, self._context = server, context
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="mail")

    async def send(self, letter: Letter) -> None:
        """See `ports.Mail`."""
        try:
            message = _message(letter, self._server.sender)
        except ValueError as error:
            raise Refused(f"this cannot be written as a mail: {error}") from error
        session = _Session(self._server, self._context)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await asyncio.get_running_loop().run_in_executor(self._threads, session.send, message, letter.to)
        except TimeoutError as error:  # of a step, or of all together
            raise Busy(f"{self._server.host} did not answer in time") from error
        except (smtplib.SMTPException, OSError) as error:
            raise _complaint(self._server.host, error, session.admitted) from error
        finally:
            session.cut()

    def close(self) -> None:
        """Nothing more is sent."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class _Session:
    """One connection to the server, used by one thread; `admitted`: the server lets us send."""

    def __init__(self, server: MailServer, context: ssl.SSLContext | None) -> None:
        self._server, self._context = server, context
        self._client: smtplib.SMTP | None = None
        self.admitted = False

    def send(self, message: EmailMessage, to: str) -> None:
        """Delivers a message, in this thread."""
        server = self._server
        name = server.sender.rpartition("@")[2]  # who we say we are: else smtplib asks a name server
        context = self._context or (ssl.create_default_context() if server.tls else None)
        if server.tls == "tls":
            client: smtplib.SMTP = smtplib.SMTP_SSL(server.host, server.port, name, timeout=STEP_S, context=context)
        else:
            client = smtplib.SMTP(server.host, server.port, name, timeout=STEP_S)
        self._client = client
        try:
            if server.tls == "starttls":
                client.starttls(context=context)
            if server.user:
                client.login(server.user, server.password)
            self.admitted = True
            client.send_message(message, server.sender, [to])
        finally:
            client.close()

    def cut(self) -> None:
        """Ends the connection, whatever the thread waits for."""
        sock = self._client.sock if self._client is not None else None
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended


def _message(letter: Letter, address: str) -> EmailMessage:
    """Raises ValueError where a header cannot be written."""
    message = EmailMessage(policy=SMTP)
    message["From"] = formataddr((letter.sender, address))
    message["To"] = letter.to
    message["Subject"] = letter.subject
    message["Date"] = format_datetime(localtime())
    message["Message-ID"] = f"<{letter.id}@{address.rpartition('@')[2]}>"
    message.set_content(letter.text)
    return message


def _complaint(host: str, error: Exception, admitted: bool) -> EngineError:
    """What a customer may read. Only what a server says of a letter itself can be for good: that it does not let us in
    is for the operator to mend."""
    code, answer = 0, str(error).encode()
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, answer = next(iter(error.recipients.values()))
    elif isinstance(error, smtplib.SMTPResponseException):
        said = error.smtp_error
        code, answer = error.smtp_code, said if isinstance(said, bytes) else said.encode()
    said_of_letter = isinstance(error, smtplib.SMTPRecipientsRefused | smtplib.SMTPDataError)
    text = f"{host}: {f'{code} ' if code else ''}{answer.decode(errors='replace')}"
    if (said_of_letter and code >= 500) or (admitted and isinstance(error, smtplib.SMTPNotSupportedError)):
        return Refused(text)
    return Busy(text)
