"""What the benchmarks of Postgres share: TPC-H tables in a database, and a process that is measured."""
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import duckdb

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
URL = os.environ["TRIBUTARY_TEST_POSTGRES_URL"]
KEYS = {"orders": "o_orderkey", "customer": "c_custkey", "supplier": "s_suppkey", "lineitem": None, "nation": None, "region": None}


def quiet():
    db = duckdb.connect()
    db.execute("SET enable_progress_bar = false")
    return db


def psql(sql, stdin=None):
    env = {**os.environ, "PGOPTIONS": "--client-min-messages=warning"}
    command = ["psql", URL, "-q", "-At", "-v", "ON_ERROR_STOP=1", "-c", sql]
    return subprocess.run(command, check=True, timeout=1800, stdin=stdin or subprocess.DEVNULL, stdout=subprocess.PIPE, env=env, text=True).stdout


def generate(scale):
    """A folder with one Parquet file a table, made once."""
    folder = pathlib.Path(os.environ["TRIBUTARY_TEST_STATE"]) / f"bench-tpch-{scale}"
    done = folder.parent / f"{folder.name}.done"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([pathlib.Path(sys.executable).parent / "tpchgen-cli", "parquet", "-s", scale, "-o", folder], check=True, timeout=1800, stdout=subprocess.DEVNULL)
        done.touch()
    return folder


def load(scale, tables):
    """Puts the tables into a schema of their own, with primary keys and statistics, once."""
    folder, schema = generate(scale), f"bench_{scale.replace('.', '_')}"
    psql(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    there = psql(f"SELECT tablename FROM pg_tables WHERE schemaname = '{schema}'").split()
    for table in tables:
        if table in there:
            continue
        source = f"read_parquet('{folder}/{table}.parquet')"
        columns = quiet().execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
        psql(f"DROP TABLE IF EXISTS {schema}.loading")
        psql(f"CREATE TABLE {schema}.loading ({', '.join(f'{name} {kind} NOT NULL' for name, kind, *_ in columns)})")
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".csv") as file:
            quiet().execute(f"COPY (SELECT * FROM {source}) TO '{file.name}' (FORMAT csv, HEADER false)")
            with open(file.name) as rows:
                psql(f"COPY {schema}.loading FROM STDIN (FORMAT csv)", stdin=rows)
        if KEYS[table]:
            psql(f"ALTER TABLE {schema}.loading ADD PRIMARY KEY ({KEYS[table]})")
        if table == "lineitem":
            psql(f"CREATE INDEX ON {schema}.loading (l_orderkey)")
        psql(f"ALTER TABLE {schema}.loading RENAME TO {table}")
        # A standby that still reads older rows keeps pages from being known as visible to all, as those of an older table are.
        for _ in range(60):
            psql(f"VACUUM ANALYZE {schema}.{table}")
            if psql(f"SELECT relallvisible >= relpages FROM pg_class WHERE oid = '{schema}.{table}'::regclass").strip() == "t":
                break
            time.sleep(1)
    return schema


class Measured:
    """Seconds, CPU seconds, peak memory in MB and the output of a process, its children counted."""

    def __init__(self, command, limit=1800):
        start = time.monotonic()
        child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.output = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            raise SystemExit(f"{command[0]} ended with {child.returncode}")
        self.seconds, self.cpu, self.memory_mb = time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024
