"""The embedded stack: Temporal server with Web UI, payment provider, receiver, mail sink, inbox and worker, as real processes.

Everything binds to 127.0.0.1 and keeps its data in one folder, so that a stack that is started again goes on where it
stopped. `stack.json` in that folder tells where a running stack is to be found.
"""

import asyncio
import base64
import fcntl
import json
import os
import signal
import socket
import sys
import sysconfig
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import IO

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from sandbox.probes import answers, server_answers, speaks_smtp, worker_polls

HOST = "127.0.0.1"
ROOT = Path(__file__).parent.parent
START_WITHIN = 60.0
STOP_WITHIN = 20.0
SERVER_OPTIONS = (
    "--sqlite-pragma=journal_mode=WAL",
    "--sqlite-pragma=synchronous=NORMAL",
    "--dynamic-config-value=frontend.WorkflowTimeSkippingEnabled=true",
    '--dynamic-config-value=history.timerProcessorMaxTimeShift="1ms"',
    '--dynamic-config-value=history.workflowIdReuseMinimalInterval="0s"',
    "--log-level=error",
)


class StackError(RuntimeError):
    """The stack cannot start or has lost a part; the message says which and where its log is."""


class Addresses(BaseModel):
    """Where the parts of a running stack are; `pid` is the process that runs it."""

    model_config = ConfigDict(frozen=True)

    pid: int
    temporal: str
    ui: str | None
    provider: str
    receiver: str
    smtp_port: int
    mail: str
    inbox_port: int
    database_url: str

    def environment(self) -> dict[str, str]:
        """Return the settings that bring a worker or a starter to this stack."""
        return {
            "TEMPORAL_ADDRESS": self.temporal,
            "TEMPORAL_NAMESPACE": "default",
            "PAYMENT_PROVIDER_URL": self.provider,
            "SMTP_HOST": HOST,
            "SMTP_PORT": str(self.smtp_port),
            "DATABASE_URL": self.database_url,
        }


def temporal_binary() -> str:
    """Return the path of the Temporal server of this Python environment; raises StackError when it is not installed."""
    path = Path(sysconfig.get_path("scripts")) / "temporal"
    if not path.exists():
        raise StackError(f"the Temporal server is missing ({path}); install the locked requirements")
    return str(path)


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def running_stack(directory: Path) -> Addresses | None:
    """Return the addresses of the stack that runs on `directory`, None when there is none."""
    try:
        addresses = Addresses.model_validate_json((directory / "stack.json").read_text())
        os.kill(addresses.pid, 0)
    except (OSError, ValidationError):
        return None
    return addresses


