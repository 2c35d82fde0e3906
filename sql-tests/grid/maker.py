"""Makes the queries, whatever the source."""


class Maker:
    """One query from one random state. The source says which columns `t` has, and which tables `k` there are to join, by which keys."""

    def __init__(self, random_, source):
        self.random, self.source, self.columns = random_, source, source.columns
        self.compared = [column for column in self.columns if column.literals]
        self.grouped = [column for column in self.columns if column.groups]
        self.brackets = random_.random() < 0.5

    def name(self, column):
        return column.sql(self.brackets)

    def predicate(self, depth=0):
        pick = self.random.random()
        if depth < 3 and pick < 0.35:
            parts = [self.predicate(depth + 1) for _ in range(self.random.choice([2, 2, 3]))]
            return "(" + self.random.choice([" AND ", " OR "]).join(parts) + ")"
        if depth < 3 and pick < 0.42:
            return f"NOT {self.predicate(depth + 1)}"
        column = self.random.choice(self.columns if pick < 0.55 else self.compared)
        name = self.name(column)
        if not column.literals or pick < 0.5:
            return f"{name} IS {self.random.choice(['', 'NOT '])}NULL"
        value = lambda: self.random.choice(column.literals)
        if column.text and pick > 0.85:
            pattern = "".join(self.random.choice(["%", "_", "a", "b", "A", "é", "\\%", "'"]) for _ in range(self.random.randrange(1, 4)))
            return f"{name} {self.random.choice(['', 'NOT '])}{self.random.choice(['LIKE', 'LIKE', 'ILIKE'])} '{pattern.replace(chr(39), chr(39) * 2)}'"
        if pick > 0.78:
            return f"{name} {self.random.choice(['', 'NOT '])}IN ({', '.join(value() for _ in range(self.random.randrange(1, 5)))})"
        if pick > 0.72:
            return f"{name} BETWEEN {value()} AND {value()}"
        if pick > 0.68:
            return f"{name} IS {self.random.choice(['', 'NOT '])}DISTINCT FROM {value()}"
        return f"{name} {self.random.choice(['=', '<>', '<', '<=', '>', '>='])} {value()}"

    def where(self, depth=0):
        """A filter or none; a flat one from depth 2 on, which a source is more likely to take over, and so what comes after."""
        return f" WHERE {self.predicate(depth)}" if self.random.random() < (0.75 if depth == 0 else 0.6) else ""

    def some(self, most):
        return self.random.sample(self.columns, self.random.randrange(1, most))

    def query(self):
        """The text, and how its answers are compared: `rows`, or `count` where any rows may come."""
        form = self.random.random()
        table = f"{self.source.table} t"
        if form < 0.3:
            return f"SELECT {', '.join(['t.id', *map(self.name, self.some(6))])} FROM {table}{self.where()}", "rows"
        if form < 0.36:
            return f"SELECT t.id FROM {table}{self.where()} LIMIT {self.random.choice([0, 1, 7, 50, 1000])}", "count"
        if form < 0.55:
            keys = [f"{self.name(column)} {self.random.choice(['ASC', 'DESC'])} NULLS {self.random.choice(['FIRST', 'LAST'])}" for column in self.some(3)]
            offset = self.random.choice(["", "", f" OFFSET {self.random.randrange(20)}"])
            shown = self.name(self.random.choice(self.columns))
            return f"SELECT t.id, {shown} FROM {table}{self.where(2)} ORDER BY {', '.join(keys)}, t.id LIMIT {self.random.choice([1, 5, 70, 300])}{offset}", "rows"
        if form < 0.82:
            return self.groups(table), "rows"
        if form < 0.86:
            wanted = self.random.sample(self.grouped, self.random.randrange(1, 3))
            return f"SELECT DISTINCT {', '.join(map(self.name, wanted))} FROM {table}{self.where()}", "rows"
        return self.join(table), "rows"

    def groups(self, table):
        group = list(map(self.name, self.random.sample(self.grouped, self.random.randrange(0, 3))))
        calls = ["count(*)"]
        for _ in range(self.random.randrange(0, 3)):
            column = self.random.choice(self.columns)
            function = self.random.choice(["count", "min", "max"] if column.extremes else ["count"])
            if column.sums and self.random.random() < 0.6:
                function = self.random.choice(["sum", "avg"] if column.averages else ["sum"])
            calls.append(f"{function}({self.name(column)})")
        having = f" HAVING count(*) > {self.random.randrange(3)}" if group and self.random.random() < 0.3 else ""
        by = f" GROUP BY {', '.join(group)}" if group else ""
        return f"SELECT {', '.join([*group, *dict.fromkeys(calls)])} FROM {table}{self.where(2)}{by}{having}"

    def join(self, table):
        other, keys = self.random.choice(self.source.others)
        column, there = self.random.choice(keys)
        here, there = self.name(column), f"k.{there}"
        join = self.random.choice(["JOIN", "LEFT JOIN", "RIGHT JOIN", "JOIN"])
        sides = self.random.choice([(f"{other} k", table), (table, f"{other} k")])
        if self.random.random() < 0.3:
            return f"SELECT count(*), count(t.id), count(k.id) FROM {sides[0]} {join} {sides[1]} ON {here} = {there}{self.where()}"
        if self.random.random() < 0.3:
            word = self.random.choice(["", "NOT "])
            # Inside of a subquery, a field of the outer query's table is not found by dots.
            return f"SELECT t.id FROM {table} WHERE {word}EXISTS (SELECT 1 FROM {other} k WHERE {there} = {column.sql(brackets=True)}) AND {self.predicate()}"
        return f"SELECT t.id, k.id, {here} FROM {sides[0]} {join} {sides[1]} ON {here} = {there}{self.where()}"
