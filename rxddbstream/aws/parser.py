"""GetRecords answers, decoded by msgspec in place of botocore's parser.

botocore spends more than a hundred microseconds a record on walking through the answer with the service's
model in hand. Here a page is split into its records, whose images stay JSON until somebody asks for
them; see `rxddbstream.model.record`. All else stays botocore's: credentials, signing, endpoints, events,
errors, the other operations, and any answer that is not as DynamoDB documents it.

botocore's sessions take another factory of parsers as a component; see `accelerated`.
"""

from __future__ import annotations

import copy
import json
from functools import cache
from typing import Any

import botocore.parsers
import botocore.session
import msgspec

from rxddbstream.errors import DecodeError
from rxddbstream.model.encoding import words_of
from rxddbstream.model.record import EncodedRecord


class RecordJSON(EncodedRecord):
    """A record of an answer; botocore makes the dict of it when it is asked for."""

    def to_dict(self) -> dict[str, Any]:
        """The dict that boto3 returns for it."""
        parser, shape = _botocores_own()
        response = {"status_code": 200, "headers": {}, "body": b'{"Records":[%b]}' % _JSON.encode(self)}
        try:
            record = parser.parse(response, shape)["Records"][0]
            return dict(record)
        except Exception as error:
            raise DecodeError(f"botocore cannot parse a record: {error}") from error


class _Page(msgspec.Struct):
    Records: list[RecordJSON] | None = None
    NextShardIterator: str | None = None


class _Outline(msgspec.Struct):
    Records: list[msgspec.Raw] | None = None
    NextShardIterator: str | None = None


_JSON = msgspec.json.Encoder()
_PAGE = msgspec.json.Decoder(_Page)
_OUTLINE = msgspec.json.Decoder(_Outline)
_OUTPUT = "GetRecordsOutput"


class _Parser:
    """Decodes GetRecords answers; leaves all others to the parser that botocore would use."""

    def __init__(self, usual: Any) -> None:
        self._usual = usual

    def parse(self, response: dict[str, Any], shape: Any) -> Any:
        if shape is None or shape.name != _OUTPUT or response["status_code"] >= 300:
            return self._usual.parse(response, shape)
        try:
            page = _PAGE.decode(response["body"])
        except msgspec.ValidationError as error:  # JSON, but of another kind
            return self._parse_odd(response, shape, error)
        except (UnicodeDecodeError, RecursionError) as error:
            raise botocore.parsers.ResponseParserError(f"the answer has {words_of(error)}") from error
        except msgspec.DecodeError as error:
            if _is_json(response["body"]):  # half a character, which Python's own parser lets through
                return self._usual.parse(response, shape)
            # botocore would make an empty answer of a body that was cut.
            raise botocore.parsers.ResponseParserError(f"the answer is no JSON: {error}") from error
        answer = self._usual.parse({**response, "body": b"{}"}, shape)  # what goes with every answer
        if page.Records is not None:
            for record in page.Records:
                record.detach()
            answer["Records"] = page.Records
        if page.NextShardIterator is not None:
            answer["NextShardIterator"] = page.NextShardIterator
        return answer

    def _parse_odd(self, response: dict[str, Any], shape: Any, reason: msgspec.ValidationError) -> Any:
        try:
            _OUTLINE.decode(response["body"])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise botocore.parsers.ResponseParserError(f"the answer is no page: {words_of(error)}") from error
        try:
            return self._usual.parse(response, shape)
        except Exception as error:
            # Another call would bring it again. Where it is odd, msgspec says in better words than botocore.
            raise DecodeError(f"a record is not as DynamoDB documents it: {reason}") from error


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


class _ParserFactory:
    def __init__(self, usual: Any) -> None:
        self._usual = usual

    def create_parser(self, protocol_name: str) -> Any:
        parser = self._usual.create_parser(protocol_name)
        return _Parser(parser) if protocol_name == "json" else parser


def accelerated(session: botocore.session.Session) -> botocore.session.Session:
    """A session like the given one, whose clients decode GetRecords fast; the given one stays as it is.

    Credentials, configuration and event handlers are the same objects.
    """
    session.get_credentials()  # found once, for both
    twin = copy.copy(session)
    get_component = session.get_component
    factory = _ParserFactory(get_component("response_parser_factory"))
    twin.get_component = lambda name: factory if name == "response_parser_factory" else get_component(name)
    return twin


@cache
def _botocores_own() -> tuple[Any, Any]:
    """botocore's parser, and what it is to expect of GetRecords."""
    model = botocore.session.get_session().get_service_model("dynamodbstreams")
    return botocore.parsers.create_parser("json"), model.operation_model("GetRecords").output_shape
