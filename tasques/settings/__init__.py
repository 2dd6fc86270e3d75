"""The settings of a server: from defaults, a YAML file and the environment.

`load` gives them, `masked` shows them without secrets. Only the entry points import this package;
everybody else receives plain values.
"""

from tasques.settings.addresses import BindAddress
from tasques.settings.errors import Problem, SettingsError
from tasques.settings.files import DEFAULT_LOCATIONS
from tasques.settings.loading import LoadedSettings, load
from tasques.settings.masking import masked
from tasques.settings.model import ServerSettings

__all__ = [
    "DEFAULT_LOCATIONS",
    "BindAddress",
    "LoadedSettings",
    "Problem",
    "ServerSettings",
    "SettingsError",
    "load",
    "masked",
]
