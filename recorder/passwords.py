"""The only one that hashes passwords: Argon2id, by argon2-cffi, with the parameters that RFC 9106 (4) calls the second.

Must not be called where somebody waits for more than a page: one hash takes 64 MiB and a good part of a second.
"""

from __future__ import annotations

import secrets
from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_HASHER: Final = PasswordHasher(time_cost=3, memory_cost=65536, parallelism=1)
GENERATED_BYTES: Final = 15


def kept(password: str) -> str:
    """What is kept of a password: parameters, salt and hash."""
    return _HASHER.hash(password)


def is_right(kept_as: str | None, password: str) -> bool:
    """Whether that is the password. None is nobody's: it takes the same time, and is never right."""
    try:
        return _HASHER.verify(kept_as or _nobodys(), password) and kept_as is not None
    except (VerificationError, InvalidHashError):
        return False


def is_outdated(kept_as: str) -> bool:
    """Whether it was made with other parameters than today's."""
    return _HASHER.check_needs_rehash(kept_as)


def generated() -> str:
    """A password that nobody thought of, to be changed at the first signing in: 120 bits."""
    return secrets.token_urlsafe(GENERATED_BYTES)


@cache
def _nobodys() -> str:
    return _HASHER.hash(secrets.token_urlsafe())
