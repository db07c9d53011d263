"""Manifests: files of render requests -> valid rows, or every fault in them with its line.

```python
options = ManifestOptions(column_map=parse_map(["prompt=Prompt"]), defaults=parse_set(["model=tiny", "steps=4"]))
faults, tally = Faults(), Tally()
images = InputImages(path.parent, ImageLimits())
for row in images.attach(tally.count(read(path, options, faults)), faults):
    ...
faults.raise_if_any()
print(tally.summary())
```
"""

from orchestrator.manifests.building import CheckModel
from orchestrator.manifests.faults import Faults
from orchestrator.manifests.formats import detect_format, spool
from orchestrator.manifests.inputs import InputImages, LocalInput, RowInputs
from orchestrator.manifests.options import FORMATS, Format, ManifestOptions, ReadLimits, parse_map, parse_set
from orchestrator.manifests.reading import AuthoredRow, read
from orchestrator.manifests.summary import ManifestSummary, Tally

__all__ = [
    "FORMATS",
    "AuthoredRow",
    "CheckModel",
    "Faults",
    "Format",
    "InputImages",
    "LocalInput",
    "ManifestOptions",
    "ManifestSummary",
    "ReadLimits",
    "RowInputs",
    "Tally",
    "detect_format",
    "parse_map",
    "parse_set",
    "read",
    "spool",
]
