"""Small images with the metadata of promptmill and of other tools, and an import over them."""

import io
import json
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from orchestrator.importing.collect import Importer, ImportOptions
from orchestrator.importing.inputs_by_content import InputFiles, Source
from orchestrator.importing.report import ImportReport
from schemas.planned import PlannedRow
from schemas.result import RenderInfo
from services.catalogue import Catalogue
from services.image_metadata.carriers import exif_block
from services.image_metadata.record import StageRecord, format_record, image_record

RENDER = RenderInfo(
    device="cpu (1 threads)", dtype="float32", versions={}, model_source="x", model_revision=None, safety="keep"
)
INFOTEXT = """a (red:1.2) fox, 夜
Negative prompt: blurry
Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 42, Size: 512x768, Model hash: abc, \
Model: dreamshaper_8, Clip skip: 2, VAE: some.vae, Version: v1.10.1"""


def planned(**changes: Any) -> PlannedRow:
    values: dict[str, Any] = {
        "index": 3,
        "id": "fox",
        "pipeline": "txt2img",
        "model": "tiny",
        "prompt": "a fox",
        "width": 64,
        "height": 64,
        "steps": 4,
        "guidance_scale": 7.5,
        "seed": 10,
        "scheduler": None,
    }
    return PlannedRow.model_validate(values | changes)


def own_image(
    path: Path,
    row: PlannedRow,
    number: int = 0,
    inputs: dict[str, str] | None = None,
    *,
    stage: int | None = None,
    masks: dict[int, str] | None = None,
) -> Path:
    """An image of ours, without its real pixels; `stage` None: of the last one."""
    before = StageRecord(seed=row.seed, width=8, height=8, batch_size=1, slot=0, render=RENDER)
    record = image_record(
        row,
        number=number,
        seed=row.seed + number,
        width=row.width or 8,
        height=row.height or 8,
        batch_size=1,
        slot=0,
        inputs=inputs or {},
        render=RENDER,
        version="0.1.0",
        before=[before] * (len(row.then) if stage is None else stage),
        stage_masks=masks or {},
    )
    return png(path, promptmill=format_record(record))


def png(path: Path, **texts: str) -> Path:
    """A PNG with text chunks; two underscores stand for a dash."""
    info = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        info.add_text(name.replace("__", "-"), text)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return path


def jpeg(path: Path, infotext: str) -> Path:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, format="JPEG", exif=exif_block(infotext, None))
    path.write_bytes(file.getvalue())
    return path


def imported(
    *paths: Path, sources: tuple[Source, ...] = (), **options: Any
) -> tuple[list[dict[str, Any]], ImportReport]:
    """The rows that an import writes, and its report."""
    rows: list[dict[str, Any]] = []
    importer = Importer(ImportOptions(**options), Catalogue.load(), InputFiles(sources), rows.append)
    report = importer.run(paths)
    return rows, report


def comfy(**changes: Any) -> dict[str, str]:
    """A ComfyUI graph: checkpoint, two prompts, a latent, a sampler."""
    sampler = {
        "seed": 5,
        "steps": 25,
        "cfg": 6.5,
        "sampler_name": "dpmpp_2m",
        "scheduler": "karras",
        "denoise": 1.0,
        "model": ["4", 0],
        "positive": ["6", 0],
        "negative": ["7", 0],
        "latent_image": ["5", 0],
    }
    graph = {
        "3": {"class_type": "KSampler", "inputs": sampler | changes},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd/v1-5.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 640, "height": 512, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a lighthouse", "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "people", "clip": ["4", 1]}},
    }
    links = [
        [1, 4, 0, 3, 0, "MODEL"],
        [2, 6, 0, 3, 1, "CONDITIONING"],
        [3, 7, 0, 3, 2, "CONDITIONING"],
        [4, 5, 0, 3, 3, "LATENT"],
    ]
    return {"prompt": json.dumps(graph), "workflow": json.dumps({"links": links})}