class Stack:
    """The processes of one embedded stack; ports of 0 are chosen free.

    Raises StackError when a stack runs on the folder already, or when a part does not become healthy within a minute.
    """

    def __init__(
        self,
        directory: Path,
        *,
        temporal_port: int = 0,
        ui_port: int | None = 0,
        provider_port: int = 0,
        smtp_port: int = 0,
        mail_port: int = 0,
        environment: Mapping[str, str] | None = None,
        server_options: tuple[str, ...] = (),
    ) -> None:
        self.directory = directory.resolve()
        self._temporal_port = temporal_port or free_port()
        self._ui_port = None if ui_port is None else (ui_port or free_port())
        self._provider_port, self._smtp_port, self._mail_port = provider_port, smtp_port, mail_port
        self._receiver_port = self._inbox_port = 0
        self._server_options = (*SERVER_OPTIONS, *server_options)
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})}
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._claim: IO[str] | None = None
        self.addresses: Addresses | None = None

    async def start(self, *, with_worker: bool = True) -> Addresses:
        """Start every part and return where they are, once all are healthy."""
        if running_stack(self.directory) is not None:
            raise StackError(f"a stack runs on {self.directory} already; stop it, or use it as it is")
        (self.directory / "logs").mkdir(parents=True, exist_ok=True)
        self._take_folder()
        try:
            return await self._start(with_worker)
        except BaseException:
            await self.stop()
            raise

    def _take_folder(self) -> None:
        """Lock the folder; every part inherits the lock, so that none outlives this process unnoticed."""
        claim = (self.directory / "stack.lock").open("a+", buffering=1)
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            claim.seek(0)
            parts = ", ".join(claim.read().split("\n")[:-1])
            claim.close()
            raise StackError(
                f"a stack on {self.directory} is starting or was killed and left parts behind; end them first: {parts}"
            ) from None
        claim.truncate(0)
        self._claim = claim

    async def _start(self, with_worker: bool) -> Addresses:
        files = {
            **{"provider": "provider.port", "mail sink": "mail.port"},
            **{"receiver": "receiver.port", "inbox": "inbox.port"},
        }
        for stale in files.values():
            (self.directory / stale).unlink(missing_ok=True)
        parts = (self._start_provider(), self._start_mail(), self._spawn_receiver(), self._spawn_inbox())
        await asyncio.gather(self._start_server(), *parts)
        found = await asyncio.gather(*(self._port_file(name, file) for name, file in files.items()))
        provider, ports = found[0], json.loads(found[1])
        self._receiver_port, self._inbox_port = int(found[2]), int(found[3])
        self.addresses = Addresses(
            pid=os.getpid(),
            temporal=f"{HOST}:{self._temporal_port}",
            ui=f"http://{HOST}:{self._ui_port}" if self._ui_port else None,
            provider=f"http://{HOST}:{int(provider)}",
            receiver=f"http://{HOST}:{self._receiver_port}",
            smtp_port=ports["smtp"],
            mail=f"http://{HOST}:{ports['http']}",
            inbox_port=self._inbox_port,
            database_url=self._database_url(),
        )
        await self._until("provider", lambda: answers(f"{self._found.provider}/health"))
        await self._until("mail sink", lambda: answers(f"{self._found.mail}/health"))
        await self._until("receiver", lambda: answers(f"{self._found.receiver}/health"))
        await self._until("inbox", lambda: speaks_smtp(HOST, self._inbox_port))
        await self._until("provider", self._provider_knows_receiver)
        await self._until("server", lambda: server_answers(self._found.temporal))
        if self._found.ui is not None:
            await self._until("server", lambda: answers(f"{self._found.ui}/"))
        if with_worker:
            await self.start_worker()
        (self.directory / "stack.json").write_text(self._found.model_dump_json(indent=2))
        return self._found

    @property
    def _found(self) -> Addresses:
        if self.addresses is None:
            raise StackError("the stack has not been started; call start() first")
        return self.addresses

    async def start_worker(self, name: str = "worker") -> None:
        """Start one more worker under `name` and wait until it polls."""
        environment = {**self._environment, **self._found.environment()}
        await self._spawn(name, sys.executable, str(ROOT / "worker.py"), environment=environment)
        queue = self._environment.get("TASK_QUEUE", "orders")
        await self._until(name, lambda: worker_polls(self._found.temporal, queue, self._processes[name].pid))

    async def start_receiver(self) -> None:
        """Start the receiver again where it was, and wait until it answers; the server need not run."""
        await self._spawn_receiver()
        await self._until("receiver", lambda: answers(f"{self._found.receiver}/health"))

    async def start_inbox(self) -> None:
        """Start the inbox again where it was, and wait until it answers; the server need not run."""
        await self._spawn_inbox()
        await self._until("inbox", lambda: speaks_smtp(HOST, self._inbox_port))

    async def stop(self) -> None:
        """Stop every part, workers first, each by its process id; what does not stop in time is killed."""
        if self._claim is None:
            return
        (self.directory / "stack.json").unlink(missing_ok=True)
        workers = [name for name in self._processes if name.startswith("worker")]
        for group in (workers, ["provider", "mail sink"], ["receiver", "inbox"], ["server"]):
            await asyncio.gather(*(self.stop_part(name) for name in group))
        self._claim.close()
        self._claim = None

    async def stop_part(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop one part; unknown and ended parts are left alone."""
        process = self._processes.pop(name, None)
        if process is None or process.returncode is not None:
            return
        process.send_signal(how)
        try:
            await asyncio.wait_for(process.wait(), STOP_WITHIN)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def wait(self) -> None:
        """Return never; raise StackError when a part ends by itself."""
        names = {asyncio.create_task(process.wait()): name for name, process in self._processes.items()}
        done, waiting = await asyncio.wait(names, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        raise StackError(f"{names[done.pop()]} has ended by itself; its log is in {self.directory / 'logs'}")

    async def _start_server(self) -> None:
        ui = ("--headless",) if self._ui_port is None else (f"--ui-port={self._ui_port}",)
        database = self.directory / "temporal.db"
        await self._spawn(
            "server",
            temporal_binary(),
            *("server", "start-dev", f"--ip={HOST}", f"--port={self._temporal_port}", f"--db-filename={database}"),
            *ui,
            *self._server_options,
        )

    async def _start_provider(self) -> None:
        await self._spawn_module(
            "provider",
            "sandbox.provider",
            f"--port={self._provider_port}",
            f"--database={self.directory / 'provider.db'}",
        )

    async def _start_mail(self) -> None:
        await self._spawn_module(
            "mail sink",
            "sandbox.mail",
            f"--smtp-port={self._smtp_port}",
            f"--http-port={self._mail_port}",
            f"--directory={self.directory / 'mails'}",
            port_file="mail.port",
        )

    def _database_url(self) -> str:
        return self._environment.get("DATABASE_URL") or f"sqlite:///{self.directory / 'orders.db'}"

    def _temporal(self) -> dict[str, str]:
        return {"TEMPORAL_ADDRESS": f"{HOST}:{self._temporal_port}", "TEMPORAL_NAMESPACE": "default"}

    async def _spawn_inbox(self) -> None:
        await self._spawn_module(
            "inbox",
            "web.inbox",
            f"--port={self._inbox_port}",
            port_file="inbox.port",
            environment={**self._environment, **self._temporal(), "DATABASE_URL": self._database_url()},
        )

    async def _spawn_receiver(self) -> None:
        await self._spawn_module(
            "receiver",
            "web.receiver",
            f"--port={self._receiver_port}",
            port_file="receiver.port",
            environment={**self._environment, **self._temporal(), "WEBHOOK_SECRET": self.webhook_secret()},
        )

    def webhook_secret(self) -> str:
        """Return the secret that signs the provider's webhooks, the same for the life of the folder."""
        path = self.directory / "webhook.secret"
        if not path.exists():
            draft = path.with_name(path.name + ".draft")
            draft.unlink(missing_ok=True)
            draft.touch(mode=0o600)
            draft.write_text("whsec_" + base64.b64encode(os.urandom(32)).decode())
            draft.replace(path)
        return path.read_text()

    async def _provider_knows_receiver(self) -> bool:
        endpoint = {"url": f"{self._found.receiver}/webhooks/payments", "secret": self.webhook_secret()}
        try:
            async with httpx.AsyncClient(timeout=2.0) as client:
                return (await client.put(f"{self._found.provider}/webhooks", json=endpoint)).is_success
        except httpx.HTTPError:
            return False

    async def _spawn_module(
        self,
        name: str,
        module: str,
        *options: str,
        port_file: str = "provider.port",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        where = f"--port-file={self.directory / port_file}"
        command = (sys.executable, "-m", module, f"--host={HOST}", where, *options)
        await self._spawn(name, *command, environment=environment)

    async def _spawn(self, name: str, *command: str, environment: Mapping[str, str] | None = None) -> None:
        claim = self._claim
        if claim is None:
            raise StackError("the stack has not been started; call start() first")
        log = self.directory / "logs" / f"{name.replace(' ', '-')}.log"
        with log.open("ab") as output:
            # A session of its own: Ctrl-C reaches only this process, which then stops the parts in their order.
            self._processes[name] = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=ROOT,
                env=dict(environment or self._environment),
                start_new_session=True,
                pass_fds=(claim.fileno(),),
            )
        claim.write(f"{name} (process {self._processes[name].pid})\n")

    async def _port_file(self, name: str, file: str) -> str:
        path = self.directory / file

        async def there() -> bool:
            return path.exists() and bool(path.read_text().strip())

        await self._until(name, there)
        return path.read_text()

    async def _until(self, name: str, healthy: Callable[[], Awaitable[bool]]) -> None:
        """Wait until a part is healthy; raises StackError with the end of its log when it has ended or takes too long."""
        try:
            async with asyncio.timeout(START_WITHIN):
                while not await healthy():
                    process = self._processes.get(name)
                    if process is None or process.returncode is not None:
                        raise StackError(f"{name} did not start: {self._log_end(name)}")
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise StackError(f"{name} is not healthy after {START_WITHIN:.0f} s: {self._log_end(name)}") from None

    def _log_end(self, name: str) -> str:
        log = self.directory / "logs" / f"{name.replace(' ', '-')}.log"
        lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
        return f"{' | '.join(lines[-3:])} (log: {log})"
