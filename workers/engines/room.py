"""Opens the engine room that the settings name."""

import importlib

from schemas.errors import SettingsError
from services.catalogue import Catalogue
from services.settings import Settings
from workers.engines.base import Renderer


def open_room(settings: Settings) -> Renderer:
    """What renders in this process: diffusers, or `module:attribute`, called with the settings.

    The libraries behind it are imported here and not before: that takes seconds.

    Raises:
        SettingsError: no such engine, its libraries are missing, its device is, or the catalogue is wrong.
    """
    name = settings.worker.engine
    if name == "diffusers":
        catalogue = Catalogue.load(settings.models_file)
        try:
            from workers.engines.diffusers_room import DiffusersRoom
        except ImportError as error:
            raise SettingsError(f"worker.engine diffusers: {error}", hint="pip install 'promptmill[worker]'") from None
        return DiffusersRoom(settings, catalogue)
    module, _, attribute = name.partition(":")
    try:
        room: Renderer = getattr(importlib.import_module(module), attribute)(settings)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(f"worker.engine {name!r}: {error}", hint="diffusers, or module:attribute") from None
    return room
