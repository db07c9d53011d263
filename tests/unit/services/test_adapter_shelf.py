"""LoRAs and embeddings in the catalogue."""

from pathlib import Path

import pytest

from schemas.errors import SettingsError
from services.catalogue import Catalogue


def load(folder: Path, text: str) -> Catalogue:
    path = folder / "models.toml"
    path.write_text(text)
    return Catalogue.load(path)


def test_the_shipped_ones_need_no_network() -> None:
    catalogue = Catalogue.load()
    sources = [entry.source for _, entry in (*catalogue.loras, *catalogue.embeddings)]
    assert sources
    assert all(source.startswith("builtin:") for source in sources)


def test_a_file_of_the_users_own_adds_and_overrides(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        '[loras.ink]\nsource = "owner/name"\nfile = "a/ink.safetensors"\nfamily = "sdxl"\naliases = ["inked"]\n'
        '[loras.tiny-lora]\nnote = "mine"\n',
    )
    assert found.loras.resolve("inked") == ("ink", found.loras.entries["ink"])
    assert (found.loras.entries["tiny-lora"].note, found.loras.entries["tiny-lora"].family) == ("mine", "sd1")
    assert "tiny" in found.entries


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('[loras.a]\nsource = "owner/name"\nfamily = "sd1"', "loras.a: file: which one of the hub repository"),
        ('[loras.a]\nsource = "o/n"\nfile = "a.bin"\nfamily = "sd1"', "loras.a.file: safetensors alone are read"),
        ('[loras.a]\nsource = "./a.ckpt"\nfamily = "sd1"', "loras.a: safetensors alone are read"),
        ('[loras.a]\nsource = "o/n"\nfile = "../a.safetensors"\nfamily = "sd1"', "a file inside the source"),
        ('[loras.a]\nsource = "./a.safetensors"', "loras.a.family: Field required"),
        ('[embeddings.a]\nsource = "./a"\nfamily = "sd1"\nsha = "1"', "embeddings.a.sha: no such field; did you mean"),
        ('[embeddings.a]\nsource = "./a"\nfamily = "sd1"\nsha256 = "1"', "embeddings.a.sha256: String should match"),
        ('[loras."a b"]\nsource = "./a"\nfamily = "sd1"', "a name is 1 to 80 of letters"),
        ('[loras.a]\nsource = "./a"\nfamily = "sd1"\naliases = ["tiny-lora"]', "'tiny-lora' names another"),
        ("loras = 1", "loras: expected tables [loras.NAME]"),
        ("[loras]\na = 1", "loras.a: expected a table [loras.a] with source and family"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_field(tmp_path: Path, table: str, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, table)
    assert told in caught.value.message
    assert str(tmp_path) in caught.value.message


def test_an_unknown_name_gives_near_ones() -> None:
    with pytest.raises(SettingsError, match="no LoRA 'tiny-lorra' in the catalogue; did you mean tiny-lora") as caught:
        Catalogue.load().loras.resolve("tiny-lorra")
    assert caught.value.hint == "promptmill models list"
