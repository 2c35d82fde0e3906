# The commands of the house; continuous integration calls the same. `just` lists them.

_list:
    @just --list --unsorted

# Type-check everything
check:
    cargo check --workspace --all-targets

# Format
fmt:
    cargo fmt

# Lint as continuous integration does
lint:
    cargo fmt --check
    cargo clippy --workspace --all-targets -- -D warnings

# Install what the tests need and pass all of them
test:
    sql-tests/run

# Run a folder of sqllogictest files against a server: just slt DIR [HOST:PORT] [known-failures file]
slt dir server="127.0.0.1:32010" known="":
    cargo build -q --workspace && "${CARGO_TARGET_DIR:-target}/debug/slt" {{dir}} --server {{server}} {{ if known == "" { "" } else { "--known " + known } }}

# Fill the expected rows of cases from the oracle (DuckDB), never from Tributary
bless +files:
    eval "$(sql-tests/servers/up)" && "$TRIBUTARY_TEST_STATE/venv/bin/python" sql-tests/bless {{files}}

# Random queries over every type of Postgres and MongoDB, pushdown off and on, alone and on workers: just conformance, or just conformance full
conformance size="" *args:
    #!/usr/bin/env bash
    set -euo pipefail
    cargo build -q --workspace
    eval "$(sql-tests/servers/up)"
    for source in postgres mongodb; do
        "$TRIBUTARY_TEST_STATE/venv/bin/python" sql-tests/conformance --binary "${CARGO_TARGET_DIR:-target}/debug/tributary" --source $source {{ if size == "full" { "--queries 20000" } else { "" } }} {{args}}
    done

# Start Postgres and S3 for the tests and print their addresses
servers:
    sql-tests/servers/up

# Stop them
servers-down:
    sql-tests/servers/down

# A server and three workers on the shipped example catalogs, until Ctrl-C
cluster workers="3":
    #!/usr/bin/env bash
    set -euo pipefail
    cargo build -q --workspace
    binary=${CARGO_TARGET_DIR:-target}/debug/tributary
    TRIBUTARY_CLUSTER_SECRET=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
    export TRIBUTARY_CLUSTER_SECRET
    trap 'kill $(jobs -p) 2>/dev/null' EXIT
    $binary server --catalogs examples/catalogs --listen 127.0.0.1:32010 --http 127.0.0.1:8047 &
    for _ in $(seq {{workers}}); do $binary worker --coordinator 127.0.0.1:32010 --listen 127.0.0.1:0 & done
    wait

# A shell on the test servers' catalogs: just play
play catalogs="sql-tests/etc/catalogs":
    eval "$(sql-tests/servers/up)" && cargo run -q -p tributary -- sql --catalogs {{catalogs}}

# Measure on a release build beside the peers in the same run: just bench tpch [ARGS]; just bench drain postgres|mongodb [ARGS]; just bench federated [ARGS]
bench what *args:
    sql-tests/bench/setup
    cargo build --release --workspace --features sql-tests/bench --bins --examples
    eval "$(sql-tests/servers/up)" && "$TRIBUTARY_TEST_STATE/bench/venv/bin/python" sql-tests/bench/{{what}} {{args}} --target "${CARGO_TARGET_DIR:-target}/release"

# Install the benchmarks' peers: just bench-setup, or just bench-setup trino for Trino 476 too (800 MB from Maven Central)
bench-setup trino="":
    sql-tests/bench/setup {{trino}}

# Start a connector's crate from the reference one
new-connector name:
    sql-tests/new-connector {{name}}

# The documentation of the code
docs:
    cargo doc --workspace --no-deps

# The container image
image:
    docker build -t tributary .
