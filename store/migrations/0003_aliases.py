"""The aliases behind which buyer and seller write to each other, to find an order by."""

import sqlalchemy as sa
from alembic import op

from domain.message import alias

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SIDES = ("buyer", "seller")
BATCH = 1000


def upgrade() -> None:
    for side in SIDES:
        op.add_column("orders", sa.Column(f"{side}_alias", sa.String()))
    orders = sa.table("orders", *(sa.column(name) for name in ("number", "buyer_email", "buyer_alias", "seller_alias")))
    change = orders.update().where(orders.c.number == sa.bindparam("known"))
    change = change.values(buyer_alias=sa.bindparam("buyer"), seller_alias=sa.bindparam("seller"))
    last = ""
    # An order whose personal data is erased has no buyer any more, and is known by no alias.
    while numbers := list(
        op.get_bind().scalars(
            sa.select(orders.c.number)
            .where(orders.c.number > last, orders.c.buyer_email.is_not(None))
            .order_by(orders.c.number)
            .limit(BATCH)
        )
    ):
        op.get_bind().execute(
            change, [{"known": number, **{side: alias(number, side) for side in SIDES}} for number in numbers]
        )
        last = numbers[-1]
    for side in SIDES:
        op.create_index(f"ix_orders_{side}_alias", "orders", [f"{side}_alias"])


def downgrade() -> None:
    for side in SIDES:
        op.drop_index(f"ix_orders_{side}_alias", "orders")
        op.drop_column("orders", f"{side}_alias")
