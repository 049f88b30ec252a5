"""What a worker runs, so that one that is unlike the others is told"""

import sqlalchemy as sa

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("worker", sa.Column("version", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("worker", "version")
