"""The console command `promptmill`. Its commands load from the entry-point group `promptmill.commands`."""

import sys
from importlib.metadata import entry_points

import rich_click as click
from click.exceptions import Exit

from schemas.errors import PromptmillError, SettingsError
from services.cli.options import option_defaults
from services.cli.output import report_error
from services.version import promptmill_version

COMMAND_GROUP = "promptmill.commands"
INTERRUPTED = 130
BROKEN_PIPE = 141
# Every option also by environment: PROMPTMILL_RUN_WORKERS=2.
CONTEXT = {"help_option_names": ["-h", "--help"]}

EPILOG = """
Exit status: 0 done; 1 ended with failed rows, or an unexpected error; 2 bad manifest, option or setting;
3 no such job, or the job's state does not allow it; 4 Redis or the object store; 5 this machine's disk;
6 the job paused itself; 130 interrupted.
"""


class Commands(click.RichGroup):
    """Commands of every installed package, found by entry point and loaded when used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        order = ["run", "validate", "submit", "status", "list", "logs", "fetch", "links"]
        order += ["pause", "resume", "cancel", "priority", "retry", "gc", "import", "rerender", "schema", "doctor"]
        names = {point.name for point in entry_points(group=COMMAND_GROUP)}
        return [name for name in order if name in names] + sorted(names - set(order))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for point in entry_points(group=COMMAND_GROUP, name=cmd_name):
            try:
                command: click.Command = point.load()
            except ImportError as error:
                return _unavailable(cmd_name, error)
            _name_options(command, f"PROMPTMILL_{cmd_name}")
            return command
        return None


def _name_options(command: click.Command, prefix: str) -> None:
    """Let the environment name options by their flags, `PROMPTMILL_RUN_SET`, not by the functions' arguments."""
    for option in command.params:
        if isinstance(option, click.Option):
            flag = max(option.opts, key=len).removeprefix("--")
            option.envvar = f"{prefix}_{flag}".upper().replace("-", "_")
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            _name_options(inner, f"{prefix}_{name}")


def _unavailable(name: str, error: ImportError) -> click.Command:
    """Stands for a command whose libraries are not installed: the others go on, and this one says what is missing."""

    @click.command(
        name,
        help=f"Not available in this installation: {error}.",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
    def unavailable() -> None:
        raise SettingsError(f"{name} is not available here: {error}", hint="pip install 'promptmill[worker]'")

    return unavailable


@click.group(
    cls=Commands,
    epilog=EPILOG,
    context_settings=CONTEXT,
)
@click.rich_config({"text_paragraph_linebreaks": "\n\n", "padding_helptext_first_line": (0, 0, 1, 0)})
@click.version_option(promptmill_version(), prog_name="promptmill")
def cli() -> None:
    """Render prompt manifests: every image exactly once, with the recipe that made it.

    Everything on this machine:

        promptmill run prompts.txt --set model=tiny -o out

    With a Redis and an S3 endpoint of your own, `orchestrator` and `worker` are the services; what you do is:

        promptmill submit prompts.txt --set model=sd15 --job-id my-job
        promptmill status my-job --watch
        promptmill fetch my-job -o out
    """


def main(arguments: list[str] | None = None) -> None:
    """Run a command and end the process with its exit status."""
    as_json = "--json" in (arguments if arguments is not None else sys.argv[1:])
    try:
        status = cli.main(args=arguments, prog_name="promptmill", standalone_mode=False, default_map=option_defaults())
    except Exit as error:
        status = error.exit_code
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt) as error:
        # click makes an Abort of a KeyboardInterrupt; the first one's text says how to go on, where a command knows.
        told = str(error.__context__ or error) or "nothing is lost; give the same command again to go on"
        click.echo(f"interrupted; {told}", err=True)
        status = INTERRUPTED
    except PromptmillError as error:
        report_error(error, as_json=as_json)
        status = error.exit_status
    except BrokenPipeError:  # the reader of a pipe went away, as `head` does
        sys.stderr.close()
        status = BROKEN_PIPE
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
