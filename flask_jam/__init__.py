"""Route protection for Flask."""

from . import signals as signals
from .errors import ConfigError as ConfigError
from .errors import JamError as JamError
from .errors import Reason as Reason
from .errors import SessionError as SessionError
from .errors import StoreUnavailable as StoreUnavailable
from .errors import TokenError as TokenError
from .extension import JamExtension as JamExtension
from .extension import JWTExtension as JWTExtension
from .extension import SessionExtension as SessionExtension
from .guards import Guard as Guard
from .guards import jwt_required as jwt_required
from .guards import public as public
from .guards import session_required as session_required
from .jam import Jam as Jam
from .outcome import Accepted as Accepted
from .pages import safe_next as safe_next
from .protection import protect as protect
from .resolver import current_auth as current_auth
from .sessions import SessionInfo as SessionInfo
