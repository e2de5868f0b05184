"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "orders",
        sa.Column("number", sa.String(), primary_key=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("marketplace", sa.String(), nullable=False),
        sa.Column("seller_id", sa.String(), nullable=False),
        sa.Column("buyer_id", sa.String()),
        sa.Column("buyer_email", sa.String()),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.Column("placed_at", INSTANT, nullable=False),
        sa.Column("expected_ship_at", INSTANT, nullable=False),
        sa.Column("next_deadline", sa.String()),
        sa.Column("next_deadline_at", INSTANT),
        sa.Column("cancelled_reason", sa.String()),
        sa.Column("flags", sa.String(), nullable=False),
        sa.Column("view", sa.JSON(), nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
    )
    op.create_index("ix_orders_tab", "orders", ["seller_id", "status", "placed_at"])
    op.create_index("ix_orders_newest", "orders", ["placed_at", "number"])
    op.create_index("ix_orders_buyer_email", "orders", ["buyer_email"])
    op.create_index("ix_orders_next_deadline_at", "orders", ["next_deadline_at"])
    op.create_table(
        "order_lines",
        sa.Column("order_number", sa.String(), sa.ForeignKey("orders.number"), primary_key=True),
        sa.Column("position", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("sku", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("shipped", sa.BigInteger(), nullable=False),
        sa.Column("unit_price_minor", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_order_lines_sku", "order_lines", ["sku"])
    op.create_table(
        "order_history",
        sa.Column("order_number", sa.String(), sa.ForeignKey("orders.number"), primary_key=True),
        sa.Column("seq", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("actor", sa.String()),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("recorded_at", INSTANT, nullable=False),
        sa.Column("accepted", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("command_id", sa.Text()),
        sa.Column("refusal", sa.JSON()),
    )
    op.create_table(
        "stock",
        sa.Column("seller_id", sa.String(), primary_key=True),
        sa.Column("sku", sa.String(), primary_key=True),
        sa.Column("on_hand", sa.BigInteger(), nullable=False),
        sa.Column("reserved", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("on_hand >= 0", name="ck_stock_on_hand"),
        sa.CheckConstraint("reserved >= 0", name="ck_stock_reserved"),
    )
    op.create_table(
        "reservation_heads",
        sa.Column("order_number", sa.String(), primary_key=True),
        sa.Column("seller_id", sa.String(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("closed", sa.Boolean(), nullable=False),
        sa.Column("reserved_at", INSTANT, nullable=False),
    )
    op.create_table(
        "reservations",
        sa.Column("order_number", sa.String(), sa.ForeignKey("reservation_heads.order_number"), primary_key=True),
        sa.Column("sku", sa.String(), primary_key=True),
        sa.Column("seller_id", sa.String(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("shipped", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_reservations_item", "reservations", ["seller_id", "sku"])
    op.create_table(
        "notices",
        sa.Column("key", sa.String(), primary_key=True),
        sa.Column("order_number", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("recipient", sa.String(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("sent_at", INSTANT, nullable=False),
    )
    op.create_index("ix_notices_order_number", "notices", ["order_number"])


def downgrade() -> None:
    for table in ("notices", "reservations", "reservation_heads", "stock", "order_history", "order_lines", "orders"):
        op.drop_table(table)
