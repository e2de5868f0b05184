"""An order as it is known: from its workflow, or where that does not answer from the store."""

from contextlib import suppress

from domain.views import OrderView
from starter.client import InputError, OrderClient, UnreachableError
from starter.session import open_store


async def known_order(client: OrderClient, number: str) -> OrderView:
    """Return the order from its workflow, or, where that cannot be asked any more, as the store keeps it.

    Raises InputError where neither knows it, UnreachableError where neither answers.
    """
    try:
        return await client.order(number)
    except (InputError, UnreachableError):
        with suppress(InputError, UnreachableError):
            if (kept := _kept(number)) is not None:
                return kept
        raise


def _kept(number: str) -> OrderView | None:
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - as in open_store

    store = open_store()
    try:
        return store.order(number)
    except SQLAlchemyError:
        return None
    finally:
        store.close()
