"""All images of a fetched folder on one sheet, with their prompts: `python examples/contact_sheet.py demo-out`."""

import json
import sys
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SIDE, TEXT, GAP, COLUMNS = 192, 52, 16, 4


def cell(folder: Path, line: dict[str, str]) -> Image.Image:
    """One image, small ones enlarged without smoothing, above its pipeline and prompt."""
    made = Image.new("RGB", (SIDE, SIDE + TEXT), "white")
    with Image.open(folder / line["file_name"]) as image:
        times = min(SIDE / image.width, SIDE / image.height)
        how = Image.Resampling.NEAREST if times > 1 else Image.Resampling.LANCZOS
        shown = image.convert("RGB").resize((round(image.width * times), round(image.height * times)), how)
    made.paste(shown, ((SIDE - shown.width) // 2, (SIDE - shown.height) // 2))
    prompt = line["prompt"] or ""
    words = prompt if prompt.isascii() else line["id"]  # Pillow's own font has no other letters
    words = "\n".join([line["pipeline"], *textwrap.wrap(words, 32)[:3]])
    ImageDraw.Draw(made).text((0, SIDE + 3), words, "black", ImageFont.load_default(11), spacing=1)
    return made


def main(folder: Path) -> None:
    """Write sheet.png into the folder that `promptmill fetch` or `run` made."""
    lines = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    rows = -(-len(lines) // COLUMNS)
    size = GAP + COLUMNS * (SIDE + GAP), GAP + rows * (SIDE + TEXT + GAP)
    sheet = Image.new("RGB", size, "white")
    for number, line in enumerate(lines):
        row, column = divmod(number, COLUMNS)
        sheet.paste(cell(folder, line), (GAP + column * (SIDE + GAP), GAP + row * (SIDE + TEXT + GAP)))
    sheet.save(folder / "sheet.png")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-out"))
