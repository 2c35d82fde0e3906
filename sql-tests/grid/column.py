"""What the generator of queries knows of a column, and values that every source should have."""

TEXTS = ["", " ", "a", "a ", "A", "b", "ab", "B", "é", "e\u0301", "ß", "ss", "İ", "ı", "日本", "\U0001F600", "'", "''", "\\", "\\'", "%", "_", "a%b", "a_b", "\n", "\t",
         '"', "null", "NULL", "0", "-1", "zzz", "x'; DROP TABLE t; --", "$1", "{}", "a" * 300]
DATES = ["0001-01-01", "1582-10-04", "1582-10-15", "1969-12-31", "1970-01-01", "2000-02-29", "2024-12-31", "2262-04-12", "9999-12-31"]
UUIDS = ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "123e4567-e89b-12d3-a456-426614174000"]


def quote(value):
    return "'" + value.replace("'", "''") + "'"


def cast(kind):
    """How a value is written whose text is cast."""
    return lambda value: f"CAST({quote(value)} AS {kind})"


def typed(kind):
    """How a value is written after the name of its type. `NOT (t.clock = CAST('…' AS TIME))` is refused by the SQL planner: the cast has nanoseconds."""
    return lambda value: f"{kind} {quote(value)}"


class Column:
    """A column of `t`, or a field inside one: its values as the source takes them, and as our SQL writes them (none: never compared).

    `kind` is the source's own word for the type. `others` are written in SQL and stored nowhere. `sums`, `averages`, `extremes` and `groups`: whether `sum`,
    `avg`, `min` and `max`, and GROUP BY give the same in any order of the rows, and are known for the type.
    """

    def __init__(self, name, kind, values, literal=None, others=(), sums=False, averages=False, text=False, extremes=True, groups=True):
        self.path = name.split("/")
        self.name, self.kind, self.values, self.sums, self.averages, self.text, self.groups = name, kind, values, sums, averages, text, groups
        self.literals = [*(map(literal, values) if literal else ()), *others]
        self.extremes = extremes and bool(self.literals)

    def sql(self, brackets):
        """The column in SQL; a field inside it by brackets or by dots."""
        first, *rest = self.path
        return f't."{first}"' + "".join(f"[{quote(step)}]" if brackets else f'."{step}"' for step in rest)
