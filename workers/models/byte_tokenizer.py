"""A tokenizer of 514 tokens that reads any text in any script: CLIP's byte-level BPE without a single merge.

CLIP's vocabulary starts with the 256 bytes, each inside a word and each at a word's end (`</w>`); its 48,894
merges are left out, so every byte of the UTF-8 text is one token.
"""

import json
from pathlib import Path

BEGIN = 512
END = 513
VOCABULARY = 514


def byte_letters() -> list[str]:
    """The 256 printable letters that stand for the bytes, in CLIP's order (GPT-2's `bytes_to_unicode`)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + place) for place in range(len(others))]


def save_byte_tokenizer(folder: Path) -> None:
    """Write it in the files that `CLIPTokenizer.from_pretrained` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = byte_letters()
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    }
    _write(folder / "vocab.json", json.dumps(vocabulary))
    _write(folder / "merges.txt", "#version: 0.2\n")
    _write(folder / "tokenizer_config.json", json.dumps(config, indent=2, sort_keys=True))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
