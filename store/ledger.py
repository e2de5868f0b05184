"""The ledger: balanced movements of money, each posted once and never changed.

Every function runs inside a transaction. A movement is claimed by its first entry, so that of several workers that post
the same one at the same instant one posts all of it.

Policy: S7, R5.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import func
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, select

from domain.movements import Entry, Movement, MovementKind
from store.tables import LedgerTable, OrderTable

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LedgerRow:
    """One entry of the ledger, the `position`-th of its movement: debit > 0, credit < 0, in minor units."""

    movement_id: str
    position: int
    kind: MovementKind
    order_number: str
    account: str
    currency: str
    amount_minor: int
    at: datetime


@dataclass(frozen=True)
class Balance:
    """What an account holds in one currency: debits less credits, in minor units."""

    account: str
    currency: str
    amount_minor: int


@dataclass(frozen=True)
class Unbalanced:
    """A movement whose debits are not its credits: `amount_minor` is what is too much, in minor units."""

    movement_id: str
    order_number: str
    currency: str
    amount_minor: int


def write_movements(session: Session, movements: Iterable[Movement]) -> None:
    """Post the movements that are not known yet; one that is known with other content stays as it is, and is logged.

    Raises ValueError, posting nothing, for a movement that does not balance. Policy: S7, R5.
    """
    given = [each for each in movements if each.entries]
    for each in given:
        if not each.is_balanced:
            excess = sum(entry.amount_minor for entry in each.entries)
            raise ValueError(f"movement {each.movement_id} does not balance: {excess} minor units are too much")
    wanted = {each.movement_id: each for each in given}
    known = {each.movement_id: each for each in _find(session, wanted)}
    new = [each for movement_id, each in wanted.items() if movement_id not in known]
    if new:
        posted = _post(session, new)
        elsewhere = [each.movement_id for each in new if each.movement_id not in posted]
        known |= {each.movement_id: each for each in _find(session, elsewhere)}
    for each in given:
        if known.get(each.movement_id, wanted[each.movement_id]) != each:
            # To fail here would keep the order's record and history out of the store for ever.
            _log.error(
                "ledger: movement %s is posted with other content and stays as it is; run `starter reconcile %s`",
                each.movement_id,
                each.order_number,
            )


def _post(session: Session, new: Sequence[Movement]) -> set[str]:
    """Insert the movements that nobody else has posted meanwhile; return their ids."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    connection = session.connection()
    claim = insert(LedgerTable).values([_row(each, 0) for each in new]).on_conflict_do_nothing()
    claimed = set(connection.execute(claim.returning(col(LedgerTable.movement_id))).scalars())
    rest = [
        _row(each, position) for each in new if each.movement_id in claimed for position in range(1, len(each.entries))
    ]
    if rest:
        connection.execute(insert(LedgerTable).values(rest))
    return claimed


def _row(movement: Movement, position: int) -> dict[str, Any]:
    facts = {name: getattr(movement, name) for name in ("movement_id", "order_number", "currency", "at")}
    return {**facts, "kind": movement.kind.value, "position": position, **movement.entries[position].model_dump()}


def _find(session: Session, movement_ids: Iterable[str]) -> list[Movement]:
    wanted = list(movement_ids)
    if not wanted:
        return []
    query = select(LedgerTable).where(col(LedgerTable.movement_id).in_(wanted))
    return _movements(session.exec(query.order_by(col(LedgerTable.movement_id), col(LedgerTable.position))))


def _movements(rows: Iterable[LedgerTable]) -> list[Movement]:
    """Put movements together from their entries, which come movement by movement and in their order."""
    found = []
    for movement_id, group in groupby(rows, key=lambda row: row.movement_id):
        entries = list(group)
        first = entries[0]
        found.append(
            Movement(
                movement_id=movement_id,
                kind=MovementKind(first.kind),
                order_number=first.order_number,
                currency=first.currency,
                at=first.at,
                entries=tuple(Entry(account=row.account, amount_minor=row.amount_minor) for row in entries),
            )
        )
    return found


def movements_of(session: Session, order_numbers: Sequence[str]) -> dict[str, list[Movement]]:
    """Return the posted movements of each of the orders, by order number; an order without any has an empty list."""
    query = select(LedgerTable).where(col(LedgerTable.order_number).in_(order_numbers))
    found: dict[str, list[Movement]] = {number: [] for number in order_numbers}
    for each in _movements(session.exec(query.order_by(col(LedgerTable.movement_id), col(LedgerTable.position)))):
        found[each.order_number].append(each)
    return found


def entries(session: Session, order_number: str | None, account: str | None) -> list[LedgerRow]:
    """Return the entries of one order, of one account or of all, the oldest first."""
    query = select(LedgerTable)
    if order_number is not None:
        query = query.where(LedgerTable.order_number == order_number)
    if account is not None:
        query = query.where(LedgerTable.account == account)
    query = query.order_by(col(LedgerTable.at), col(LedgerTable.movement_id), col(LedgerTable.position))
    return [LedgerRow(**row.model_dump() | {"kind": MovementKind(row.kind)}) for row in session.exec(query)]


def balances(session: Session, account_prefix: str | None) -> list[Balance]:
    """Return what each account holds, also where that is 0, by account and currency."""
    query = select(LedgerTable.account, LedgerTable.currency, func.sum(LedgerTable.amount_minor))
    if account_prefix:
        # LIKE would take upper and lower case for the same on SQLite.
        query = query.where(func.substr(LedgerTable.account, 1, len(account_prefix)) == account_prefix)
    query = query.group_by(col(LedgerTable.account), col(LedgerTable.currency))
    query = query.order_by(col(LedgerTable.account), col(LedgerTable.currency))
    return [Balance(account, currency, int(amount)) for account, currency, amount in session.exec(query)]


def unbalanced(session: Session) -> list[Unbalanced]:
    """Return the movements that do not balance, by id; there are none unless the database was written to by hand."""
    excess = func.sum(LedgerTable.amount_minor)
    query = (
        select(LedgerTable.movement_id, func.min(LedgerTable.order_number), LedgerTable.currency, excess)
        .group_by(col(LedgerTable.movement_id), col(LedgerTable.currency))
        .having(excess != 0)
        .order_by(col(LedgerTable.movement_id), col(LedgerTable.currency))
    )
    return [
        Unbalanced(movement_id, number, currency, int(amount))
        for movement_id, number, currency, amount in session.exec(query)
    ]


def orders_without_record(session: Session) -> list[str]:
    """Return the numbers that the ledger has movements of and the store no order, by number."""
    query = (
        select(LedgerTable.order_number)
        .where(~select(OrderTable.number).where(OrderTable.number == LedgerTable.order_number).exists())
        .distinct()
        .order_by(col(LedgerTable.order_number))
    )
    return list(session.exec(query))
