"""The parser: canonical forms, and what stays out of messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import ErrorCode, PermanentError
from worker.safe_http.urls import MAX_URL_LENGTH, parse_url


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("https://Images.Example.com", "https://images.example.com/"),
        ("HTTPS://images.example.com:443/a.jpg", "https://images.example.com/a.jpg"),
        ("http://images.example.com:8080/a?x=1&y=%20#part", "http://images.example.com:8080/a?x=1&y=%20"),
        ("https://images.example.com/ü/a.jpg?q=ß", "https://images.example.com/%C3%BC/a.jpg?q=%C3%9F"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://[2606:4700:0:0::1111]:8443/", "https://[2606:4700::1111]:8443/"),
        ("https://a_b.s3.example.com/a", "https://a_b.s3.example.com/a"),
        ("https://images.example.com?x", "https://images.example.com/?x"),
        ("https://images.example.com/a?", "https://images.example.com/a?"),
        ("https://8.8.8.8/a//b/../c", "https://8.8.8.8/a//b/../c"),
        ('https://images.example.com/a"<b>{c}|^`', "https://images.example.com/a%22%3Cb%3E%7Bc%7D%7C%5E%60"),
    ],
)
def test_a_url_has_one_canonical_form(text: str, canonical: str) -> None:
    url = parse_url(text)
    assert str(url) == canonical
    assert parse_url(canonical) == url


def test_the_query_is_not_shown() -> None:
    url = parse_url("https://bucket.example.com/a.jpg?X-Amz-Signature=hunter2")
    assert url.shown == "https://bucket.example.com/a.jpg"
    assert len(parse_url("https://example.com/" + "a" * 5000).shown) < 300


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/b", "https://example.com/b"),
        ("b?x=1", "https://example.com/a/b?x=1"),
        ("../b", "https://example.com/b"),
        ("//other.example/b", "https://other.example/b"),
        ("http://other.example/b", "http://other.example/b"),
    ],
)
def test_a_redirect_is_resolved_against_where_it_came_from(location: str, target: str) -> None:
    assert str(parse_url("https://example.com/a/c").join(location)) == target


def test_a_url_that_is_too_long_is_refused() -> None:
    with pytest.raises(PermanentError, match="longer") as refused:
        parse_url("https://example.com/" + "a" * MAX_URL_LENGTH)
    assert refused.value.code is ErrorCode.URL_INVALID


@given(
    st.text(max_size=60) | st.text(alphabet="htps:/@.[]%\\0x127ab#?;", max_size=40).map(lambda text: f"http://{text}")
)
def test_any_text_is_parsed_to_a_fixed_point_or_refused(text: str) -> None:
    try:
        url = parse_url(text)
    except PermanentError:
        return
    assert parse_url(str(url)) == url
    assert str(url).isascii()
    assert str(url).isprintable()
    assert " " not in str(url)
