"""A number as a keyed digest: the same in every written form, nothing without the key, none where it is withheld."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from recorder.numbers import NumberKey, normal

KEY = NumberKey(secret=b"k" * 43, region="CA")
E164 = "+14165550123"


@pytest.mark.parametrize("written", [E164, "1 416 555 0123", "(416) 555-0123", "416.555.0123", " 4165550123 "])
def test_every_written_form_of_a_number_gives_one_digest(written: str) -> None:
    assert KEY.digest(written) == KEY.digest(E164)


def test_the_digest_is_an_hmac_of_the_e164_form_behind_the_keys_name() -> None:
    digest = KEY.digest("416 555 0123")
    assert digest == f"{KEY.name}:{hmac.new(KEY.secret, E164.encode(), hashlib.sha256).hexdigest()}"


def test_another_key_gives_another_digest_and_another_name_and_shows_itself_nowhere() -> None:
    other = NumberKey(secret=b"l" * 43, region="CA")
    assert KEY.name != other.name
    assert KEY.digest(E164) != other.digest(E164)
    assert "kkk" not in repr(KEY)


@pytest.mark.parametrize(
    "number", ["", "unknown", "anonymous", "Anonymous", "restricted", "alice", "sip:1@x", "-", "+"]
)
def test_who_sends_no_number_has_no_digest(number: str) -> None:
    assert KEY.digest(number) is None
    assert KEY.digests(number) == ()


@pytest.mark.parametrize(
    ("presentation", "shown"), [("0", True), ("3", True), ("", True), ("32", False), ("35", False), ("67", False)]
)
def test_a_number_that_was_withheld_has_none_though_the_network_brought_it(presentation: str, shown: bool) -> None:
    assert (KEY.digest(E164, presentation) is not None) is shown


def test_a_number_whose_country_nobody_knows_and_an_extension_are_digested_as_they_came() -> None:
    assert normal("4165550123", None) == "4165550123"
    assert normal("2001", "CA") == "2001"
    assert normal("+4165550123999999999", None) == "4165550123999999999"


@pytest.mark.parametrize("came", [E164, "14165550123", "4165550123", "94165550123", "0014165550123", "914165550123"])
@pytest.mark.parametrize("region", ["CA", None])
def test_a_call_is_found_in_whatever_form_its_number_came(came: str, region: str | None) -> None:
    """Before the country was set, or with what the house dials for an outside line."""
    kept = NumberKey(secret=KEY.secret, region=region).digest(came)
    assert kept in KEY.digests("(416) 555-0123")
    assert kept not in KEY.digests("(416) 555-0124")
