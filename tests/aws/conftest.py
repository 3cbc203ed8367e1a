"""Settings and an account for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Callable[..., None]:
    """Sets environment variables (None unsets) and the text of ~/.aws/config."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))

    def set_up(config: str = "", **variables: str | None) -> None:
        (tmp_path / "config").write_text(config)
        for name, value in variables.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)

    return set_up


@pytest.fixture
def aws(environment: Callable[..., None]) -> Iterator[None]:
    """An account with the tables `orders`, which has a stream, and `plain`, which has none."""
    environment(AWS_DEFAULT_REGION="eu-west-1")
    with mock_aws():
        dynamodb = boto3.client("dynamodb")
        for name in ("orders", "plain"):
            dynamodb.create_table(
                TableName=name,
                KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        dynamodb.update_table(
            TableName="orders",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        dynamodb.close()
        yield
