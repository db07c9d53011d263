"""What another tool says of an image -> fields of a `txt2img` row, and what has no field.

Nothing is guessed: what cannot be said in a row is named as left out, and an image whose input is unknown is no row.
"""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from orchestrator.importing.samplers import scheduler_named
from schemas.adapters import LoraUse
from schemas.rows import Txt2Img
from schemas.samplers import SchedulerName
from services.prompts.lora_tags import take_tags

# A1111's own schedule of a sampler where the user left it at "Automatic" (sd_samplers_kdiffusion.py, from 1.9 on).
_A1111_AUTOMATIC = {
    "DPM++ 2M": "Karras",
    "DPM++ SDE": "Karras",
    "DPM2": "Karras",
    "DPM2 a": "Karras",
    "DPM++ 2M SDE": "Exponential",
}
_PLAIN = {"Steps": "steps", "CFG scale": "guidance_scale", "Seed": "seed", "Model": "model"}
_HIRES = ("Hires upscale", "Hires resize", "Hires steps", "First pass size")
_INPAINT = ("Mask blur", "Masked content", "Inpaint area", "Mask mode")
_NO_SETTING = ("Version",)
# Every token of CLIP is a letter at least, and it reads 75.
_SURELY_READ = 75
_MOST_MODEL = 200  # characters of a model's name, with its folders


class ForeignRow(NamedTuple):
    """Fields of a row of another tool, and what was left out: its name there -> its value."""

    values: dict[str, Any]
    left_out: dict[str, str]


class NotTaken(Exception):
    """Why an image is no row."""


def from_infotext(prompt: str, negative: str, settings: Mapping[str, str]) -> ForeignRow:
    """Fields from A1111's infotext, taken apart.

    Raises:
        NotTaken: the image was made from another one, which no infotext names, or it has no prompt.
    """
    own = settings.get("Version", "").startswith("promptmill")
    loras: tuple[LoraUse, ...] = ()
    if own:  # what A1111 would take from the prompt, ours says by fields
        prompt, loras, _ = take_tags(prompt)
    builder = ForeignRowBuilder(prompt, negative)
    rest = {name: value for name, value in settings.items() if name not in _NO_SETTING}
    builder.take("weighting", rest.pop("Weighting", None) if own else _weighting(prompt, negative), "Weighting")
    builder.take("loras", loras or None, "loras")
    hires = any(name in rest for name in _HIRES)
    if any(name in rest for name in _INPAINT):
        raise NotTaken("made by inpaint: its input image and mask are not named")
    if "Denoising strength" in rest and not hires:
        raise NotTaken("made by img2img: its input image is not named")
    for name, field in _PLAIN.items():
        if name in rest:
            builder.take(field, rest.pop(name), name)
    _take_sampler(builder, rest, own=own)
    if "Size" in rest:
        builder.take_size(rest.pop("Size"))
    if "Clip skip" in rest:
        # A1111 counts from 1, where 1 leaves out none; diffusers counts the layers that it leaves out.
        text = rest.pop("Clip skip")
        builder.take("clip_skip", int(text) - 1 if text.isdigit() and int(text) > 1 else None, "Clip skip", text)
    for name, value in rest.items():
        builder.leave(name, value)
    return builder.row()


def _weighting(*texts: str) -> str | None:
    """A1111 reads every prompt with weights and to its end; where it has neither, a plain one is the same."""
    return "a1111" if any(len(text) > _SURELY_READ or any(m in text for m in "()[]<\\") for text in texts) else None


def _take_sampler(builder: "ForeignRowBuilder", rest: dict[str, str], *, own: bool) -> None:
    name, schedule = rest.pop("Sampler", ""), rest.pop("Schedule type", "")
    if own and name == "Default":
        return
    if schedule == "Automatic" and not own:
        schedule = _A1111_AUTOMATIC.get(name, schedule)
    builder.take_sampler(name, schedule)


class ForeignRowBuilder:
    """A row being put together; every value passes the schema, or is left out by its name.

    Raises:
        NotTaken: no prompt.
    """

    def __init__(self, prompt: str, negative: str) -> None:
        self._values: dict[str, Any] = {}
        self._left_out: dict[str, str] = {}
        if not prompt.strip():
            raise NotTaken("it names no prompt")
        self.take("prompt", prompt, "prompt")
        if "prompt" not in self._values:
            raise NotTaken("its prompt is longer than a row can have, or broken text")
        if negative.strip():
            self.take("negative_prompt", negative, "negative prompt")

    def take(self, field: str, value: Any, name: str, shown: Any = None) -> None:
        """A field's value, by the name that the other tool has for it. None: not given."""
        if value is None:
            return
        info = Txt2Img.model_fields[field]
        if field == "model":  # kept as it is named: whoever reads the manifest has to see it
            self._take_model(_text(value), name)
            return
        try:
            annotated: Any = Annotated[info.annotation, info]
            adapter: TypeAdapter[Any] = TypeAdapter(annotated)
            self._values[field] = adapter.dump_python(adapter.validate_python(_plain_number(value)), mode="json")
        except ValidationError:
            self.leave(name, value if shown is None else shown)

    def _take_model(self, text: str, name: str) -> None:
        if len(text) > _MOST_MODEL:
            self.leave(name, text)
        elif text:
            self._values["model"] = text

    def take_sampler(self, name: str, schedule: str) -> None:
        """The sampler and its noise schedule, where they have a name of ours."""
        if not name:
            return
        found: SchedulerName | None = scheduler_named(name, schedule)
        if found is None:
            self.leave("sampler", f"{name} {schedule}".strip())
        else:
            self._values["scheduler"] = found

    def take_size(self, text: str) -> None:
        """`512x768`."""
        width, _, height = text.replace(" ", "").partition("x")
        self.take_sides(width, height, text)

    def take_sides(self, width: Any, height: Any, shown: str = "") -> None:
        """Both sides, or neither: a picture with one side of another's is another picture."""
        self.take("width", width, "size")
        self.take("height", height, "size")
        if not {"width", "height"} <= self._values.keys():
            self._values.pop("width", None)
            self._values.pop("height", None)
            self.leave("size", shown or f"{width}x{height}")

    def leave(self, name: str, value: Any) -> None:
        """What has no field here."""
        text = _text(value)
        if value is not None and text not in ("", "[]", "{}"):
            self._left_out[_text(name)[:80]] = text[:200]

    def row(self) -> ForeignRow:
        """What was put together."""
        return ForeignRow(self._values, self._left_out)


def _plain_number(value: Any) -> Any:
    """`7.0` is the whole number 7 where one is wanted, and a text of it."""
    return value.strip() if isinstance(value, str) else value


def _text(value: Any) -> str:
    """As a text that every format can hold: JSON can name half of a pair of surrogates, which is no character."""
    return str(value).strip().encode(errors="replace").decode()
