"""Money for people: an amount in minor units written with its currency's digits."""

from decimal import Decimal

# ISO 4217 currencies whose minor unit is not a hundredth.
_DIGITS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND"), 0),
    **dict.fromkeys(("VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}


def format_money(amount_minor: int, currency: str) -> str:
    """Write integer minor units as `JPY 1,200` or `EUR 12.00`; mails use the recipient's own convention instead."""
    digits = _DIGITS.get(currency, 2)
    return f"{currency} {Decimal(amount_minor).scaleb(-digits):,.{digits}f}"
