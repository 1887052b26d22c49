"""Personal data in a question or its answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address

from raglift.synthesis.candidate import Accepted, Candidate

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@((?:[a-z0-9-]+\.)+[a-z]{2,24})\b", re.IGNORECASE)
_RESERVED = re.compile(r"(^|\.)(example(\.(com|net|org))?|test|invalid|localhost)$", re.IGNORECASE)
_INTERNATIONAL = re.compile(r"(?<![\w+])\+[1-9](?:[ .-]?\(?\d+\)?)+")
_AMERICAN = re.compile(r"(?<![\w.-])(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[-.])([2-9]\d{2})[-.](\d{4})(?![\w-])")
_LABELLED = re.compile(
    r"\b(?:phone|tel|telephone|mobile|fax|telefon)\b[.:# ]*(?:no\.?|number)?[.: ]*(\d[\d ()/-]{5,}\d)", re.I
)
_DIGITS = re.compile(r"(?<![\w.+-])\d(?:[ -]?\d){12,18}(?![\w-]|\.\d)")
_CARD = re.compile(
    r"4(\d{12}|\d{15}|\d{18})|(5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|3[47]\d{13}|"
    r"3(0[0-5]|[68]\d)\d{11}|35(2[89]|[3-8]\d)\d{12}|6(011|5\d\d|4[4-9]\d)\d{12}|62\d{14,17}"
)
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_IPV4 = re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])[0-9a-f]{1,4}(?:::?[0-9a-f]{1,4}){2,7}(?![\w:])", re.IGNORECASE)
_VERSION = re.compile(
    r"(\b(v|version|release|section|sections|chapter|clause|rule|python)\.?|\u00a7) ?$", re.IGNORECASE
)


def has_email(text: str) -> bool:
    """An e-mail address, other than at a domain that RFC 2606 reserves for examples."""
    return any(not _RESERVED.search(found.group(1)) for found in _EMAIL.finditer(text))


def has_phone(text: str) -> bool:
    """A number with its country code (7 to 15 digits, E.164), one of the North American plan other than those kept
    for fiction (555-0100 to 555-0199), or seven digits and more after "phone", "tel", "fax" and the like."""
    if any(7 <= len(re.sub(r"\D", "", found.group())) <= 15 for found in _INTERNATIONAL.finditer(text)):
        return True
    american = (found.groups() for found in _AMERICAN.finditer(text))
    if any(not (exchange == "555" and line.startswith("01")) for exchange, line in american):
        return True
    return any(len(re.sub(r"\D", "", found.group(1))) >= 7 for found in _LABELLED.finditer(text))


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[::-2])) + sum(doubled)) % 10 == 0


def has_card(text: str) -> bool:
    """A number with a card network's length, prefix and check digit."""
    numbers = (re.sub(r"\D", "", found.group()) for found in _DIGITS.finditer(text))
    return any(_CARD.fullmatch(number) and luhn(number) for number in numbers)


def has_account(text: str) -> bool:
    """An International Bank Account Number whose check digits are right (ISO 13616: modulo 97 is 1)."""
    return any(_iban_first(found.group().split(" ")) for found in _IBAN.finditer(text))


def _iban_first(groups: list[str]) -> bool:
    """Whether the first groups are a number: what follows it in capitals may look like more of it."""
    return any(_iban("".join(groups[:count])) for count in range(1, len(groups) + 1))


def _iban(number: str) -> bool:
    if not 15 <= len(number) <= 34:
        return False
    return int("".join(str(int(character, 36)) for character in number[4:] + number[:4])) % 97 == 1


def has_ip(text: str) -> bool:
    """A public IP address: private, loop-back and documentation ranges name nobody, and 1.2.3.4 may be a version."""
    for found in (*_IPV4.finditer(text), *_IPV6.finditer(text)):
        try:
            public = ip_address(found.group()).is_global
        except ValueError:
            continue
        if public and not _VERSION.search(text[: found.start()]):
            return True
    return False


_RULES: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("holds an e-mail address", has_email),
    ("holds an account number", has_account),
    ("holds a card number", has_card),
    ("holds a phone number", has_phone),
    ("holds an IP address", has_ip),
)


class PersonalData:
    """Drops what would train a model to say an address or a number that belongs to somebody.

    Rules, not a model: they find what has a fixed form. Names, postal addresses and numbers without check digits are
    not found.
    """

    name = "personal_data"

    def reason(self, candidate: Candidate, accepted: Accepted) -> str | None:
        """The first kind of personal data in the question or the answer."""
        texts = (candidate.question, candidate.answer)
        return next((reason for reason, found in _RULES if any(map(found, texts))), None)


PLUGIN = PersonalData()
