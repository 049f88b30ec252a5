"""review accept, reject, fix: verdicts without Label Studio."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from annotator.cli import output
from annotator.cli.options import JsonOption, RecipeOption, WorkspaceOption, examples

if TYPE_CHECKING:
    from annotator.service import Fixed

PairsArgument = Annotated[list[str], typer.Argument(metavar="PAIR", help="Ids of pairs, or the beginning of them.")]
PairArgument = Annotated[str, typer.Argument(metavar="PAIR", help="The pair's id, or the beginning of it.")]
CommentOption = Annotated[str, typer.Option("--comment", "-m", help="Why.")]
ReviewerOption = Annotated[str | None, typer.Option("--reviewer", help="Who says so; default: your login name.")]
RevisionOption = Annotated[int | None, typer.Option("--revision", min=1, help="The revision you saw; default: newest.")]
MaskOption = Annotated[Path | None, typer.Option(metavar="PNG", help="In the photo's size, white inside.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Say what you think of a pair, or mend it.", no_args_is_help=True)
    group.command(epilog=examples("hoi-annotate review accept 3fa2b40c91de-0"))(accept)
    group.command(epilog=examples("hoi-annotate review reject 3fa2b40c91de-0 -m 'not a hand'"))(reject)
    group.command(
        epilog=examples(
            "hoi-annotate review fix 3fa2b40c91de-0 --object-mask mask.png",
            "hoi-annotate review fix 3fa2b40c91de-0 --touching thumb,index --not-touching ring",
        )
    )(fix)
    app.add_typer(group, name="review")


def accept(
    pairs: PairsArgument,
    comment: CommentOption = "",
    reviewer: ReviewerOption = None,
    revision: RevisionOption = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """These pairs are good."""
    _judge(pairs, "accept", comment, reviewer, revision, json, workspace)


def reject(
    pairs: PairsArgument,
    comment: CommentOption = "",
    reviewer: ReviewerOption = None,
    revision: RevisionOption = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """These pairs are of no use."""
    _judge(pairs, "reject", comment, reviewer, revision, json, workspace)


def _judge(
    pairs: list[str],
    verdict: str,
    comment: str,
    reviewer: str | None,
    revision: int | None,
    json: bool,
    workspace: Path | None,
) -> None:
    from typing import cast

    from annotator.service import submit_review
    from annotator.workspace import Workspace
    from db.errors import NotFound
    from db.models import Verdict

    opened = Workspace.find(workspace, reviewer=reviewer)
    answers, missing = [], []
    for name in pairs:
        try:
            done = submit_review(
                opened,
                name,
                cast(Verdict, verdict),
                reviewer=opened.settings.reviewer,
                comment=comment,
                number=revision,
            )
        except NotFound as error:
            missing.append(str(error))
            output.say(f"error: {error}")
            continue
        answers.append({"pair": done.pair, "revision": done.revision, "status": done.status, "recorded": done.recorded})
        if not json:
            known = "" if done.recorded else " (was recorded before)"
            follows = done.status == {"accept": "accepted", "reject": "rejected"}[verdict]
            state = f"the pair is {done.status}{'' if follows else ': its newest revision decides that'}"
            output.data(f"{done.pair} revision {done.revision}: {verdict}{known}; {state}")
    if json:
        output.data_json(answers)
    if missing:
        raise typer.Exit(1)


def fix(
    pair: PairArgument,
    hand_mask: MaskOption = None,
    object_mask: MaskOption = None,
    contact_front: MaskOption = None,
    contact_back: MaskOption = None,
    keypoints: Annotated[Path | None, typer.Option(metavar="FILE", help="The hand's 21 keypoints.")] = None,
    side: Annotated[str | None, typer.Option(metavar="left|right", help="Which hand of the person it is.")] = None,
    touching: Annotated[str, typer.Option(metavar="PARTS", help="thumb,index,middle,ring,little,palm")] = "",
    not_touching: Annotated[str, typer.Option(metavar="PARTS", help="Parts that must keep clear.")] = "",
    comment: CommentOption = "",
    reviewer: ReviewerOption = None,
    recipe: RecipeOption = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Give a pair what it got wrong; a new revision is made from it, and from all earlier fixes."""
    from annotator import hints, service
    from annotator.errors import BadRequest
    from annotator.reviewing import MASKS, Change
    from annotator.workspace import Workspace

    if side not in (None, "left", "right"):
        raise typer.BadParameter(f"'{side}' is neither left nor right", param_hint="'--side'")
    opened = Workspace.find(workspace, reviewer=reviewer)
    given = dict(zip(MASKS, (hand_mask, object_mask, contact_front, contact_back), strict=True))
    try:
        masks = {role: path.read_bytes() for role, path in given.items() if path is not None}
    except OSError as error:
        raise BadRequest(f"{error.filename}: cannot be read ({error.strerror})") from error
    change = Change(
        masks=masks,
        keypoints=None if keypoints is None else hints.read_keypoints(keypoints)["keypoints"],
        side=side,
        touching=_parts(touching),
        not_touching=_parts(not_touching),
    )
    done = service.fix(opened, pair, change, reviewer=opened.settings.reviewer, comment=comment, recipe=recipe)
    if json:
        output.data_json(
            {
                "pair": done.pair,
                "before": done.before,
                "revision": done.revision,
                "reused": done.reused,
                "seconds": done.seconds,
                "metrics": {name: {"before": a, "after": b} for name, (a, b) in done.metrics.items()},
                "unmet": done.unmet,
            }
        )
        return
    if done.revision == done.before:
        output.data(f"{done.pair}: the edits change nothing, it stays at revision {done.before}")
    else:
        _tell(done)
    for line in done.unmet:
        output.data(f"not achieved: {line}")


def _tell(done: Fixed) -> None:
    again = [stage for stage in done.seconds if stage not in done.reused]
    output.data(
        f"{done.pair}: revision {done.revision}, {sum(done.seconds.values()):.1f} s; run again: {', '.join(again)}"
    )
    output.table(["metric", "before", "after"], [[name, a, b] for name, (a, b) in done.metrics.items()])


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
