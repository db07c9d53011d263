"""`promptmill links`."""

from typing import Any

import rich_click as click

from orchestrator.client import Client
from services.cli.durations import Duration
from services.cli.options import json_option, service_options, take_settings
from services.cli.output import print_json, say
from services.store_client import HURRIED


@click.command()
@click.argument("job")
@click.argument("rows", nargs=-1)
@click.option(
    "--expires", type=Duration(), metavar="TIME", default="1h", show_default=True, help="how long they hold, up to 7d"
)
@json_option
@service_options
def links(job: str, rows: tuple[str, ...], expires: float, as_json: bool, **options: Any) -> None:
    """Print an address for each image that a browser can open.

    An address reads one image without credentials, until it expires; it cannot be called back before. ROWS are ids;
    without them all images that there are by now. With --json an object a line: id, image, url and when it expires.

    Examples:

        promptmill links my-job --expires 24h
        promptmill links my-job cat-17 cat-18
    """
    count = 0
    for link in Client(take_settings(options), patience=HURRIED).links(job, expires_seconds=expires, rows=rows):
        count += 1
        print_json(link.model_dump()) if as_json else click.echo(link.url)
    if not count:
        say(f"{job}: no images{' of these rows' if rows else ''} so far")
