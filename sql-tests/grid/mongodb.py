"""A collection of every type of BSON and every special value, nested, missing and mixed, and what to join it with."""
import datetime
import json
import os
import uuid

import pymongo
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp

from grid.column import DATES, TEXTS, UUIDS, Column, cast, quote, typed
from grid.postgres import Postgres

DOCUMENTS = 300
TIMES = ["00:00:00", "12:34:56.123", "23:59:59.999"]
MOMENTS = [f"{day}T{time}" for day in DATES for time in TIMES]
DOUBLES = [0.0, -0.0, 1.0, -1.0, 0.1, 1.5, 1e30, -1e30, 1e-30, float("nan"), float("inf"), float("-inf")]
IDS = ["000000000000000000000000", "ffffffffffffffffffffffff", "0123456789abcdef01234567"]
# What no catalog finds out from a sample.
DECLARED = {"narrow": "integer", "money": "decimal(12,2)", "single": "real", "day": "date", "clock": "time", "wall": "timestamp"}


def utc(text):
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.timezone.utc)


def number(value):
    """Integers and decimals, of which the smallest 64-bit one has no literal."""
    return f"({value})" if value != -2**63 else "(-9223372036854775807 - 1)"


def moment(value):
    return value.replace(tzinfo=None).isoformat(" ")


def own_id(at):
    return f"{at * 7919:024x}"


def columns():
    ints, longs = ([-edge, 1 - edge, -2, -1, 0, 1, 2, 7, edge - 1] for edge in (2**31, 2**63))
    double = lambda value: cast("DOUBLE")(str(value))
    extended = lambda value: quote(json.dumps(value, separators=(",", ":"), ensure_ascii=False))
    instant = lambda value: cast("TIMESTAMP WITH TIME ZONE")(moment(value) + "+00")
    finer = [cast("TIMESTAMP WITH TIME ZONE")("1970-01-01 00:00:00.000001+00"), cast("TIMESTAMP WITH TIME ZONE")("2024-12-31 12:34:56.1234+00")]
    decimals = [Decimal128(text) for text in ("0", "-0.01", "0.01", "1", "1.10", "9999999999.99", "-9999999999.99", "1234567E-2")]
    wide = [Decimal128(text) for text in ("0", "-0", "9999999999999999999999.9999999999", "-1.0000000001", "1E+3")]
    oids, uuids = [ObjectId(id_) for id_ in IDS], [Binary.from_uuid(uuid.UUID(id_)) for id_ in UUIDS]
    mixed = [1, "1", "one", True, [1, None], {"a": 1}, {"a": None}, -0.5]
    shown = lambda value: quote(str(value))
    return [
        Column("_id", "objectId", [], others=[quote(own_id(at)) for at in (0, 1, 77, 200, DOCUMENTS - 1)], extremes=False),
        Column("narrow", "int", ints, number, ["3", "2147483648"], sums=True),
        Column("long_", "long", [Int64(value) for value in longs], number, ["3"], sums=True),
        Column("whole", "int and long", [*ints, *map(Int64, longs), Int64(1)], number, ["0.5"], sums=True),
        Column("few", "int", [1, 2, 3], number, ["4"], sums=True, averages=True),
        Column("flag", "bool", [True, False], lambda value: str(value).lower(), extremes=False),
        Column("double", "double", DOUBLES, double, ["2"], extremes=False),
        Column("number", "double and int", [*DOUBLES, 0, 1, 7, Int64(2**53)], double, ["7"], extremes=False),
        Column("single", "double of 32 bits", [0.0, -0.0, 1.5, -2.25, 2.0**60, *DOUBLES[-3:]], lambda value: cast("REAL")(str(value)), extremes=False),
        Column("money", "decimal and int", [*decimals, 7], number, ["0.001", "12345.670"], sums=True, averages=True),
        Column("wide", "decimal", wide, lambda value: f"({value.to_decimal():f})", ["0.00000000001"], sums=True),
        Column("free", "decimal", [Decimal128(text) for text in ("0", "1.10", "1E50", "NaN", "Infinity")]),
        Column("line", "string", TEXTS, quote, ["'aa'"], text=True),
        Column("oid", "objectId", oids, shown, ["'FFFFFFFFFFFFFFFFFFFFFFFF'", "'f'", "''"], extremes=False),
        Column("code", "uuid", uuids, lambda value: shown(value.as_uuid()), ["'FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF'", "'f'"], extremes=False),
        Column("bytes", "binary", [b"", b"\x00", b"\x00\xff", b"'"], lambda value: f"X'{value.hex()}'", ["X'01'"], extremes=False),
        Column("instant", "date", [utc(text) for text in MOMENTS], instant, finer),
        Column("wall", "date", [utc(text) for text in MOMENTS], lambda value: typed("TIMESTAMP")(moment(value)), [typed("TIMESTAMP")("1970-01-01 00:00:00.000001")]),
        Column("day", "date", [utc(day) for day in DATES], lambda value: typed("DATE")(value.date().isoformat())),
        Column("clock", "long", [0, Int64(45_296_123_456), Int64(86_399_999_999)],
               lambda value: typed("TIME")((datetime.datetime.min + datetime.timedelta(microseconds=value)).time().isoformat())),
        Column("mixed", "several types", mixed, extended, extremes=False),
        Column("other", "all else", [Regex("a.b", "i"), Timestamp(5, 6), Code("f()"), MinKey(), MaxKey(), Binary(b"\x01", 5)]),
        Column("never", "null", [None]),
        Column("a.b", "int", [1, 2], number),
        # The name that a path to `doc/a` has.
        Column("doc.a", "string", ["a", "b"], quote),
        Column("p.q", "object", []),
        Column("p.q/z", "int", [1, 2], number),
        Column("with space", "string", ["a", "b"], quote, text=True),
        Column("many", "array", [[], [1, None, 2], [None], [1]], groups=False),
        Column("items", "array of documents", [[], [{"x": 1}], [{"x": None}, {"y": "a"}, None]], groups=False),
        # Documents: their fields are below, and made with them.
        Column("doc", "object", []),
        Column("doc/a", "int", [1, 2, 3], number, ["4"], sums=True, averages=True),
        Column("doc/double", "double", DOUBLES, double, extremes=False),
        Column("doc/money", "decimal", decimals, number, ["0.001"], sums=True),
        Column("doc/at", "date", [utc(text) for text in MOMENTS], instant, finer),
        Column("doc/mixed", "several types", mixed, extended, extremes=False),
        Column("doc/many", "array", [[], [1, None], [1]], groups=False),
        Column("doc/x.y", "int", [1, 2], number),
        Column("doc/$z", "int", [1, 2], number),
        Column("doc/0", "int", [1, 2], number, sums=True),
        Column("doc/b", "object", []),
        Column("doc/b/c", "string", TEXTS, quote, ["'aa'"], text=True),
        Column("doc/b/n", "long", [Int64(value) for value in longs], number, ["3"], sums=True),
        Column("doc/b/flag", "bool", [True, False], lambda value: str(value).lower(), extremes=False),
        Column("doc/b/oid", "objectId", oids, shown, ["'f'"], extremes=False),
        Column("doc/b/day", "date", [utc(day) for day in DATES], instant),
    ]


