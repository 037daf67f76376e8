"""For the tests of your app: real credentials, the real guards, and time that a test moves.

There is no switch that turns a guard off. What logs somebody in, moves a clock or listens refuses
every app that is not being tested (``app.testing``). The suite for writers of stores is
:mod:`flask_jam.testing.stores`; only that one needs pytest.
"""

from .assertions import assert_all_protected as assert_all_protected
from .assertions import assert_refused as assert_refused
from .client import JamClient as JamClient
from .clock import Clock as Clock
from .clock import frozen_time as frozen_time
from .events import capture as capture
from .stand_in import StandIn as StandIn
