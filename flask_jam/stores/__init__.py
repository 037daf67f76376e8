"""Where sessions, refresh families and revocations are kept.

Two stores come with the package: :mod:`~flask_jam.stores.memory` and
:mod:`~flask_jam.stores.redis`. To write another, implement :class:`Store` and run the suite of
:mod:`flask_jam.testing.stores`.
"""

from .interface import Family as Family
from .interface import Kind as Kind
from .interface import Marks as Marks
from .interface import Session as Session
from .interface import Store as Store
