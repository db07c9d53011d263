"""LoRAs and embeddings: as plain diffusers has them, and no trace of them on other rows."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from plain_diffusers import MARKS, MakeSlots, plain_picture, plain_pipeline, with_scheduler
from safetensors.torch import load_file, save_file

from schemas.errors import ModelUnavailable
from services.settings import load_settings
from workers.engines.room import open_room
from workers.models.builtin_adapters import builtin_file
from workers.models.loras import MOST_HELD, names_in

pytestmark = MARKS

CALL = {"num_inference_steps": 2, "guidance_scale": 5.0, "width": 64, "height": 64}
LORAS = {"tiny": "tiny-lora", "tiny-xl": "tiny-xl-lora"}
WORDS = {"tiny": "tiny-word", "tiny-xl": "tiny-xl-word"}


@pytest.fixture
def rendered(room: Any, slots: MakeSlots) -> Callable[..., Any]:
    def render(pipeline: str = "txt2img", **fields: Any) -> Any:
        fields.setdefault("steps", 2)
        return room.render(slots(pipeline, **fields), lambda: None)[0].pixels

    return render


def unet_alone(path: Path, to: Path) -> Path:
    """The part of a LoRA file that plain diffusers can load whatever peft is installed."""
    save_file({key: tensor for key, tensor in load_file(path).items() if key.startswith("unet.")}, to)
    return to


@pytest.fixture(scope="module")
def own_room(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Iterator[Any]:
    """A room whose catalogue has LoRAs and embeddings of many kinds, as local files."""
    folder = tmp_path_factory.mktemp("adapters")
    lora = builtin_file("tiny-lora", data_dir / "models")
    unet_alone(lora, folder / "unet.safetensors")
    whole = load_file(lora)
    texts = {key: tensor for key, tensor in whole.items() if key.startswith("text_encoder.")}
    save_file(texts, folder / "text.safetensors")
    save_file(kohya(whole), folder / "kohya.safetensors")
    save_file({"unet.down_blocks.9.attn.to_q.lora_A.weight": torch.ones(1, 4)}, folder / "elsewhere.safetensors")
    place = "text_encoder.text_model.encoder.layers.1.layer_norm1"  # peft finds out when layers before it are in
    norm = {f"{place}.lora_{end}.weight": torch.ones(shape) for end, shape in (("A", (1, 16)), ("B", (16, 1)))}
    save_file({**texts, **norm}, folder / "norm.safetensors")
    save_file({"other": torch.ones(1)}, folder / "other.safetensors")
    save_file({"wide": torch.ones(2, 99)}, folder / "wide.safetensors")
    save_file({"one": torch.ones(16), "two": torch.ones(16)}, folder / "two.safetensors")
    (folder / "broken.safetensors").write_bytes(b"\x05\0\0\0\0\0\0\0hello")
    (folder / "pickle.bin").write_bytes(b"\x80\x04.")
    names = ["unet", "text", "kohya", "elsewhere", "norm", "other", "broken", "gone"]
    tables = [f'[loras.{name}]\nsource = "./{name}.safetensors"\nfamily = "sd1"\n' for name in names]
    tables += [f'[loras.copy-{n}]\nsource = "./copy-{n}.safetensors"\nfamily = "sd1"\n' for n in range(MOST_HELD)]
    for number in range(MOST_HELD):
        save_file({key: tensor * (1 + number) for key, tensor in texts.items()}, folder / f"copy-{number}.safetensors")
    tables += [f'[embeddings.{name}]\nsource = "./{name}.safetensors"\nfamily = "sd1"\n' for name in ("wide", "two")]
    tables += [f'[loras.other-sum]\nsource = "./unet.safetensors"\nfamily = "sd1"\nsha256 = "{"0" * 64}"\n']
    (folder / "models.toml").write_text("\n".join(tables))
    settings = load_settings(
        models_file=folder / "models.toml", data_dir=data_dir, worker={"device": "cpu", "exact": True}
    )
    return open_room(settings)


def kohya(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same LoRA as kohya's trainer writes it, with half the scale as `alpha`."""
    found = {}
    for key, tensor in tensors.items():
        path, end = key.removesuffix(".weight").rsplit(".", 1)
        name = path.replace("text_encoder.", "lora_te.").replace("unet.", "lora_unet.").replace(".", "_")
        found[f"{name}.{'lora_down' if end == 'lora_A' else 'lora_up'}.weight"] = tensor
        found[f"{name}.alpha"] = torch.tensor(2.0)
    return found


