"""The records that the server serves: about 1.3 KB each, like a change of an order, with both images.

All of a page's records differ, so that no contender gains by caching values.
"""

from __future__ import annotations

import json
import random
from typing import Any

ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/2026-01-01T00:00:00.000"
PAGE_SIZE = 750  # 750 records of 1.3 KB are just under the 1 MB of an answer of AWS's

# Both have the width of what replaces them, so that an answer's length is known beforehand.
PAGE_MARK = b"~~~PG~~~"
TIME_MARK = "~~~~~~WRITTEN~~~~"

_STREETS = ["Low Lane", "High Road", "Mill Hill", "Church Walk", "Station Approach"]
_CITIES = ["Utrecht", "Ghent", "Malmö", "Kraków", "Porto"]


def page_template(created_at: float, size: int = PAGE_SIZE) -> bytes:
    """The JSON of a page's records, without the brackets; `PAGE_MARK` is where its number belongs."""
    mark = PAGE_MARK.decode()
    records = [_record(number, mark, created_at, random.Random(number)) for number in range(size)]
    return ",".join(_json(record) for record in records).encode()


def single_template() -> str:
    """The JSON of one record, with `PAGE_MARK` and, in an attribute `written`, `TIME_MARK`."""
    record = _record(0, PAGE_MARK.decode(), 0.0, random.Random(0))
    record["dynamodb"]["NewImage"]["written"] = {"N": TIME_MARK}
    return _json(record)


def numbered(template: bytes, page: int) -> bytes:
    """The template with the page's number in each sequence number."""
    return template.replace(PAGE_MARK, b"%08d" % page)


def _json(record: dict[str, Any]) -> str:
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False)


def _record(number: int, mark: str, created_at: float, rng: random.Random) -> dict[str, Any]:
    keys = {"id": {"S": f"o-{number:09d}"}, "line": {"N": str(rng.randrange(1000))}}
    old = keys | _item(rng)
    return {
        "eventID": f"{mark}{rng.getrandbits(96):024x}",
        "eventName": "MODIFY",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "ApproximateCreationDateTime": created_at,
            "Keys": keys,
            "NewImage": old | {"status": {"S": "shipped"}, "version": {"N": str(rng.randrange(1, 99))}},
            "OldImage": old,
            "SequenceNumber": f"4900000{mark}{number:09d}",
            "SizeBytes": rng.randrange(500, 900),
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
    }


def _item(rng: random.Random) -> dict[str, Any]:
    return {
        "status": {"S": "paid"},
        "version": {"N": "1"},
        "total": {"N": f"{rng.randrange(1, 99999) / 100:.2f}"},
        "paid": {"BOOL": rng.random() < 0.5},
        "coupon": {"NULL": True},
        "customer": {"S": f"customer-{rng.randrange(10**6):06d}"},
        "address": {
            "M": {
                "street": {"S": f"{rng.randrange(1, 200)} {rng.choice(_STREETS)}"},
                "city": {"S": rng.choice(_CITIES)},
            }
        },
        "placed": {"S": f"2026-01-{rng.randrange(1, 29):02d}T12:00:00Z"},
        "weight": {"N": str(rng.randrange(10**5) / 1000)},
        "items": {"L": [{"S": f"sku-{rng.randrange(10**5)}"}, {"N": str(rng.randrange(1, 9))}]},
        "tags": {"SS": sorted({f"tag-{rng.randrange(50)}" for _ in range(3)})},
        "token": {"B": "c2VjcmV0IHRva2Vu"},
    }
