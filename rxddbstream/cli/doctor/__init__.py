"""What stands in the way of reading a stream: a check after the other, in the order in which one would look.

    finding.py    what a check has found, and what to do about it
    calls.py      the calls, and what their failures mean
    settings.py   region, credentials
    service.py    endpoint, clock, table
    stream.py     the stream, its view type, its shards, ShardFilter
    shard.py      iterators, records, AT_TIMESTAMP
    checks.py     all of them, one by one
    command.py    `rxddbstream doctor`

The calls are those that the library makes: DescribeTable for a table's name, DescribeStream,
GetShardIterator and GetRecords; and before them ListStreams as nobody, which no permission is needed for,
since a refusal is an answer too.
"""

from rxddbstream.cli.doctor.command import parser, run

__all__ = ["parser", "run"]
