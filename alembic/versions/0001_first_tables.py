"""First tables"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "artifact",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_artifact")),
        sa.UniqueConstraint("sha256", name=op.f("uq_artifact_sha256")),
    )
    op.create_table(
        "export",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("format", sa.String(length=32), nullable=False),
        sa.Column("filters", JSON, nullable=False),
        sa.Column("snapshot_digest", sa.String(length=64), nullable=False),
        sa.Column("records", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_export")),
    )
    with op.batch_alter_table("export", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_export_snapshot_digest"), ["snapshot_digest"], unique=False)

    op.create_table(
        "photo",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("perceptual_hash", sa.String(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("licence", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("hints", JSON, nullable=False),
        sa.Column("notes", JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("status IN ('pending', 'done', 'failed')", name=op.f("ck_photo_status")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_photo")),
        sa.UniqueConstraint("sha256", name=op.f("uq_photo_sha256")),
    )
    with op.batch_alter_table("photo", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_photo_perceptual_hash"), ["perceptual_hash"], unique=False)
        batch_op.create_index(batch_op.f("ix_photo_status"), ["status"], unique=False)

    op.create_table(
        "pair",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("public_id", sa.String(length=32), nullable=False),
        sa.Column("photo_id", sa.Integer(), nullable=False),
        sa.Column("index", sa.Integer(), nullable=False),
        sa.Column("side", sa.String(length=8), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("revision_number", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status IN ('pending', 'preannotated', 'in_review', 'reoptimising', 'accepted', 'rejected', 'failed')",
            name=op.f("ck_pair_status"),
        ),
        sa.ForeignKeyConstraint(["photo_id"], ["photo.id"], name=op.f("fk_pair_photo_id_photo")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pair")),
        sa.UniqueConstraint("photo_id", "index", name=op.f("uq_pair_photo_id_index")),
        sa.UniqueConstraint("public_id", name=op.f("uq_pair_public_id")),
    )
    with op.batch_alter_table("pair", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_pair_status"), ["status"], unique=False)

    op.create_table(
        "revision",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("pair_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("parent_id", sa.Integer(), nullable=True),
        sa.Column("trigger", sa.String(length=16), nullable=False),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("recipe_digest", sa.String(length=64), nullable=False),
        sa.Column("content_digest", sa.String(length=64), nullable=False),
        sa.Column("camera", JSON, nullable=False),
        sa.Column("hand", JSON, nullable=False),
        sa.Column("object", JSON, nullable=False),
        sa.Column("contacts", JSON, nullable=False),
        sa.Column("metrics", JSON, nullable=False),
        sa.Column("diagnostics", JSON, nullable=False),
        sa.Column("seconds", JSON, nullable=False),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("review_priority", sa.Double(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["pair_id"], ["pair.id"], name=op.f("fk_revision_pair_id_pair")),
        sa.ForeignKeyConstraint(["parent_id"], ["revision.id"], name=op.f("fk_revision_parent_id_revision")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revision")),
        sa.UniqueConstraint("pair_id", "number", name=op.f("uq_revision_pair_id_number")),
    )
    with op.batch_alter_table("revision", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_revision_content_digest"), ["content_digest"], unique=False)
        batch_op.create_index(batch_op.f("ix_revision_review_priority"), ["review_priority"], unique=False)

    op.create_table(
        "review",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("revision_id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("verdict", sa.String(length=8), nullable=False),
        sa.Column("reviewer", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("edits", JSON, nullable=False),
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("verdict IN ('accept', 'reject', 'fix')", name=op.f("ck_review_verdict")),
        sa.ForeignKeyConstraint(["revision_id"], ["revision.id"], name=op.f("fk_review_revision_id_revision")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review")),
        sa.UniqueConstraint("digest", name=op.f("uq_review_digest")),
    )
    with op.batch_alter_table("review", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_review_external_id"), ["external_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_review_revision_id"), ["revision_id"], unique=False)

    op.create_table(
        "revision_artifact",
        sa.Column("revision_id", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("artifact_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["artifact_id"], ["artifact.id"], name=op.f("fk_revision_artifact_artifact_id_artifact")
        ),
        sa.ForeignKeyConstraint(
            ["revision_id"], ["revision.id"], name=op.f("fk_revision_artifact_revision_id_revision")
        ),
        sa.PrimaryKeyConstraint("revision_id", "role", name=op.f("pk_revision_artifact")),
    )
    with op.batch_alter_table("revision_artifact", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_revision_artifact_artifact_id"), ["artifact_id"], unique=False)

    op.create_table(
        "review_artifact",
        sa.Column("review_id", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("artifact_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["artifact_id"], ["artifact.id"], name=op.f("fk_review_artifact_artifact_id_artifact")),
        sa.ForeignKeyConstraint(["review_id"], ["review.id"], name=op.f("fk_review_artifact_review_id_review")),
        sa.PrimaryKeyConstraint("review_id", "role", name=op.f("pk_review_artifact")),
    )
    with op.batch_alter_table("review_artifact", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_review_artifact_artifact_id"), ["artifact_id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("review_artifact", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_review_artifact_artifact_id"))

    op.drop_table("review_artifact")
    with op.batch_alter_table("revision_artifact", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_revision_artifact_artifact_id"))

    op.drop_table("revision_artifact")
    with op.batch_alter_table("review", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_review_revision_id"))
        batch_op.drop_index(batch_op.f("ix_review_external_id"))

    op.drop_table("review")
    with op.batch_alter_table("revision", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_revision_review_priority"))
        batch_op.drop_index(batch_op.f("ix_revision_content_digest"))

    op.drop_table("revision")
    with op.batch_alter_table("pair", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_pair_status"))

    op.drop_table("pair")
    with op.batch_alter_table("photo", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_photo_status"))
        batch_op.drop_index(batch_op.f("ix_photo_perceptual_hash"))

    op.drop_table("photo")
    with op.batch_alter_table("export", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_export_snapshot_digest"))

    op.drop_table("export")
    op.drop_table("artifact")
