"""PutBucketTagging, GetBucketTagging, DeleteBucketTagging; PutBucketAbac, GetBucketAbac."""

import pytest

from tests.services.s3.counter import Counter


def tagging(*tags: tuple[str, str]) -> bytes:
    inner = "".join(f"<Tag><Key>{key}</Key><Value>{value}</Value></Tag>" for key, value in tags)
    return f"<Tagging><TagSet>{inner}</TagSet></Tagging>".encode()


def test_tags_come_back_and_go(counter: Counter) -> None:
    assert counter.ask("GET", "/bkt", tagging="").code == "NoSuchTagSet"
    assert counter.ask("PUT", "/bkt", tagging(("a", "b"), ("c", "")), tagging="").status == 204
    tags = counter.ask("GET", "/bkt", tagging="").xml.findall("TagSet/Tag")
    assert [(tag.findtext("Key"), tag.findtext("Value")) for tag in tags] == [("a", "b"), ("c", "")]
    assert counter.ask("DELETE", "/bkt", tagging="").status == 204
    assert counter.ask("GET", "/bkt", tagging="").code == "NoSuchTagSet"
    counter.ask("PUT", "/bkt", tagging(("a", "b")), tagging="")
    assert counter.ask("PUT", "/bkt", tagging(), tagging="").status == 204
    assert counter.ask("GET", "/bkt", tagging="").code == "NoSuchTagSet"


@pytest.mark.parametrize(("tags", "code"), [
    ([("a", "1"), ("a", "2")], "InvalidTag"), ([("aws:x", "1")], "InvalidTag"), ([("k" * 129, "1")], "InvalidTag"),
    ([("a", "v" * 257)], "InvalidTag"), ([("a", "$")], "InvalidTag"),
    ([(str(number), "") for number in range(51)], "BadRequest")])
def test_what_are_no_tags(counter: Counter, tags: list[tuple[str, str]], code: str) -> None:
    assert counter.ask("PUT", "/bkt", tagging(*tags), tagging="").code == code
    assert counter.ask("GET", "/bkt", tagging="").code == "NoSuchTagSet"


def test_tags_count_in_conditions_where_the_bucket_says_so(counter: Counter) -> None:
    bob = counter.user("bob", {"Condition": {"StringEquals": {"aws:ResourceTag/team": "red"}}})
    counter.ask("PUT", "/bkt", tagging(("team", "red")), tagging="")
    assert counter.ask("GET", "/bkt", abac="").xml.findtext("Status") == "Disabled"
    assert counter.ask("HEAD", "/bkt", **bob).status == 403
    said = b"<AbacStatus><Status>Enabled</Status></AbacStatus>"
    assert counter.ask("PUT", "/bkt", said, abac="").status == 200
    assert counter.ask("GET", "/bkt", abac="").xml.findtext("Status") == "Enabled"
    assert counter.ask("HEAD", "/bkt", **bob).status == 200
    counter.ask("PUT", "/bkt", tagging(("team", "blue")), tagging="")
    assert counter.ask("HEAD", "/bkt", **bob).status == 403
