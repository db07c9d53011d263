"""`promptmill schema`: the published JSON Schema."""

import json

import rich_click as click

from orchestrator.manifests.json_schema import document_schema, rows_schema

_KINDS = {"rows": rows_schema, "document": document_schema}


@click.command()
@click.argument("kind", type=click.Choice(list(_KINDS)), default="document")
def schema(kind: str) -> None:
    """Print the JSON Schema of manifests.

    `document` is for YAML and JSON manifests, `rows` for the lines of JSON Lines. Editors check and complete with
    it: in YAML by a comment in the first line.

    Examples:

        promptmill schema document > promptmill.schema.json
        promptmill schema rows | jq .properties.scheduler

    The first line of a YAML manifest then is:

        # yaml-language-server: $schema=promptmill.schema.json
    """
    click.echo(json.dumps(_KINDS[kind](), indent=2, ensure_ascii=False))
