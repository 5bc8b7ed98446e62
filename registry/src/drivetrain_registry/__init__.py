"""Names to parts: which plugins are installed, and how to get from a string to one of them.

Knows nothing of torch and imports no plugin to learn its name.
"""

from drivetrain_registry.discovery import Entry as Entry
from drivetrain_registry.discovery import discover as discover
from drivetrain_registry.errors import AmbiguousNameError as AmbiguousNameError
from drivetrain_registry.errors import BrokenPluginError as BrokenPluginError
from drivetrain_registry.errors import DottedPathError as DottedPathError
from drivetrain_registry.errors import IncompatiblePluginError as IncompatiblePluginError
from drivetrain_registry.errors import MissingLibraryError as MissingLibraryError
from drivetrain_registry.errors import NameTakenError as NameTakenError
from drivetrain_registry.errors import RegistryError as RegistryError
from drivetrain_registry.errors import UnknownDistributionError as UnknownDistributionError
from drivetrain_registry.errors import UnknownNameError as UnknownNameError
from drivetrain_registry.errors import UsageError as UsageError
from drivetrain_registry.errors import WrongKindError as WrongKindError
from drivetrain_registry.families import Family as Family
from drivetrain_registry.families import NamedFamily as NamedFamily
from drivetrain_registry.kinds import API_VERSION as API_VERSION
from drivetrain_registry.kinds import KINDS as KINDS
from drivetrain_registry.kinds import Kind as Kind
from drivetrain_registry.registry import Registry as Registry
from drivetrain_registry.registry import Resolved as Resolved
from drivetrain_registry.registry import default_registry as default_registry
from drivetrain_registry.registry import register as register
