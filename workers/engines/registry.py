"""Every pipeline that this worker can run."""

from collections.abc import Mapping
from types import MappingProxyType

from schemas.rows import PipelineName
from workers.engines.depth2img import DEPTH2IMG
from workers.engines.engine import Engine
from workers.engines.img2img import IMG2IMG
from workers.engines.inpaint import INPAINT
from workers.engines.txt2img import TXT2IMG
from workers.engines.upscale import UPSCALE

ENGINES: Mapping[PipelineName, Engine] = MappingProxyType(
    {engine.pipeline: engine for engine in (TXT2IMG, IMG2IMG, INPAINT, UPSCALE, DEPTH2IMG)}
)
