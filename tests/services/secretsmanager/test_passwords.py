"""Random passwords."""

import string
from typing import Any

import pytest

from cloudlet.kernel.errors import AwsError
from cloudlet.services.secretsmanager import secretsmanager
from tests.services.desk import Desk


def password(desk: Desk, **request: Any) -> str:
    made: str = desk(secretsmanager, "GetRandomPassword", **request)["RandomPassword"]
    return made


def test_a_password_has_one_of_each_kind(desk: Desk) -> None:
    made = {password(desk) for _ in range(50)}
    assert len(made) == 50
    for each in made:
        assert len(each) == 32
        for kind in (string.ascii_lowercase, string.ascii_uppercase, string.digits, string.punctuation):
            assert set(kind) & set(each)
    assert len({each[0] for each in made}) > 8, "no kind has a place of its own"


def test_kinds_and_characters_are_left_out(desk: Desk) -> None:
    only = password(desk, PasswordLength=500, ExcludePunctuation=True, ExcludeUppercase=True,
                    ExcludeCharacters="abc123")
    assert set(only) == set(string.ascii_lowercase + string.digits) - set("abc123")
    assert set(password(desk, PasswordLength=300, IncludeSpace=True, ExcludeNumbers=True, ExcludeLowercase=True,
                        ExcludeUppercase=True, ExcludePunctuation=True)) == {" "}


def test_short_ones(desk: Desk) -> None:
    assert len(password(desk, PasswordLength=4)) == 4
    assert len(password(desk, PasswordLength=1, RequireEachIncludedType=False)) == 1


@pytest.mark.parametrize(("request_", "code"), [
    ({"PasswordLength": 3}, "InvalidRequestException"),
    ({"ExcludeCharacters": string.digits}, "InvalidParameterException"),
    ({"ExcludeNumbers": True, "ExcludeLowercase": True, "ExcludeUppercase": True, "ExcludePunctuation": True},
     "InvalidParameterException")])
def test_passwords_that_cannot_be(desk: Desk, request_: dict[str, Any], code: str) -> None:
    with pytest.raises(AwsError) as error:
        password(desk, **request_)
    assert error.value.code == code
