"""The engines of the fault suite: pictures without a model, and the tiny model with faults on request."""

FLAT = "workers.engines.flat:FlatRoom"
TINY = "tests.faults.tiny_room:TinyRoom"
SLOW_STEPS = {"PROMPTMILL_FLAT_STEP_SECONDS": "0.05"}  # both read it
