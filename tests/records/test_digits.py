"""Which numbers of a text are somebody's: phones, cards and accounts go; dates, times, prices and versions stay."""

from __future__ import annotations

import pytest

from proxy.records.redaction import redacted

GONE = [
    # phones: with a country's code, with a leading zero, America's, and what somebody says to call
    ("Call me at +1 (415) 555-0132 please.", "Call me at [phone] please."),
    ("+44 7911 123456", "[phone]"),
    ("+49 (0)30 901820, room 12", "[phone], room 12"),
    ("plus 49 30 901820", "plus [phone]"),
    ("0049 30 901820", "[phone]"),
    ("my number is 020 7946 0018", "my number is [phone]"),
    ("(020) 7946 0018", "[phone]"),
    ("030 901820 oder 0151 23456789", "[phone] oder [phone]"),
    ("06 12 34 56 78 ou 06.12.34.56.78", "[phone] ou [phone]"),
    ("it's 415-555-0132", "it's [phone]"),
    ("415, 555, 0132", "[phone]"),
    ("1-800-555-0199 or 18005550199 or 1,800,555,0199", "[phone] or [phone] or [phone]"),
    ("call 555-0132", "call [phone]"),
    ("my mobile, any time, is 612 345 678", "my mobile, any time, is [phone]"),
    ("\u7535\u8bdd13812345678\u53f7", "\u7535\u8bdd[phone]\u53f7"),
    # cards
    ("4242 4242 4242 4242", "[card]"),
    ("4242-4242-4242-4242, 4242424242424242", "[card], [card]"),
    ("4242, 4242, 4242, 4242. Thanks.", "[card]. Thanks."),
    ("4242\u00a04242\u20134242\u20114242", "[card]"),
    ("3782 822463 10005", "[card]"),
    ("4 2 4 2 4 2 4 2 4 2 4 2 4 2 4 2", "[card]"),
    ("four two four two four two four two four two four two four two four two", "[card]"),
    ("5555 5555 5555 4444 expires 12/27", "[card] expires 12/27"),
    ("2223 0031 2200 3222", "[card]"),
    ("12:30 4242 4242 4242 4242 2024-11-21", "12:30 [card] 2024-11-21"),
    ("$5 4242 4242 4242 4242 dollars", "$5 [card] dollars"),
    ("4242 4242 4242 4242 and 4242 4242 4242 4242", "[card] and [card]"),
    ("\u0664\u0662\u0664\u0662 \u0664\u0662\u0664\u0662 \u0664\u0662\u0664\u0662 \u0664\u0662\u0664\u0662", "[card]"),
    ("\uff14\uff12\uff14\uff12\uff14\uff12\uff14\uff12\uff14\uff12\uff14\uff12\uff14\uff12\uff14\uff12", "[card]"),
    # accounts
    ("account 12345678", "account [account]"),
    ("4242 4242 4242 4241", "[account]"),
    ("my number, 123-45-6789", "my number, [account]"),
    ("sort code 20-00-00 account 55779911", "sort code 20-00-00 account [account]"),
    ("AB1234567890", "AB[account]"),
    ("three one four one five nine two six", "[account]"),
    ("3, 1, 4, 1, 5, 9, 2", "[account]"),
    ("it is 1234 5678 90", "it is [account]"),
]

STAYS = [
    # dates and times
    "2024-11-21 10:30:00",
    "2024-11-21T10:30:00Z",
    "11/21/2024, 21.11.2024 um 10:30 Uhr, 21/11/24",
    "20241121",
    "21112024",
    "20241121103000",
    "12 12 2012",
    "April 5, 2024, 10 a.m.",
    "from 1990 to 2020",
    "1999 2000 2001 2002 2003",
    "2019, 2020, 2021, 2022",
    "on 05.12. at 9",
    "it ran for 1:23:45.678",
    # counts and prices
    "one million 1,000,000",
    "1,234,567.89 or 1.234.567,89",
    "1 000 000 000 people",
    "$1,234,567.89",
    "\u20ac 1234567",
    "12345678 dollars",
    "99.99% of 3,000",
    "3.14159265358979",
    "52.520008, 13.404954",
    "scores 21 19 21 17 21",
    "10, 20, 30, 40, 50, 60",
    "pages 100-1200",
    # versions and names
    "v1.2.3.4 and 2024.11.3",
    "192.168.10.200",
    "H264, MP3, 2nd, 4k",
    "24/7, 365 days",
    "call 911, or call me in 2024",
    "room 101, floor 12",
    "the score was 3-2, 4-1 and 5-0",
    # counting
    "one two three four five six seven eight nine ten",
    "1, 2, 3, 4, 5, 6, 7, 8, 9",
    "9 8 7 6 5 4 3 2 1 0",
    "oh, no one knows",
]


@pytest.mark.parametrize(("text", "left"), GONE)
def test_a_number_that_is_somebodys_goes(text: str, left: str) -> None:
    assert redacted(text) == left


@pytest.mark.parametrize("text", STAYS)
def test_any_other_number_stays(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize("text", STAYS)
def test_a_card_beside_any_other_number_goes_and_that_stays(text: str) -> None:
    assert redacted(f"{text}; then 4242 4242 4242 4242") == f"{text}; then [card]"


@pytest.mark.parametrize("gap", [" ", "-", " - ", ". ", ", ", ".", "/", "\n", "  ", "\t", "\u2009", "\u2013"])
def test_a_card_may_be_written_with_any_gap(gap: str) -> None:
    assert redacted(gap.join(["4242"] * 4)) == "[card]"


@pytest.mark.parametrize("length", [13, 14, 15, 16, 17, 18, 19])
def test_a_card_is_known_by_its_check_digit(length: int) -> None:
    first = "4" + "0" * (length - 2)
    found = [digit for digit in "0123456789" if redacted(f"see {first}{digit} there") == "see [card] there"]
    assert len(found) == 1
