"""The table of every type of Postgres and every special value, and what to join it with."""
import os
import subprocess

from grid.column import DATES, TEXTS, UUIDS, Column, cast, quote, typed

ROWS = 400
INTEGERS = {"int2": 2**15, "int4": 2**31, "int8": 2**63}
TIMES = [" 00:00:00", " 12:34:56.123456", " 23:59:59.999999"]
FLOATS = ["0", "-0", "1", "-1", "0.1", "1.5", "1e30", "-1e30", "1e-30", "NaN", "Infinity", "-Infinity"]
DECIMALS = ["0", "0.01", "-0.01", "1", "1.10", "9999999999.99", "-9999999999.99", "12345.67"]
KEYS = ["id", "few", "int8_", "line", "money_", "day"]


def columns():
    integers = {name: [str(v) for v in (-edge, 1 - edge, -2, -1, 0, 1, 2, 7, edge - 1)] for name, edge in INTEGERS.items()}
    plain = lambda value: value
    small = lambda value: f"({value})"
    large = lambda value: value if value != str(-2**63) else "(-9223372036854775807 - 1)"
    moments = [day + time for day in DATES for time in TIMES]
    return [
        *(Column(f"{name}_", name, values, large if name == "int8" else small, sums=True) for name, values in integers.items()),
        Column("few", "int4", ["1", "2", "3"], plain, sums=True, averages=True),
        Column("flag", "bool", ["true", "false"], plain, extremes=False),
        Column("single", "float4", FLOATS, cast("REAL"), extremes=False),
        Column("double", "float8", FLOATS, cast("DOUBLE"), extremes=False),
        Column("money_", "numeric(12,2)", DECIMALS, plain, sums=True, averages=True),
        Column("wide", "numeric(38,10)", ["0", "9999999999999999999999999999.9999999999", "-1.0000000001"], plain),
        Column("free", "numeric", ["0", "1.10", "1e50", "NaN"]),
        Column("line", "text", TEXTS, quote, text=True),
        Column("short", "varchar(20)", [text[:20] for text in TEXTS], quote, text=True),
        Column("coll", 'text COLLATE "und-x-icu"', TEXTS, quote, text=True, extremes=False),
        Column("fixed", "char(6)", ["", "a", "a b", "B", "é"], quote, text=True, extremes=False),
        Column("day", "date", DATES, typed("DATE")),
        Column("clock", "time", [time.strip() for time in TIMES], typed("TIME")),
        Column("moment", "timestamp", moments, typed("TIMESTAMP")),
        Column("instant", "timestamptz", [moment + "+00" for moment in moments], cast("TIMESTAMP WITH TIME ZONE")),
        Column("code", "uuid", UUIDS, quote, extremes=False),
        Column("bytes", "bytea", ["\\x", "\\x00", "\\x00ff", "\\x27"]),
        Column("doc", "jsonb", ["{}", '{"a": [1, null]}', "null", '"x"']),
        Column("mood", "mood", ["sad", "ok", "happy"]),
        Column("many", "int4[]", ["{}", "{1,NULL,2}"], groups=False),
        Column("span", "interval", ["1 day", "-2 months 3 hours"]),
        Column("range_", "int4range", ["[1,5)", "empty"]),
        Column("ip", "inet", ["10.0.0.1", "::1"]),
    ]


class Postgres:
    """The tables `t` and `k` in a schema of their own."""

    def __init__(self, schema):
        self.schema, self.url = schema, os.environ["TRIBUTARY_TEST_POSTGRES_URL"]
        self.catalogs = {"pg": f'connector = "postgres"\nurl = "{self.url}"\nmax_connections = 8\nsplit_size = 8192\n'}
        self.table, self.other = f"pg.{schema}.t", f"pg.{schema}.k"
        self.columns = columns()
        self.named = {column.name: column for column in self.columns}
        self.others = [(self.other, [(self.named.get(key, Column(key, "int", [])), key) for key in KEYS])]

    def load(self, random_):
        """The tables, the same for the same random state."""
        schema = self.schema
        kinds = ", ".join(f'"{column.name}" {f"{schema}.mood" if column.kind == "mood" else column.kind}' for column in self.columns)
        sql = [f"DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}; CREATE TYPE {schema}.mood AS ENUM ('sad', 'ok', 'happy');",
               f"CREATE TABLE {schema}.t (id int PRIMARY KEY, {kinds});",
               f"CREATE TABLE {schema}.k (id int, few int4, int8_ int8, line text, money_ numeric(12,2), day date);"]
        for at in range(ROWS):
            values = ["NULL" if random_.random() < 0.15 else quote(random_.choice(column.values)) for column in self.columns]
            sql.append(f"INSERT INTO {schema}.t VALUES ({at}, {', '.join(values)});")
        for at in range(60):
            values = ["NULL" if random_.random() < 0.2 else quote(random_.choice(self.named[name].values)) for name in KEYS[1:]]
            sql.append(f"INSERT INTO {schema}.k VALUES ({random_.randrange(ROWS * 2)}, {', '.join(values)});")
        # An index may be chosen, and then one connection reads.
        sql.append(f"CREATE INDEX ON {schema}.t (few); CREATE INDEX ON {schema}.t (day); ANALYZE {schema}.t; ANALYZE {schema}.k;")
        quiet = {**os.environ, "PGOPTIONS": "--client-min-messages=warning"}
        subprocess.run(["psql", self.url, "-q", "-v", "ON_ERROR_STOP=1"], input="\n".join(sql), check=True, timeout=120, env=quiet, text=True)
