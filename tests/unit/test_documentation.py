"""The documentation says what the code does: pages made from the code are up to date, and README leaves nothing out."""

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import click
import pytest

from orchestrator.cli.main import cli
from orchestrator.manifests.options import FORMATS
from schemas import errors
from schemas.rows import FIELD_NAMES, PIPELINES
from schemas.samplers import SCHEDULERS
from services.settings_names import all_settings, unknown_names

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "examples/README.md"]
PAGES += ["docs/commands.md", "docs/configuration.md", "docs/security.md", "docs/reliability.md", "docs/manifest.md"]
README = (ROOT / "README.md").read_text()
MANIFEST = (ROOT / "docs" / "manifest.md").read_text()


def test_pages_made_from_the_code_are_up_to_date() -> None:
    checked = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    targets = [target for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in target]
    assert [target for target in targets if not (ROOT / page).parent.joinpath(target).exists()] == []


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_files_that_are_named_exist(page: str) -> None:
    rooms = "schemas|services|orchestrator|workers|tests|deploy|docs|examples"
    named = re.findall(rf"`((?:{rooms})/[\w./-]*)`", (ROOT / page).read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_readme_names_every_command() -> None:
    names = cli.list_commands(click.Context(cli))
    assert [name for name in names if not re.search(rf"promptmill {name}\b|`{name}`", README)] == []


def test_readme_names_every_pipeline_and_error_class() -> None:
    words = set(re.findall(r"\w+", README))
    assert sorted((set(PIPELINES) | set(get_args(errors.ErrorClass))) - words) == []


def test_the_manifest_reference_names_every_field_format_and_scheduler() -> None:
    words = set(re.findall(r"\w+", MANIFEST))
    wanted = (FIELD_NAMES - {"extra"}) | set(FORMATS) | set(PIPELINES) | set(SCHEDULERS)
    assert sorted(wanted - words) == []


def test_links_within_the_manifest_reference_lead_to_a_heading() -> None:
    headings = {
        re.sub(r"[^\w -]", "", text).lower().replace(" ", "-")
        for text in re.findall(r"^#+ (.+)$", MANIFEST, re.MULTILINE)
    }
    assert sorted(set(re.findall(r"\]\(#([\w-]+)\)", MANIFEST)) - headings) == []


def test_readme_names_every_exit_status() -> None:
    found = {int(status) for status in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert {kind.exit_status for kind in kinds} | {0, 1, 130} == found


def test_every_setting_is_described() -> None:
    assert [setting.dotted for setting in all_settings() if not setting.field.description] == []


def test_names_of_settings() -> None:
    names = {setting.environment for setting in all_settings()}
    assert {"PROMPTMILL_S3__BUCKET", "PROMPTMILL_REDIS__URL", "PROMPTMILL_DATA_DIR"} <= names
    assert unknown_names(names | {"PROMPTMILL_S3", "HOME", "promptmill_data_dir"}) == {}
    assert unknown_names({"PROMPTMILL_RUN_WORKERS"}, options={"PROMPTMILL_RUN_WORKERS"}) == {}
    assert unknown_names({"PROMPTMILL_REDIS_URL", "PROMPTMILL_XYZ"}) == {
        "PROMPTMILL_REDIS_URL": "PROMPTMILL_REDIS__URL",
        "PROMPTMILL_XYZ": None,
    }
