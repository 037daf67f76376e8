"""Signed webhooks in the form of Stripe: an HMAC over time and body, with a replay window."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from typing import Any

from flask import Request

from flask_jam import Reason, TokenError
from flask_jam.schemes import MALFORMED, MISSING, Accepted, Credential, Requirement, Scheme

# t=1700000000,v1=<64 hex digits>; during a rotation there are several v1.
_FORM = re.compile(r"t=([0-9]{1,12})((?:,v[0-9]=[0-9a-f]{1,128}){1,5})")
_WINDOW, _LARGEST_BODY = 300.0, 65536  # seconds, bytes


class WebhookScheme(Scheme):
    """Accept requests that the provider has signed."""

    name = "webhook"
    vary = ("Stripe-Signature",)

    def __init__(self, secret: str, clock: Any = time.time) -> None:
        if not secret:
            raise ValueError("secret must be the provider's signing secret: whsec_…")
        self._key = secret.encode()
        self._clock = clock

    def find(self, request: Request) -> Any:
        header = request.headers.get("Stripe-Signature")
        if header is None:
            return MISSING
        is_small = 0 < (request.content_length or 0) <= _LARGEST_BODY
        is_formed = is_small and _FORM.fullmatch(header)
        return Credential(self.name, "header", header) if is_formed else MALFORMED

    def authenticate(self, credential: Credential, request: Request) -> Accepted:
        sent_at, signatures = credential.value[2:].split(",", 1)
        body = request.get_data()
        expected = hmac.new(self._key, f"{sent_at}.".encode() + body, hashlib.sha256).hexdigest()
        found = [each[3:] for each in signatures.split(",") if each.startswith("v1=")]
        if not any(hmac.compare_digest(expected, each) for each in found):
            raise TokenError(Reason.INVALID)
        if abs(self._clock() - int(sent_at)) > _WINDOW:
            raise TokenError(Reason.EXPIRED)
        try:
            event = json.loads(body)
            payload = {"id": str(event["id"]), "type": str(event["type"]), "event": event}
            return Accepted(self.name, credential.source, str(event["account"]), payload)
        except (ValueError, LookupError, TypeError):
            raise TokenError(Reason.MALFORMED) from None

    def challenge(self, reason: Reason, requirement: Requirement) -> str | None:
        return 'Stripe-Signature realm="webhook"'
