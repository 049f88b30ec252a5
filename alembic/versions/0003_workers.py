"""Workers and their heartbeats, bulk work in chunks, and how often a photo or job was begun"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "worker",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_worker")),
    )
    op.create_table(
        "chunk",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("recipe", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("trigger", sa.String(length=16), nullable=False),
        sa.Column("photos", sa.Integer(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('queued', 'running', 'done')", name=op.f("ck_chunk_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chunk")),
    )
    op.create_index(op.f("ix_chunk_state"), "chunk", ["state"], unique=False)
    # no batch: copying a table would break the rows that refer to it
    op.add_column("photo", sa.Column("chunk_id", sa.Integer(), nullable=True))
    op.add_column("photo", sa.Column("tries", sa.Integer(), nullable=False, server_default="0"))
    op.create_index(op.f("ix_photo_chunk_id"), "photo", ["chunk_id"], unique=False)
    op.add_column("job", sa.Column("worker", sa.Text(), nullable=True))
    op.add_column("job", sa.Column("tries", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("job", "tries")
    op.drop_column("job", "worker")
    op.drop_index(op.f("ix_photo_chunk_id"), table_name="photo")
    op.drop_column("photo", "tries")
    op.drop_column("photo", "chunk_id")
    op.drop_index(op.f("ix_chunk_state"), table_name="chunk")
    op.drop_table("chunk")
    op.drop_table("worker")
