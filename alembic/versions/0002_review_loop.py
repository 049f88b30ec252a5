"""Jobs, and what is known of Label Studio: projects, tasks, annotations, webhook calls"""

import sqlalchemy as sa

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "studio_event",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("project", sa.Integer(), nullable=True),
        sa.Column("task", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_studio_event")),
    )
    op.create_table(
        "studio_project",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Integer(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("cursor", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state IN ('active', 'gone')", name=op.f("ck_studio_project_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_studio_project")),
        sa.UniqueConstraint("url", "external_id", name=op.f("uq_studio_project_url_external_id")),
    )
    op.create_table(
        "studio_task",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=80), nullable=False),
        sa.Column("photo_id", sa.Integer(), nullable=False),
        sa.Column("revision_id", sa.Integer(), nullable=True),
        sa.Column("external_id", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("notice", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state IN ('claimed', 'open', 'closed', 'gone')", name=op.f("ck_studio_task_state")),
        sa.ForeignKeyConstraint(["photo_id"], ["photo.id"], name=op.f("fk_studio_task_photo_id_photo")),
        sa.ForeignKeyConstraint(
            ["project_id"], ["studio_project.id"], name=op.f("fk_studio_task_project_id_studio_project")
        ),
        sa.ForeignKeyConstraint(["revision_id"], ["revision.id"], name=op.f("fk_studio_task_revision_id_revision")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_studio_task")),
        sa.UniqueConstraint("project_id", "key", name=op.f("uq_studio_task_project_id_key")),
    )
    with op.batch_alter_table("studio_task", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_studio_task_external_id"), ["external_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_studio_task_photo_id"), ["photo_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_studio_task_revision_id"), ["revision_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_studio_task_state"), ["state"], unique=False)

    op.create_table(
        "job",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("photo_id", sa.Integer(), nullable=False),
        sa.Column("pair_id", sa.Integer(), nullable=True),
        sa.Column("review_id", sa.Integer(), nullable=True),
        sa.Column("revision_id", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('reoptimise', 'annotate')", name=op.f("ck_job_kind")),
        sa.CheckConstraint("state IN ('queued', 'running', 'done', 'superseded', 'failed')", name=op.f("ck_job_state")),
        sa.ForeignKeyConstraint(["pair_id"], ["pair.id"], name=op.f("fk_job_pair_id_pair")),
        sa.ForeignKeyConstraint(["photo_id"], ["photo.id"], name=op.f("fk_job_photo_id_photo")),
        sa.ForeignKeyConstraint(["review_id"], ["review.id"], name=op.f("fk_job_review_id_review")),
        sa.ForeignKeyConstraint(["revision_id"], ["revision.id"], name=op.f("fk_job_revision_id_revision")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
    )
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_job_pair_id"), ["pair_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_job_photo_id"), ["photo_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_job_review_id"), ["review_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_job_state"), ["state"], unique=False)

    op.create_table(
        "studio_annotation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("external_id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "outcome IN ('review', 'skipped', 'invalid', 'withdrawn')", name=op.f("ck_studio_annotation_outcome")
        ),
        sa.ForeignKeyConstraint(["task_id"], ["studio_task.id"], name=op.f("fk_studio_annotation_task_id_studio_task")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_studio_annotation")),
        sa.UniqueConstraint("task_id", "digest", name=op.f("uq_studio_annotation_task_id_digest")),
    )
    with op.batch_alter_table("studio_annotation", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_studio_annotation_external_id"), ["external_id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("studio_annotation", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_studio_annotation_external_id"))

    op.drop_table("studio_annotation")
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_job_state"))
        batch_op.drop_index(batch_op.f("ix_job_review_id"))
        batch_op.drop_index(batch_op.f("ix_job_photo_id"))
        batch_op.drop_index(batch_op.f("ix_job_pair_id"))

    op.drop_table("job")
    with op.batch_alter_table("studio_task", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_studio_task_state"))
        batch_op.drop_index(batch_op.f("ix_studio_task_revision_id"))
        batch_op.drop_index(batch_op.f("ix_studio_task_photo_id"))
        batch_op.drop_index(batch_op.f("ix_studio_task_external_id"))

    op.drop_table("studio_task")
    op.drop_table("studio_project")
    op.drop_table("studio_event")
