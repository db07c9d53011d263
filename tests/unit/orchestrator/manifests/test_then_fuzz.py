"""Whatever stands in `then`: rows or faults that name it, never a traceback."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.manifests.building import RowBuilder
from orchestrator.manifests.faults import Faults
from orchestrator.manifests.options import ManifestOptions
from schemas.rows import STAGE_TYPES, StageBase

SCALARS: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=8)
)
NAMES = st.sampled_from(
    [*StageBase.model_fields, "pipeline", "mask", "image", "strength", "width", "cfg_scale", "then"]
)
# Documents in YAML have keys that are no text.
KEYS: st.SearchStrategy[Any] = NAMES | st.text(max_size=6) | st.integers() | st.none() | st.booleans()
VALUES = st.recursive(
    SCALARS | st.sampled_from([*STAGE_TYPES, "txt2img", "euler", "s3://a/b", "DPM++ 2M"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
STAGE = st.dictionaries(KEYS, VALUES, max_size=5) | st.builds(
    lambda pipeline, rest: {"pipeline": pipeline} | rest,
    st.sampled_from([*STAGE_TYPES]),
    st.dictionaries(NAMES, VALUES, max_size=4),
)
THEN = VALUES | st.lists(STAGE | VALUES, max_size=10) | st.lists(STAGE, max_size=3)


def faults_of(then: Any) -> tuple[bool, Faults]:
    faults = Faults()
    builder = RowBuilder(ManifestOptions(defaults={"model": "tiny"}), faults)
    row = builder.build(7, {"prompt": "a", "then": then}, None)
    return row is not None, faults


@settings(max_examples=120, deadline=None)
@given(THEN)
def test_a_row_is_sound_or_has_faults_in_then(then: Any) -> None:
    sound, faults = faults_of(then)
    assert sound == (faults.total == 0)
    assert all(fault.field and fault.field.startswith("then") for fault in faults.kept), faults.kept


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=30) | THEN.map(lambda value: json.dumps(value, skipkeys=True)))
def test_as_text_too(text: str) -> None:
    sound, faults = faults_of(text)
    assert sound == (faults.total == 0)
