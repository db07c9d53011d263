"""The catalogue: what is shipped, what a file of one's own can change, and how its faults are told."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from schemas.catalogue import ModelEntry, parse_source
from schemas.errors import SettingsError
from schemas.rows import PIPELINES
from services.catalogue import Catalogue

# The ids of DreamStudio's engines that still have public weights, and what they were.
DREAMSTUDIO = {
    "stable-diffusion-v1": "sd14",
    "stable-diffusion-v1-5": "sd15",
    "stable-inpainting-v1-0": "sd15-inpainting",
    "stable-diffusion-512-v2-0": "sd2-base",
    "stable-diffusion-768-v2-0": "sd2",
    "stable-diffusion-512-v2-1": "sd21-base",
    "stable-diffusion-768-v2-1": "sd21",
    "stable-inpainting-512-v2-0": "sd2-inpainting",
    "stable-diffusion-depth-v2-0": "sd2-depth",
    "stable-diffusion-x4-latent-upscaler": "sd-x4-upscaler",
    "stable-diffusion-xl-1024-v1-0": "sdxl",
}


@pytest.fixture(scope="module")
def shipped() -> Catalogue:
    return Catalogue.load()


def write(folder: Path, text: str) -> Path:
    path = folder / "models.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(("name", "canonical"), DREAMSTUDIO.items())
def test_dreamstudio_names(shipped: Catalogue, name: str, canonical: str) -> None:
    assert shipped.resolve(name)[0] == canonical


@pytest.mark.parametrize(
    ("alias", "size", "pipelines"),
    [
        ("sd14", 512, {"txt2img", "img2img", "inpaint"}),
        ("sd15", 512, {"txt2img", "img2img", "inpaint"}),
        ("sd2", 768, {"txt2img", "img2img", "inpaint"}),
        ("sd2-base", 512, {"txt2img", "img2img", "inpaint"}),
        ("sd21", 768, {"txt2img", "img2img", "inpaint"}),
        ("sd2-inpainting", 512, {"inpaint"}),
        ("sd2-depth", 512, {"depth2img"}),
        ("sdxl", 1024, {"txt2img", "img2img", "inpaint"}),
        ("sdxl-inpainting", 1024, {"inpaint"}),
        ("tiny", 64, set(PIPELINES)),
        ("tiny-2", 64, set(PIPELINES)),
        ("tiny-xl", 64, {"txt2img", "img2img", "inpaint"}),
    ],
)
def test_shipped_models(shipped: Catalogue, alias: str, size: int, pipelines: set[str]) -> None:
    _, entry = shipped.resolve(alias)
    assert (entry.width, entry.height) == (size, size)
    assert set(entry.pipelines) == pipelines


def test_turbo_models_take_few_steps_without_guidance(shipped: Catalogue) -> None:
    for alias in ("sd-turbo", "sdxl-turbo"):
        _, entry = shipped.resolve(alias)
        assert 1 <= entry.steps <= 4
        assert entry.guidance_scale == 0
        assert entry.steps * entry.strength >= 1


def test_the_deleted_repositories_are_not_named(shipped: Catalogue) -> None:
    sources = {source for _, entry in shipped for source in (entry.source, *entry.sources.values())}
    assert not [source for source in sources if source.startswith("stabilityai/stable-diffusion-2")]


def test_unknown_alias_names_near_ones(shipped: Catalogue) -> None:
    with pytest.raises(SettingsError, match=r"no model 'sdlx' in the catalogue; did you mean sdxl") as caught:
        shipped.resolve("sdlx")
    assert caught.value.hint == "promptmill models list"


def test_own_file_adds_and_overrides(tmp_path: Path) -> None:
    own = write(
        tmp_path,
        """
        [house]
        source = "./weights/house"
        sources = { inpaint = "../inpaint" }
        family = "sd1"
        pipelines = ["txt2img", "inpaint"]
        aliases = ["house-style"]

        [sd15]
        steps = 30

        [sdxl]
        source = "my-org/sdxl"
        """,
    )
    catalogue = Catalogue.load(own)
    alias, house = catalogue.resolve("house-style")
    assert alias == "house"
    assert house.source == str(tmp_path / "weights/house")
    assert house.source_of("inpaint") == str(tmp_path.parent / "inpaint")
    assert house.source_of("txt2img") == house.source
    sd15, shipped_sd15 = catalogue.entries["sd15"], Catalogue.load().entries["sd15"]
    assert sd15 == shipped_sd15.model_copy(update={"steps": 30})
    # A new source is not the old one's revision and variant.
    assert (catalogue.entries["sdxl"].revision, catalogue.entries["sdxl"].variant) == (None, None)
    assert catalogue.entries["sdxl"].width == 1024


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    own = write(
        tmp_path,
        """
        [one]
        source = "nowhere"
        family = "sd1"
        pipelines = ["txt2img"]
        [two]
        source = "a/b"
        family = "sd3"
        pipelines = ["txt2img"]
        widht = 512
        [three]
        source = "a/b"
        family = "sdxl"
        pipelines = ["txt2img", "upscale"]
        [four]
        source = "a/b"
        sources = { inpaint = "c/d" }
        family = "sd1"
        pipelines = ["txt2img"]
        [five]
        source = "a/b"
        family = "sd1"
        pipelines = ["img2img"]
        steps = 1
        strength = 0.5
        ["si x"]
        source = "a/b"
        family = "sd1"
        pipelines = ["txt2img"]
        [seven]
        source = "a/b"
        family = "sd1"
        pipelines = ["txt2img"]
        aliases = ["sdxl"]
        """,
    )
    with pytest.raises(SettingsError) as caught:
        Catalogue.load(own)
    message = caught.value.message
    for part in (
        f"{own}: one.source: not a source",
        f"{own}: two.family",
        f"{own}: two.widht: no such field; did you mean width?",
        f"{own}: three: family sdxl has no upscale in diffusers",
        f"{own}: four: sources for inpaint",
        f"{own}: five: steps 1 x strength 0.5 leave img2img no step",
        f"{own}: si x: an alias is",
        f"{own}: seven.aliases: sdxl already names sdxl",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("content", "expected"),
    [("[one\n", "not TOML: Expected"), ("x = 1\n", "x: expected a table"), ("\xff", "not TOML")],
)
def test_unreadable_files(tmp_path: Path, content: str, expected: str) -> None:
    path = tmp_path / "models.toml"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(SettingsError, match=expected):
        Catalogue.load(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.toml: No such file"):
        Catalogue.load(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("builtin:tiny", "builtin"),
        ("builtin:tiny/inpaint", "builtin"),
        ("owner/name", "hub"),
        ("CompVis/stable-diffusion-v1-4", "hub"),
        ("/models/a", "folder"),
        ("./a", "folder"),
        ("../a", "folder"),
        ("~/a", "folder"),
    ],
)
def test_sources(text: str, kind: str) -> None:
    assert parse_source(text).kind == kind


@pytest.mark.parametrize("text", ["", "name", "a/b/c", "builtin:", "builtin:../x", "http://x/y", "owner/../x", "-a/b"])
def test_what_is_no_source(text: str) -> None:
    with pytest.raises(ValueError, match="not a source"):
        parse_source(text)


def test_loading_is_quick() -> None:
    Catalogue.load()
    fastest = min(_seconds() for _ in range(5))
    assert fastest < 0.02


def _seconds() -> float:
    started = time.perf_counter()
    Catalogue.load()
    return time.perf_counter() - started


def test_it_needs_no_torch() -> None:
    code = "import sys, services.catalogue as c; c.Catalogue.load(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_entry_defaults() -> None:
    entry = ModelEntry(source="a/b", family="sd1", pipelines=("txt2img",))
    assert (entry.width, entry.steps, entry.guidance_scale, entry.scheduler) == (512, 50, 7.5, None)