@pytest.mark.parametrize("model", ["tiny", "tiny-xl"])
def test_a_lora_of_the_unet_is_what_plain_diffusers_makes_of_it(
    roots: Callable[[str], Path], data_dir: Path, tmp_path: Path, slots: MakeSlots, model: str
) -> None:
    file = unet_alone(builtin_file(LORAS[model], data_dir / "models"), tmp_path / "lora.safetensors")
    family = {"tiny": "sd1", "tiny-xl": "sdxl"}[model]
    (tmp_path / "models.toml").write_text(f'[loras.own]\nsource = "{file}"\nfamily = "{family}"\n')
    mine = open_room(
        load_settings(models_file=tmp_path / "models.toml", data_dir=data_dir, worker={"device": "cpu", "exact": True})
    )
    rows = slots(model=model, steps=2, loras=[{"name": "own", "weight": 0.7}])
    (got,) = mine.render(rows, lambda: None)
    pipe = plain_pipeline(roots(model), model, "txt2img")
    pipe.load_lora_weights(str(tmp_path), weight_name=file.name, adapter_name="own")
    pipe.set_adapters(["own"], [0.7])
    expected = plain_picture(
        with_scheduler(pipe, pipe.scheduler, None), 11, prompt="a red square left of a blue circle", **CALL
    )
    np.testing.assert_array_equal(got.pixels, expected)


@pytest.mark.parametrize("model", ["tiny", "tiny-xl"])
def test_unet_and_text_encoders_are_those_with_its_product_added(
    rendered: Callable[..., Any], roots: Callable[[str], Path], data_dir: Path, model: str
) -> None:
    got = rendered(model=model, loras=[{"name": LORAS[model], "weight": 0.7}])
    pipe = plain_pipeline(roots(model), model, "txt2img")
    tensors = load_file(builtin_file(LORAS[model], data_dir / "models"))
    with torch.no_grad():
        for key in [key for key in tensors if key.endswith("lora_A.weight")]:
            part, path = key.removesuffix(".lora_A.weight").split(".", 1)
            inner = path if part in ("unet", "text_encoder_2") else path.removeprefix("text_model.")
            layer = getattr(pipe, part).get_submodule(inner)
            layer.weight += 0.7 * (tensors[key.replace("lora_A", "lora_B")] @ tensors[key])
    expected = plain_picture(
        with_scheduler(pipe, pipe.scheduler, None), 11, prompt="a red square left of a blue circle", **CALL
    )
    assert np.abs(got.astype(int) - expected.astype(int)).max() <= 1


@pytest.mark.parametrize("pipeline", ["txt2img", "inpaint"])
@pytest.mark.parametrize("model", ["tiny", "tiny-xl"])
def test_rows_without_it_are_the_same_before_and_after(rendered: Callable[..., Any], model: str, pipeline: str) -> None:
    fields = {"pipeline": pipeline, "model": model, "strength": 1.0 if pipeline == "inpaint" else None}
    lora = {"loras": [{"name": LORAS[model], "weight": 0.8}]}
    word = {"embeddings": [WORDS[model]], "prompt": f"a {WORDS[model]} fox"}
    before = rendered(**fields)
    bare = rendered(**fields, prompt=word["prompt"])
    first = rendered(**fields, **lora)
    spoken = rendered(**fields, **word)
    np.testing.assert_array_equal(rendered(**fields), before)
    np.testing.assert_array_equal(rendered(**fields, prompt=word["prompt"]), bare)
    np.testing.assert_array_equal(rendered(**fields, **lora), first)
    np.testing.assert_array_equal(rendered(**fields, **word), spoken)
    assert (first != before).any()
    assert (spoken != bare).any()


def test_a_model_at_rest_asks_for_gradients_as_before(own_room: Any, slots: MakeSlots) -> None:
    """On some processors matrices are multiplied in another order where no gradients are asked for."""

    def asking() -> list[list[bool]]:
        pipe = own_room._pool.get("tiny").model.pipelines["txt2img"]
        own = [
            [p for n, p in network.named_parameters() if "lora_" not in n] for network in (pipe.unet, pipe.text_encoder)
        ]
        return [[weight.requires_grad for weight in weights] for weights in own]

    own_room.render(slots(steps=1), lambda: None)
    before = asking()
    assert all(map(all, before))
    for names in (["unet"], ["unet", "text"], [f"copy-{number}" for number in range(MOST_HELD)], ["text"]):
        for name in names:
            own_room.render(slots(steps=1, loras=[{"name": name, "weight": 0.5}]), lambda: None)
            assert asking() == before
    with pytest.raises(ModelUnavailable):
        own_room.render(slots(steps=1, loras=[{"name": "elsewhere"}]), lambda: None)
    assert asking() == before


def test_the_weight_counts_and_none_is_none(rendered: Callable[..., Any]) -> None:
    pictures = {w: rendered(loras=[{"name": "tiny-lora", "weight": w}]).tobytes() for w in (-1.0, 0.0, 0.4, 1.0)}
    assert len(set(pictures.values())) == 4
    assert pictures[0.0] == rendered().tobytes()


