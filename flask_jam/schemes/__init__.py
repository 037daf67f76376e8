"""Authentication schemes: the interface to write your own, and those of the package.

:mod:`~flask_jam.schemes.interface` has the contract, :mod:`~flask_jam.schemes.jwt` and
:mod:`~flask_jam.schemes.session` implement it on :mod:`~flask_jam.schemes.transport`, which reads
headers and cookies.
"""

from .interface import MALFORMED as MALFORMED
from .interface import MISSING as MISSING
from .interface import Requirement as Requirement
from .interface import Scheme as Scheme
from .outcome import Accepted as Accepted
from .outcome import Credential as Credential
