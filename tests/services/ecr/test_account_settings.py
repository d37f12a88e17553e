"""Account settings: defaults, what may be chosen, and what choosing it does."""

import pytest

from cloudlet.services.ecr.service import InvalidParameter
from tests.services.ecr.counter import Counter


def setting(counter: Counter, name: str, region: str = "us-east-1") -> str:
    answer = counter("GetAccountSetting", region=region, name=name)
    assert answer["name"] == name
    return str(answer["value"])


@pytest.mark.parametrize(("name", "default", "refused"), [
    ("BASIC_SCAN_TYPE_VERSION", "AWS_NATIVE", "CLAIR"), ("REGISTRY_POLICY_SCOPE", "V2", "V1"),
    ("BLOB_MOUNTING", "ENABLED", "SOMETIMES")])
def test_settings_are_as_they_are(counter: Counter, name: str, default: str, refused: str) -> None:
    assert setting(counter, name) == default
    assert counter("PutAccountSetting", name=name, value=default) == {"name": name, "value": default}
    with pytest.raises(InvalidParameter):
        counter("PutAccountSetting", name=name, value=refused)
    assert setting(counter, name) == default


def test_names_that_are_none(counter: Counter) -> None:
    with pytest.raises(InvalidParameter):
        counter("GetAccountSetting", name="NOSUCH")
    with pytest.raises(InvalidParameter):
        counter("PutAccountSetting", name="NOSUCH", value="V2")


def test_blobs_are_mounted_unless_that_is_switched_off(counter: Counter) -> None:
    digest = counter.push_blob(b"layer")
    counter("CreateRepository", repositoryName="other")
    mount = f"/v2/other/blobs/uploads/?mount={digest}&from=app"
    counter("PutAccountSetting", name="BLOB_MOUNTING", value="DISABLED")
    assert setting(counter, "BLOB_MOUNTING") == "DISABLED"
    assert setting(counter, "BLOB_MOUNTING", "eu-west-1") == "ENABLED"
    assert counter.ask("POST", mount).status == 202  # an upload begins instead
    counter("PutAccountSetting", name="BLOB_MOUNTING", value="ENABLED")
    assert counter.ask("POST", mount).status == 201
