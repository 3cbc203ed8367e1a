"""Where a stream is: what an ARN says wins over all else, and a URL shows nobody's password."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxddbstream.aws.places import (
    check_endpoint_of,
    is_another,
    region_to_use,
    without_password,
    without_user,
)
from rxddbstream.errors import ConfigurationError

REGIONS = ("eu-west-1", "us-east-1", "us-gov-west-1", "cn-north-1", "ap-southeast-2")
MADE_UP = ("ddblocal", "local", "us_east")
ACCOUNTS = ("123456789012", "111111111111")
regions = st.sampled_from(REGIONS)
maybe = st.none() | regions


def arn_of(region: str, account: str = ACCOUNTS[0], end: str = "") -> str:
    return f"arn:aws:dynamodb:{region}:{account}:table/orders{end}"


@given(regions, st.sampled_from(["", "/stream/2026"]), maybe, maybe)
def test_an_arns_region_is_used_or_the_conflict_refused(
    own: str, end: str, given_one: str | None, session: str | None
) -> None:
    if given_one in (None, own):
        assert region_to_use(arn_of(own, end=end), given_one, session) == own
    else:
        with pytest.raises(ConfigurationError, match=own):
            region_to_use(arn_of(own, end=end), given_one, session)


@given(st.sampled_from(MADE_UP), maybe, maybe)
def test_a_made_up_region_is_the_last_resort(own: str, given_one: str | None, session: str | None) -> None:
    assert region_to_use(arn_of(own), given_one, session) == (given_one or session or own)
    assert region_to_use("orders", given_one, session) == (given_one or session)


@given(regions, regions, st.sampled_from(ACCOUNTS), st.sampled_from(ACCOUNTS))
def test_an_answer_is_about_what_was_asked_for_or_of_another(
    asked: str, answered: str, account: str, other: str
) -> None:
    is_same = (asked, account) == (answered, other)
    assert is_another(arn_of(asked, account), arn_of(answered, other, "/stream/2026")) is not is_same
    assert not is_another("orders", arn_of(answered, other))
    assert not is_another(arn_of(asked, account), arn_of("ddblocal", other))


@pytest.mark.parametrize(
    "url",
    [
        "https://dynamodb.{}.amazonaws.com",
        "https://streams.dynamodb.{}.amazonaws.com/",
        "https://vpce-1-2.dynamodb.{}.vpce.amazonaws.com",
        "https://123456789012.ddb.{}.amazonaws.com",
        "https://dynamodb.{}.api.aws",
        "https://dynamodb.{}.amazonaws.com.cn",
    ],
)
def test_an_endpoint_of_another_region_is_refused(url: str) -> None:
    check_endpoint_of(arn_of("eu-west-1"), url.format("eu-west-1"))
    check_endpoint_of("orders", url.format("us-east-1"))
    with pytest.raises(ConfigurationError, match="is of us-east-1"):
        check_endpoint_of(arn_of("eu-west-1"), url.format("us-east-1"))


@pytest.mark.parametrize("url", ["http://localhost:8000", "http://us-east-1.x.com", "http://[::1", None])
def test_an_endpoint_of_somebody_else_tells_no_region(url: str | None) -> None:
    check_endpoint_of(arn_of("eu-west-1"), url)


SECRET = "hunter2"
secrets = st.sampled_from([SECRET, f"a@{SECRET}", f"{SECRET}@b", f"{SECRET}%20:", f"a:{SECRET}"])


@given(secrets, st.sampled_from(["http://", "https://", ""]), st.sampled_from(["localhost:8000", "h/p?q=1"]))
def test_a_url_is_asked_without_its_user(secret: str, scheme: str, rest: str) -> None:
    assert without_user(f"{scheme}user:{secret}@{rest}") == f"{scheme}{rest}"
    assert without_user(f"{scheme}{rest}") == f"{scheme}{rest}"


@given(secrets, st.text(), st.text())
def test_a_text_shows_no_urls_password(secret: str, before: str, after: str) -> None:
    shown = without_password(f'{before} "http://user:{secret}@localhost:8000/" {after}')

    assert SECRET not in shown
    assert "localhost:8000" in shown