class Mongodb:
    """The collections `t` and `k` in a database of their own; `t` is also joined with a table of Postgres."""

    def __init__(self, database):
        self.database, self.url, self.postgres = database, os.environ["TRIBUTARY_TEST_MONGODB_URL"], Postgres(f"{database}_beside_mongodb")
        declared = ", ".join(f'{{ name = "{name}", type = "{kind}" }}' for name, kind in DECLARED.items())
        # Small splits, so that there are several, and one sample for all queries.
        catalog = f'connector = "mongodb"\nurl = "{self.url}"\ndatabase = "{database}"\nsplit_size = 8192\nschema_ttl = 86400\n'
        tables = "".join(f'[[tables]]\ncollection = "{name}"\ncolumns = [{declared}]\n' for name in ("t", "k"))
        self.catalogs = {"mongo": catalog + tables, **self.postgres.catalogs}
        self.table = f"mongo.{database}.t"
        self.columns = columns()
        self.named = {column.name: column for column in self.columns}
        pairs = lambda keys: [(self.named.get(here, Column(here, "int", [])), there) for here, there in keys.items()]
        same = {"id": "id", "few": "few", "long_": "long_", "line": "line", "money": "money", "day": "day", "oid": "oid", "doc/a": "few", "doc/b/c": "line", "doc/b/n": "doc.b.n"}
        beside = {"id": "id", "few": "few", "long_": "int8_", "line": "line", "money": "money_", "day": "day", "doc/a": "few", "doc/b/c": "line", "doc/b/n": "int8_"}
        self.others = [(f"mongo.{database}.k", pairs(same)), (f"mongo.{database}.k", pairs(same)), (self.postgres.other, pairs(beside))]

    def load(self, random_):
        """The collections, the same for the same random state."""
        self.postgres.load(random_)
        with pymongo.MongoClient(self.url, timeoutMS=60_000) as client:
            client.drop_database(self.database)
            database = client[self.database]
            # `_id`s that nobody made at random: the bounds of splits lie between them.
            database.t.insert_many([{"_id": ObjectId(own_id(at)), "id": at, **self.document(random_, self.columns)} for at in range(DOCUMENTS)])
            keys = [self.named[name] for name in ("few", "long_", "line", "money", "day", "oid", "doc/b/n")]
            # Of every type, in one collection.
            ids = lambda at: [at, f"{at}", float(at) + 0.5, {"a": at}, utc(DATES[-1]) - datetime.timedelta(days=at)][at % 5]
            database.k.insert_many([{"_id": ids(at), "id": random_.randrange(DOCUMENTS * 2), **self.document(random_, keys)} for at in range(60)])
            # An index may be chosen, and then one cursor reads.
            for field in ("few", "instant", "doc.a"):
                database.t.create_index(field)

    def document(self, random_, columns):
        """Each field is there, null, or missing, and in an order of its own now and then; a document with fields may be empty as well."""
        document, known = {}, {}

        def state(path, states):
            if path not in known:
                known[path] = random_.choices(["there", "null", "missing", "empty"], states)[0]
            return known[path]

        def put(within, path, column):
            step, *rest = column.path[len(path):]
            path = (*path, step)
            found = state(path, (82, 7, 7, 4) if rest or not column.values else (86, 7, 7, 0))
            if found == "null":
                within[step] = None
            elif found == "empty":
                within[step] = {}
            elif found == "there" and rest:
                put(within.setdefault(step, {}), path, column)
            elif found == "there" and column.values:
                within[step] = random_.choice(column.values)

        for column in columns if random_.random() < 0.9 else random_.sample(columns, len(columns)):
            if column.name != "_id":
                put(document, (), column)
        return document
