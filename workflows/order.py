"""The durable shell of one order: an actor with one mailbox and one timer.

It turns deadlines into timers, commands into decisions and effects into activities. All rules live in `domain`.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import datetime

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from domain.base import order_id
    from domain.deadlines import SUMMARIES, Deadline, next_deadline
    from domain.decide import decide
    from domain.effects import Effect, Notice, Outcome, Publish, Result, Void
    from domain.journal import Message, Verdict, engine_error, receive, record, unrecorded, wants_turn_before
    from domain.order import Actor, HistoryEntry, Order
    from domain.placement import PlacementError, first_authorization, open_order
    from domain.refusal_codes import RefusalCode
    from domain.refusals import Refusal, refuse
    from domain.releases import is_later_command, receive_as_before
    from domain.views import OrderView, history_view, view
    from workflows.display import attribute_updates, details, shown
    from workflows.effects import AT_ONCE, activity_of, summary
    from workflows.inputs import Carried, OrderInput, OrderResult, carry, ended
    from workflows.publishing import publication
    from workflows.wire import NOTHING, as_error, read_message, read_start, viewer_of


Ticket = asyncio.Future[OrderView | Refusal]

MAX_CARRIED_BYTES = 500_000
"""Waiting messages that a run hands to the next."""


@workflow.defn(name="order")
class OrderWorkflow:
    """One order from placement to completion. Commands are Updates and Signals of the names in `domain.commands`."""

    @workflow.init
    def __init__(self, start: RawValue = NOTHING) -> None:
        self._mailbox: deque[tuple[Message | Outcome, Ticket | None]] = deque()
        self._running: dict[str, Effect] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._notices: list[Notice] = []
        self._dirty = False
        self._armed: Deadline | None = None
        self._timer: asyncio.Task[None] | None = None
        self._invalid: Refusal | None = None
        self._broken: BaseException | None = None
        self._turns = 0
        self._fired_at = workflow.info().start_time
        self._fresh: tuple[Effect, ...] = ()
        try:
            self._order = self._open(start)
        except PlacementError as error:
            self._invalid = refuse(RefusalCode.INVALID_PLACEMENT, errors=str(error)[:2000])

    def _open(self, start: RawValue) -> Order:
        given = read_start(start)
        if given.carried is not None:
            return self._resume(given.carried)
        if given.place is None:
            raise PlacementError("place: missing; give the placement and its policy")
        number = given.place.placement.order_number
        if workflow.info().workflow_id != order_id(number):
            raise PlacementError(f"order_number: {number} does not fit the workflow id {workflow.info().workflow_id}")
        order = open_order(given.place, workflow.info().workflow_start_time)
        self._fresh = (first_authorization(order, view(order, workflow.now())),)
        return order

    def _resume(self, carried: Carried) -> Order:
        waiting: tuple[Message | Outcome, ...] = (*carried.outcomes, *carried.messages)
        self._mailbox.extend((each, None) for each in waiting)
        self._fresh = (*carried.authorizations, *carried.voids, *carried.publications, *carried.refunds, *carried.asks)
        self._notices, self._dirty = list(carried.notices), carried.dirty
        return carried.order

    @workflow.run
    async def run(self, start: RawValue = NOTHING) -> OrderResult:
        """Live the order's whole life; fails only where the placement itself is refused."""
        if self._invalid is not None:
            await workflow.wait_condition(workflow.all_handlers_finished)
            raise as_error(self._invalid)
        life = asyncio.create_task(self._live())
        while not life.done():
            try:
                await workflow.wait_condition(life.done)
            except asyncio.CancelledError:
                # Somebody pressed "cancel" on the workflow. An order is cancelled by command, never from outside:
                # the attempt is put in the history and the order goes on.
                refused = Message(name="workflow cancellation", message_id=str(workflow.uuid4()))
                self._mailbox.append((refused, None))
        if (carried := life.result()) is not None:
            workflow.continue_as_new(OrderInput(carried=carried))
        if self._order.rejected is not None:
            raise as_error(self._order.rejected)
        return ended(self._order)

    @workflow.signal(dynamic=True, description="Any command by its name, with one JSON object; fire and forget.")
    def on_signal(self, name: str, args: Sequence[RawValue]) -> None:
        """Take in a command that nobody waits for."""
        self._mailbox.append((read_message(name, args, str(workflow.uuid4())), None))

    @workflow.update(dynamic=True, description="Any command by its name, with one JSON object; answers the order.")
    async def on_update(self, name: str, args: Sequence[RawValue]) -> OrderView:
        """Take in a command and answer it: the order as its actor may see it, or the refusal as an ApplicationError."""
        if self._invalid is not None:
            raise as_error(self._invalid)
        ticket: Ticket = asyncio.Future()
        info = workflow.current_update_info()
        self._mailbox.append((read_message(name, args, info.id if info else str(workflow.uuid4())), ticket))
        answer = await ticket
        if isinstance(answer, Refusal):
            raise as_error(answer)
        return answer

    @workflow.query(name="order", description="The order as `viewer` (buyer, seller, operator) may see it.")
    def query_order(self, viewer: Actor = Actor.OPERATOR) -> OrderView:
        """Return the order as `viewer` may see it."""
        return view(self._readable(), workflow.now(), Actor(viewer))

    @workflow.query(name="history", description="Who asked for what, when, and what became of it.")
    def query_history(self, viewer: Actor = Actor.OPERATOR) -> list[HistoryEntry]:
        """Return the order's history as `viewer` may see it, the oldest entry first (D3)."""
        return history_view(self._readable().history, Actor(viewer))

    def _readable(self) -> Order:
        if self._invalid is not None:
            raise as_error(self._invalid)
        return self._order

    async def _live(self) -> Carried | None:
        """Take one event at a time until the order has ended; return what to carry over if the run must end first."""
        self._perform(self._fresh)
        self._show(before=None)
        while not self._ended():
            if workflow.info().is_continue_as_new_suggested() and self._quiet():
                waiting = (each for each, _ in self._mailbox)
                return carry(self._order, waiting, self._running.values(), self._notices, self._dirty)
            self._arm()
            await workflow.wait_condition(self._stirred)
            if self._broken is not None:
                raise self._broken
            deadline = self._due()
            if deadline is not None and not self._turns:
                self._turns = self._turns_before(deadline)
            if deadline is not None and not self._turns:
                await self._decide(deadline)
            elif self._mailbox:
                self._turns = max(0, self._turns - 1)
                await self._take(*self._mailbox.popleft())
        return None

    def _stirred(self) -> bool:
        return bool(self._mailbox) or self._due() is not None or self._broken is not None or self._ended()

    def _due(self) -> Deadline | None:
        deadline = next_deadline(self._order)
        return deadline if deadline is not None and deadline.at <= self._now() else None

    def _now(self) -> datetime:
        """Return the order's clock, never before a deadline whose timer has fired: the task that brings it may lag behind."""
        timer, armed = self._timer, self._armed
        if timer is not None and armed is not None and timer.done() and not timer.cancelled():
            self._fired_at = max(self._fired_at, armed.at)
        return max(workflow.now(), self._fired_at)

    def _turns_before(self, deadline: Deadline) -> int:
        """Return how many waiting events go before `deadline`: all up to the last message that was asked for in time."""
        now, order = self._now(), self._order
        waiting = enumerate(each for each, _ in self._mailbox)
        timely = (
            i for i, each in waiting if isinstance(each, Message) and wants_turn_before(each, deadline, now, order)
        )
        return max(timely, default=-1) + 1

    async def _decide(self, event: Deadline | Outcome) -> None:
        now = self._now()
        await self._follow(record(self._order, event, decide(self._order, event, now), now))

    async def _take(self, event: Message | Outcome, ticket: Ticket | None) -> None:
        if isinstance(event, Outcome):
            await self._decide(event)
            return
        now, fault = self._now(), f"engine-error-{event.message_id}"
        try:
            if workflow.unsafe.is_replaying() and workflow.patched(fault):
                raise RuntimeError("the engine failed on this command when it came")
            # An order of the first release may have refused a command that is known today; then it stays refused.
            as_before = is_later_command(self._order, event) and not workflow.patched(f"later-{event.message_id}")
            verdict = (receive_as_before if as_before else receive)(self._order, event, now)
        except Exception:  # noqa: BLE001 - a bug in deciding one command must not block the order
            # The marker makes the refusal stand: once the bug is mended, a replay would decide the command otherwise.
            workflow.patched(fault)
            workflow.logger.exception("command %s could not be decided", event.name)
            verdict = engine_error(self._order, event, now)
        refusal = await self._follow(verdict)
        if ticket is not None:
            ticket.set_result(refusal or view(self._order, self._now(), viewer_of(event)))

    async def _follow(self, verdict: Verdict) -> Refusal | None:
        """Make the verdict true: keep the state, start its effects, and where it waits for a partner see it through."""
        while True:
            before, self._order = self._order, verdict.order
            if verdict.decision is not None:
                self._perform(verdict.decision.effects)
                self._notices.extend(verdict.decision.notices)
                self._dirty = self._dirty or verdict.decision.publish
            self._show(before)
            awaited = verdict.decision.awaited if verdict.decision is not None else None
            if awaited is None:
                self._publish()
                return verdict.refusal
            outcome = await self._execute(awaited, awaited=True)
            now = self._now()
            verdict = record(self._order, outcome, decide(self._order, outcome, now), now)

    def _perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if effect.key in self._running:
                continue
            self._running[effect.key] = effect
            self._keep(asyncio.create_task(self._in_background(effect)))

    def _keep(self, task: asyncio.Task[None]) -> None:
        # The event loop holds its tasks weakly; without a reference one could vanish.
        self._tasks.add(task)
        task.add_done_callback(self._let_go)

    def _let_go(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Only a bug gets here. It fails the workflow task, loudly, instead of leaving an effect without an outcome.
            self._broken = error

    async def _in_background(self, effect: Effect) -> None:
        outcome = await self._execute(effect, awaited=False)
        del self._running[effect.key]
        self._mailbox.append((outcome, None))

    async def _execute(self, effect: Effect, *, awaited: bool) -> Outcome:
        outcome: Outcome
        if isinstance(effect, Publish) and not effect.notices:
            # In the common case a mere record costs no task of its own; a store that does not answer at once is left
            # to the patient activity below.
            with contextlib.suppress(FailureError):
                outcome = await workflow.execute_local_activity(
                    "record", effect, result_type=Outcome, summary=summary(effect), **AT_ONCE
                )
                return outcome
        name, options = activity_of(effect, awaited=awaited)
        try:
            outcome = await workflow.execute_activity(name, effect, result_type=Outcome, **options)
        except FailureError:
            if isinstance(effect, Void):
                return Outcome(result=Result.VOID_FAILED, reference=effect.reference, round=effect.round)
            return Outcome(result=Result.UNANSWERED, reference=effect.key)
        return outcome

    def _publish(self) -> None:
        due = publication(self._order, self._running.values(), self._notices, self._dirty, self._now())
        if due is not None:
            self._notices, self._dirty = [], False
            self._perform((due,))

    def _show(self, before: Order | None) -> None:
        workflow.set_current_details(details(self._order, workflow.now()))
        live = self._order.policy.live_attributes
        if live and before is not None and shown(before) != shown(self._order):
            workflow.upsert_search_attributes(attribute_updates(self._order))

    def _arm(self) -> None:
        """Keep one timer, for the next deadline; arm it anew only when that deadline has moved."""
        deadline = next_deadline(self._order)
        if deadline == self._armed and self._timer is not None and not self._timer.done():
            return
        if self._timer is not None:
            self._timer.cancel()
        self._armed, self._timer = deadline, None
        if deadline is not None and (delay := (deadline.at - self._now()).total_seconds()) > 0:
            self._timer = asyncio.create_task(workflow.sleep(delay, summary=SUMMARIES[deadline.name]))

    def _ended(self) -> bool:
        if self._mailbox or self._running or not workflow.all_handlers_finished():
            return False
        told = not self._notices and not self._dirty and not unrecorded(self._order)
        return self._order.rejected is not None or (self._order.over and told)

    def _quiet(self) -> bool:
        # What waits is carried over in one payload, which has its limit: a heavy mailbox is emptied first.
        weight = sum(each.size for each, _ in self._mailbox if isinstance(each, Message))
        answered = workflow.all_handlers_finished() and not any(ticket for _, ticket in self._mailbox)
        return answered and weight + 1000 * len(self._mailbox) <= MAX_CARRIED_BYTES
