"""What is known of the review: tasks, jobs, verdicts; from our own rows alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from annotator.workspace import Workspace
from db.models import Review
from db.repositories import Jobs, Pairs, Reviews, Studio
from db.repositories.listing import CERTAIN, DOUBTFUL

BINS = (0.0, DOUBTFUL, CERTAIN, 1.0)  # of confidence: low, middle, high


def task_url(workspace: Workspace, pair: str) -> str | None:
    """Where a pair's newest task is in Label Studio."""
    with workspace.database.read() as session:
        task = Studio(session).newest_task(Pairs(session).find(pair))
        if task is None or task.project.state != "active":
            return None
        return f"{task.project.url}/projects/{task.project.external_id}/data?task={task.external_id}"


def review_status(workspace: Workspace) -> dict[str, Any]:
    """{"projects", "jobs", "failed_jobs", "reviews", "reviewers", "agreement", "accept_rate", "unusable"}."""
    with workspace.database.read() as session:
        reviews, studio = Reviews(session).all(), Studio(session)
        projects = [
            {"title": p.title, "url": f"{p.url}/projects/{p.external_id}", "tasks": studio.counts(p)}
            for p in studio.projects()
        ]
        failed = [
            {"pair": job.pair.public_id if job.pair else None, "photo": job.photo.name, "reason": job.reason}
            for job in Jobs(session).newest("failed", 10)
        ]
        return {
            "projects": projects,
            "jobs": Jobs(session).counts(),
            "failed_jobs": failed,
            "reviews": Reviews(session).counts(),
            "reviewers": _throughput(reviews),
            "agreement": _agreement(reviews),
            "accept_rate": {
                "recipe": _rates(reviews, lambda r: r.revision.recipe),
                "confidence": _rates(reviews, _bin),
            },
            "unusable": studio.read_as("invalid"),
        }


def _throughput(reviews: Sequence[Review]) -> dict[str, dict[str, int]]:
    """Reviews by reviewer: all of them, and those of the last hour."""
    since = datetime.now(UTC) - timedelta(hours=1)
    out: dict[str, dict[str, int]] = defaultdict(lambda: {"all": 0, "last_hour": 0})
    for row in reviews:
        at = row.created_at if row.created_at.tzinfo else row.created_at.replace(tzinfo=UTC)
        out[row.reviewer]["all"] += 1
        out[row.reviewer]["last_hour"] += at >= since
    return dict(out)


def _agreement(reviews: Sequence[Review]) -> dict[str, int | float | None]:
    """Of the revisions two people judged: on how many their last verdicts are the same."""
    last: dict[int, dict[str, str]] = defaultdict(dict)
    for row in reviews:
        last[row.revision_id][row.reviewer] = row.verdict
    both = [set(verdicts.values()) for verdicts in last.values() if len(verdicts) > 1]
    same = sum(len(verdicts) == 1 for verdicts in both)
    return {"revisions": len(both), "same": same, "share": same / len(both) if both else None}


def _rates(reviews: Sequence[Review], key: Callable[[Review], str]) -> dict[str, dict[str, float]]:
    """Share of accepted among the reviews of each kind."""
    kinds: dict[str, list[bool]] = defaultdict(list)
    for row in reviews:
        kinds[key(row)].append(row.verdict == "accept")
    return {kind: {"reviews": len(v), "accepted": sum(v) / len(v)} for kind, v in sorted(kinds.items())}


def _bin(review: Review) -> str:
    value = review.revision.confidence or 0.0
    number = min(sum(value >= bound for bound in BINS[1:]), len(BINS) - 2)
    return f"{BINS[number]:.2f}-{BINS[number + 1]:.2f}"
