"""The built-in models: the same bytes each time, small, and any text in any script."""

import threading
from hashlib import sha256
from pathlib import Path

import pytest
import torch

from schemas.errors import LocalDiskError
from workers.models.builtin import builtin_folder
from workers.models.byte_tokenizer import VOCABULARY, byte_letters, save_byte_tokenizer
from workers.models.tiny import RECIPE

pytestmark = pytest.mark.engine


def digest(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.mark.parametrize("model", ["tiny", "tiny-2", "tiny-xl"])
def test_the_same_bytes_each_time(tmp_path: Path, model: str) -> None:
    torch.manual_seed(1)
    one = builtin_folder(model, tmp_path / "one").parent
    torch.manual_seed(2)
    other = builtin_folder(model, tmp_path / "other").parent
    assert digest(one) == digest(other)
    assert one.name == other.name
    weights = [file.stat().st_size for file in (one / "base").rglob("*.safetensors")]
    assert sum(weights) < 600_000


def test_weights_are_the_ones_that_the_recipe_makes(tmp_path: Path) -> None:
    """Results name `builtin:tiny`: its weights may change only together with RECIPE in workers.models.tiny."""
    from safetensors.numpy import load_file

    weights = load_file(builtin_folder("tiny", tmp_path) / "unet/diffusion_pytorch_model.safetensors")
    whole = sha256(b"".join(weights[name].tobytes() for name in sorted(weights)))
    assert (RECIPE, whole.hexdigest()[:16]) == (4, "95110700c9f75a6a")


def test_several_can_build_at_once(tmp_path: Path) -> None:
    found: list[Path] = []
    builders = [threading.Thread(target=lambda: found.append(builtin_folder("tiny-xl", tmp_path))) for _ in range(4)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert len(set(found)) == 1
    assert len(found) == 4
    assert [path.name for path in tmp_path.iterdir()] == [found[0].parent.name], "nothing half-built stays"


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LocalDiskError, match="Not a directory"):
        builtin_folder("tiny-xl", tmp_path / "file" / "cache")


@pytest.mark.parametrize(
    "text", ["a cat", "", "水彩の猫 🎨", "ﷺ\u202e\x00 naïve", "50% $5 #1 __x__ (a:1.3)", "x" * 4000]
)
def test_any_text_tokenizes(tmp_path: Path, text: str) -> None:
    from transformers import CLIPTokenizer

    save_byte_tokenizer(tmp_path)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    assert len(tokenizer) == VOCABULARY
    assert tokenizer.model_max_length == 77
    ids = tokenizer(text)["input_ids"]
    assert (ids[0], ids[-1]) == (512, 513)
    # No word is unknown: that would be END in the middle.
    assert 513 not in ids[:-1]
    assert len(ids) == 2 + len("".join(tokenizer.backend_tokenizer.normalizer.normalize_str(text).split()).encode())


def test_the_letters_are_those_of_clip() -> None:
    letters = byte_letters()
    assert len(set(letters)) == 256
    assert (letters[0], letters[93], letters[94], letters[188]) == ("!", "~", "¡", "Ā")
