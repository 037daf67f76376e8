"""Where sessions, refresh families, API keys and revocations are kept.

Two stores come with the package: :mod:`~flask_jam.stores.memory` and
:mod:`~flask_jam.stores.redis`. To write another, implement :class:`Store` and run the suite of
:mod:`flask_jam.testing.stores`.
"""

from .api_keys import ApiKey as ApiKey
from .api_keys import ApiKeyPage as ApiKeyPage
from .api_keys import KeyRotation as KeyRotation
from .api_keys import NewKey as NewKey
from .interface import Family as Family
from .interface import Kind as Kind
from .interface import Listed as Listed
from .interface import Marks as Marks
from .interface import Page as Page
from .interface import Session as Session
from .interface import Store as Store
