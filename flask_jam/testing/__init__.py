"""Testing tools for your app: real credentials, the real guards, and a clock to move.

No switch turns a guard off. Tools that log a user in, move a clock or record signals refuse an app
that is not being tested (``app.testing``). The suite for writers of stores is
:mod:`flask_jam.testing.stores`; only that one needs pytest.
"""

from .assertions import assert_all_protected as assert_all_protected
from .assertions import assert_refused as assert_refused
from .client import JamClient as JamClient
from .clock import Clock as Clock
from .clock import frozen_time as frozen_time
from .events import capture as capture
from .stand_in import StandIn as StandIn
