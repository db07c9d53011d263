"""The engines of the fault suite: pictures without a model, and the tiny model with faults on request."""

FLAT = "workers.engines.flat:FlatRoom"
TINY = "tests.faults.tiny_room:TinyRoom"
SLOW_STEPS = {"PROMPTMILL_FLAT_STEP_SECONDS": "0.05"}  # both read it
SLOWER_STEPS = {"PROMPTMILL_FLAT_STEP_SECONDS": "0.3"}
# A lease that only a fault can lose: where a loss is a failure, a machine that does much else must not make one.
PATIENT = {"PROMPTMILL_WORKER__LEASE_SECONDS": "20"}
