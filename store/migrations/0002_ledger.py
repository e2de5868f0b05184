"""The ledger: entries that are only ever added."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

REASON = "the ledger is append-only; post a counter-movement instead"
SQLITE = (
    f"CREATE TRIGGER ledgerentry_no_update BEFORE UPDATE ON ledgerentry BEGIN SELECT RAISE(ABORT, '{REASON}'); END",
    f"CREATE TRIGGER ledgerentry_no_delete BEFORE DELETE ON ledgerentry BEGIN SELECT RAISE(ABORT, '{REASON}'); END",
    # INSERT OR REPLACE deletes without asking the trigger above.
    "CREATE TRIGGER ledgerentry_no_replace BEFORE INSERT ON ledgerentry WHEN EXISTS (SELECT 1 FROM ledgerentry"  # noqa: S608 - of constants
    " WHERE movement_id = NEW.movement_id AND position = NEW.position)"
    f" BEGIN SELECT RAISE(ABORT, '{REASON}'); END",
)
POSTGRESQL = (
    "CREATE FUNCTION ledgerentry_append_only() RETURNS trigger LANGUAGE plpgsql AS"
    f" $$ BEGIN RAISE EXCEPTION '{REASON}' USING ERRCODE = 'restrict_violation'; END $$",
    "CREATE TRIGGER ledgerentry_no_change BEFORE UPDATE OR DELETE ON ledgerentry"
    " FOR EACH ROW EXECUTE FUNCTION ledgerentry_append_only()",
    "CREATE TRIGGER ledgerentry_no_truncate BEFORE TRUNCATE ON ledgerentry"
    " FOR EACH STATEMENT EXECUTE FUNCTION ledgerentry_append_only()",
)


def upgrade() -> None:
    op.create_table(
        "ledgerentry",
        sa.Column("movement_id", sa.String(), primary_key=True),
        sa.Column("position", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("order_number", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_ledgerentry_account", "ledgerentry", ["account"])
    op.create_index("ix_ledgerentry_order_number", "ledgerentry", ["order_number"])
    for statement in POSTGRESQL if op.get_bind().dialect.name == "postgresql" else SQLITE:
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("ledgerentry")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION ledgerentry_append_only()")
