"""`promptmill gc`."""

from typing import Any

import rich_click as click

from orchestrator.client import Client
from orchestrator.garbage import Garbage
from schemas.errors import SettingsError
from services.cli.durations import Duration
from services.cli.options import json_option, service_options, take_settings
from services.cli.output import byte_size, counted, duration, print_json, print_table, say

COLUMNS = ["JOB", "WHAT", "OBJECTS", "BYTES", "UNFINISHED UPLOADS", "KEPT FOR NOW"]


@click.command()
@click.argument("job", required=False)
@click.option("--all", "every", is_flag=True, help="all jobs and submissions of the store")
@click.option("--dry-run", is_flag=True, help="only tell what would be removed")
@click.option("--grace", type=Duration(), metavar="TIME", help="leave alone what is younger; default: 24h")
@click.option("--abandoned", is_flag=True, help="remove submissions that were never finished, too")
@json_option
@service_options
def gc(
    job: str | None, every: bool, dry_run: bool, grace: float | None, abandoned: bool, as_json: bool, **options: Any
) -> None:
    """Remove images that no result names, and unfinished uploads.

    A worker that was killed, or one that came second, can leave images behind. Results and the images that they
    name are never touched. Safe at any time: what is younger than the grace time, or under a live lease, stays.

    Submissions that were never finished are told, and removed only with --abandoned.

    Examples:

        promptmill gc my-job --dry-run
        promptmill gc --all
        promptmill gc --all --abandoned --grace 7d
    """
    if (job is None) is not every:
        raise SettingsError("give a job, or --all", hint="promptmill gc --all --dry-run tells what there is")
    client = Client(take_settings(options))
    found = []
    for garbage in client.collect_garbage(job, grace_seconds=grace, dry_run=dry_run, remove_abandoned=abandoned):
        found.append(garbage)
    used = client.settings.dispatch.gc_grace_seconds if grace is None else grace
    if as_json:
        print_json({"dry_run": dry_run, "grace_seconds": used, "jobs": [one.model_dump() for one in found]})
    else:
        _show(found, dry_run=dry_run, with_abandoned=abandoned, grace=used)


def _show(found: list[Garbage], *, dry_run: bool, with_abandoned: bool, grace: float) -> None:
    told = [one for one in found if one.objects or one.uploads or one.waiting]
    if told:
        print_table(COLUMNS, [_cells(one) for one in told], numbers=frozenset(COLUMNS[2:]))
    for note in dict.fromkeys(one.note for one in found if one.note):
        jobs = [one.job for one in found if one.note == note]
        say(f"{jobs[0]}{f' and {len(jobs) - 1:,} more' if jobs[1:] else ''}: {note}", style="yellow")
    ours = [one for one in found if with_abandoned or not one.abandoned]
    objects, size = sum(one.objects for one in ours), sum(one.bytes for one in ours)
    what = f"{counted(objects, 'object')}, {byte_size(size)}"
    say(f"{what}: would be removed; nothing was" if dry_run else f"{what} removed")
    left = [one for one in found if one.abandoned]
    if left and not with_abandoned:
        noun = counted(len(left), "submission")
        say(f"{noun} never finished: --abandoned removes {'it' if len(left) == 1 else 'them'}")
    if any(one.waiting for one in found):
        say(f"what is younger than {duration(grace)}, or under a live lease, was left alone")


def _cells(one: Garbage) -> list[str]:
    what = "abandoned" if one.abandoned else "orphans"
    return [one.job, what, f"{one.objects:,}", byte_size(one.bytes), f"{one.uploads:,}", f"{one.waiting:,}"]
