"""`<lora:name:0.8>` in a prompt, as A1111's extra networks write it."""

import re

from pydantic import ValidationError

from schemas.adapters import LoraUse
from services.prompts.weighted import Remark, fault, warning

# stable-diffusion-webui, modules/extra_networks.py.
_TAG = re.compile(r"<(\w+):([^<>]+)>")
_LORA_KINDS = ("lora", "lyco")


def take_tags(prompt: str) -> tuple[str, tuple[LoraUse, ...], tuple[Remark, ...]]:
    """The prompt without its tags, the LoRAs that they name, and what is to be told about them. Never raises."""
    if "<" not in prompt:
        return prompt, (), ()
    found: dict[str, LoraUse] = {}
    remarks: dict[Remark, None] = {}

    def take(tag: re.Match[str]) -> str:
        kind, (name, *numbers) = tag[1], tag[2].split(":")
        if kind not in _LORA_KINDS:
            remarks[warning(f"<{kind}:...> is left out: LoRAs alone are known here", "a tag that is no LoRA")] = None
            return ""
        try:
            use = LoraUse.model_validate({"name": name.strip(), "weight": numbers[0] if numbers else 1.0})
        except ValidationError:
            remarks[fault(f"{tag[0][:80]} is not <lora:NAME:WEIGHT>, weight from -10 to 10", "no LoRA tag")] = None
            return ""
        if len(numbers) > 1:
            remarks[warning("a LoRA has one weight here, for text encoder and UNet alike: the first counts")] = None
        if use.name in found:
            remarks[warning(f"<lora:{use.name}> stands there twice: the last counts", "a LoRA tag twice")] = None
        found[use.name] = use
        return ""

    text = _TAG.sub(take, prompt)
    return (text.strip() if text != prompt else prompt), tuple(found.values()), tuple(remarks)
