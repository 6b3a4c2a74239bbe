"""How long a login lasts."""

from rules.units import in_words

UNUSED_FOR = 180 * 86400.0
"""Seconds after which an unused refresh token of Globus dies: six months (globus_sdk.GlobusAppConfig)."""
WARN_BEFORE = 14 * 86400.0


def warning(expires_at: float, now: float, hint: str) -> str | None:
    """What to report of a login that ends soon; None while there is time. `hint`: what a person does."""
    left = expires_at - now
    if left > WARN_BEFORE:
        return None
    when = f"ends in {in_words(left)} unless it is used" if left > 0 else "has probably ended, for it was not used"
    return f"the login to Globus {when}; {hint}"