def test_other_loras_in_the_network_change_nothing(own_room: Any, slots: MakeSlots) -> None:
    def render(*names: str) -> Any:
        uses = [{"name": name, "weight": 0.5} for name in names]
        return own_room.render(slots(steps=2, loras=uses), lambda: None)[0].pixels

    without, alone = render(), render("unet")
    both = render("unet", "text")
    render("text")
    np.testing.assert_array_equal(render("unet"), alone)
    np.testing.assert_array_equal(render(), without)
    assert (both != alone).any()
    for number in range(MOST_HELD):
        render(f"copy-{number}")
    pipe = own_room._pool.get("tiny").model.pipelines["txt2img"]
    assert len(names_in(pipe.text_encoder)) <= MOST_HELD
    np.testing.assert_array_equal(render("unet", "text"), both)
    np.testing.assert_array_equal(render(), without)


def test_kohyas_format_with_its_scale(own_room: Any, slots: MakeSlots) -> None:
    def render(name: str, weight: float) -> Any:
        return own_room.render(slots(steps=2, loras=[{"name": name, "weight": weight}]), lambda: None)[0].pixels

    half = render("tiny-lora", 0.4).astype(int)
    assert np.abs(render("kohya", 0.8).astype(int) - half).max() <= 1  # alpha 2 at rank 4 is half of it
    assert (render("kohya", 0.4) != half).any()


@pytest.mark.parametrize("model", ["tiny", "tiny-xl"])
@pytest.mark.parametrize("weighting", [None, "compel"])
def test_an_embedding_is_what_plain_diffusers_makes_of_it(
    rendered: Callable[..., Any], roots: Callable[[str], Path], data_dir: Path, model: str, weighting: str | None
) -> None:
    word = WORDS[model]
    got = rendered(model=model, prompt=f"a {word} fox", embeddings=[word], weighting=weighting)
    pipe = plain_pipeline(roots(model), model, "txt2img")
    file = builtin_file(word, data_dir / "models")
    if model == "tiny":
        pipe.load_textual_inversion(str(file), token=word, use_safetensors=True)
    else:
        parts = load_file(file)
        for part, number in (("clip_l", ""), ("clip_g", "_2")):
            tokenizer, encoder = getattr(pipe, f"tokenizer{number}"), getattr(pipe, f"text_encoder{number}")
            pipe.load_textual_inversion(parts[part], token=word, text_encoder=encoder, tokenizer=tokenizer)
    expected = plain_picture(with_scheduler(pipe, pipe.scheduler, None), 11, prompt=f"a {word} fox", **CALL)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"loras": [{"name": "elsewhere"}]}, "LoRA elsewhere"),
        ({"loras": [{"name": "norm"}]}, "LoRA norm cannot be put into the model"),
        ({"loras": [{"name": "other"}]}, "tensors that are not a LoRA's"),
        ({"loras": [{"name": "broken"}]}, "is no safetensors file"),
        ({"loras": [{"name": "gone"}]}, "no file .*gone.safetensors on this machine"),
        ({"loras": [{"name": "never"}]}, "no LoRA 'never' in the catalogue"),
        ({"loras": [{"name": "other-sum"}]}, "and the catalogue wants 0000"),
        ({"loras": [{"name": "tiny-xl-lora"}]}, "LoRA tiny-xl-lora"),
        ({"embeddings": ["wide"]}, "vectors of 99 numbers, and the text encoder wants 16"),
        ({"embeddings": ["two"]}, "should hold one tensor, and holds one, two"),
        ({"embeddings": ["never"]}, "no embedding 'never' in the catalogue"),
    ],
    ids=str,
)
def test_what_does_not_fit_fails_its_row_and_leaves_no_trace(
    own_room: Any, slots: MakeSlots, fields: dict[str, Any], told: str
) -> None:
    before = own_room.render(slots(steps=2), lambda: None)[0].pixels
    with pytest.raises(ModelUnavailable, match=told) as caught:
        own_room.render(slots(steps=2, **fields), lambda: None)
    assert caught.value.hint
    pipe = own_room._pool.get("tiny").model.pipelines["txt2img"]
    networks = (pipe.unet, pipe.text_encoder)
    lora_layers = [path for network in networks for path, _ in network.named_modules() if "lora" in path]
    assert [names_in(network) for network in networks] == [[], []]
    assert lora_layers == []
    np.testing.assert_array_equal(own_room.render(slots(steps=2), lambda: None)[0].pixels, before)


def test_results_say_which_file_it_was(room: Any, slots: MakeSlots) -> None:
    row = slots(loras=[{"name": "tiny-lora", "weight": 0.5}], embeddings=["tiny-word"])[0].row
    lora, word = room.info(row).adapters
    assert (lora.kind, lora.name, lora.source, len(lora.sha256)) == ("lora", "tiny-lora", "builtin:tiny-lora", 64)
    assert (word.kind, word.name) == ("embedding", "tiny-word")
    assert "peft" in room.info(row).versions
    assert room.info(slots()[0].row).adapters == ()
