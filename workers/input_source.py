"""Reads the bytes of a row's inputs, wherever they may come from. Nothing here opens a file of this machine."""

import hashlib
from dataclasses import dataclass

from schemas import keys
from schemas.errors import BucketMissing, InvalidInput, ObjectMissing, StoreRefused
from schemas.planned import InputImage
from services.input_addresses import InputRules, is_s3, is_web, shown
from services.input_images import ImageLimits
from services.settings import Settings
from services.store import ObjectStore
from workers.web_images import WebImages


@dataclass(frozen=True)
class InputSource:
    """Uploaded inputs, objects of other buckets and images on the web, as far as the rules allow. Thread-safe."""

    store: ObjectStore
    rules: InputRules
    web: WebImages | None = None

    @classmethod
    def of(cls, store: ObjectStore, settings: Settings) -> "InputSource":
        """By the settings of this process."""
        rules = settings.input_rules
        return cls(store, rules, WebImages(rules) if rules.https else None)

    def read(self, planned: InputImage, limits: ImageLimits, name: str) -> bytes:
        """The bytes of an input that the plan names; `name` is its field's, for messages.

        Raises:
            InvalidInput: missing, forbidden, too large, or not what it was when the job was submitted.
            ServiceError: the store is away; not the row's fault.
        """
        where = f"{name} {shown(planned.address)}"
        data = self._bytes(planned.address, limits.max_bytes, where)
        if len(data) > limits.max_bytes:
            raise InvalidInput(f"{where} is larger than {limits.max_bytes:,} bytes")
        if planned.sha256 is not None and hashlib.sha256(data).hexdigest() != planned.sha256:
            raise InvalidInput(f"{where} is not the file that was submitted: its sha256 differs")
        return data

    def _bytes(self, address: str, limit: int, where: str) -> bytes:
        try:
            if is_s3(address) or is_web(address):
                self.rules.check(address)
            if is_web(address) and self.web is not None:
                return self.web.read(address, limit)
            if is_s3(address):
                bucket, _, key = address.removeprefix("s3://").partition("/")
                return self.store.get_foreign(bucket, key, limit)
        except InvalidInput as error:
            raise InvalidInput(f"{where} cannot be read: {error.message}") from None
        except (ObjectMissing, BucketMissing, StoreRefused) as error:
            # A bucket that cannot be read is the row's fault where the row named it; our own one is everybody's.
            raise InvalidInput(f"{where} cannot be read: {error}") from None
        if not keys.is_input_image(address):
            raise InvalidInput(f"{where} is no input that was uploaded with a job")
        try:
            return self.store.get_at_most(address, limit)
        except ObjectMissing as error:
            raise InvalidInput(f"{where} cannot be read: {error}") from None
