"""Route protection for Flask."""

from ._credentials.logins import LoginInfo as LoginInfo
from ._credentials.sessions import SessionInfo as SessionInfo
from ._request.basic_extension import BasicExtension as BasicExtension
from ._request.current_auth import current_auth as current_auth
from ._request.current_user import current_subject as current_subject
from ._request.current_user import current_user as current_user
from ._request.current_user import current_user_as as current_user_as
from ._request.login_redirect import safe_next as safe_next
from ._request.protection import protect as protect
from .errors import ConfigError as ConfigError
from .errors import JamError as JamError
from .errors import Reason as Reason
from .errors import SessionError as SessionError
from .errors import StoreUnavailable as StoreUnavailable
from .errors import TokenError as TokenError
from .extensions import JamExtension as JamExtension
from .extensions import JWTExtension as JWTExtension
from .extensions import SchemeExtension as SchemeExtension
from .extensions import SessionExtension as SessionExtension
from .guards import Guard as Guard
from .guards import basic_required as basic_required
from .guards import jwt_required as jwt_required
from .guards import public as public
from .guards import session_required as session_required
from .jam import Jam as Jam
from .schemes.outcome import Accepted as Accepted
