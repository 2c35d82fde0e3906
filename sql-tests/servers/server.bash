# What `up` and `down` share: where the state lies, how the servers are found and stopped. Nothing here waits without a bound.
state=${TRIBUTARY_TEST_STATE:-/tmp/tributary-test-$(id -u)}
postgres_password=secret
s3_key=testkey
s3_secret=testsecret
s3_bucket=data
login_password='pa:ss/w@rd'

say() { echo "servers: $*" >&2; }
die() { say "$*"; exit 1; }

retry() { # retry COMMAND...: three tries, for installers
    local try
    for try in 1 2 3; do
        "$@" && return
        sleep $((try * 2))
    done
    return 1
}

install_packages() {
    local sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    retry $sudo apt-get -qq update >&2 || true
    DEBIAN_FRONTEND=noninteractive retry $sudo apt-get -qq install -y --no-install-recommends "$@" >&2
}

free_ports() { # free_ports N: N different free loopback ports on one line
    python3 - "$1" <<'PYTHON'
import socket, sys
held = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in held:
    s.bind(("127.0.0.1", 0))
print(*[s.getsockname()[1] for s in held])
PYTHON
}

wait_until() { # wait_until SECONDS COMMAND...
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.3
    done
}

as_postgres() { # Postgres refuses to run as root
    if [ "$(id -u)" = 0 ]; then (cd / && exec runuser -u postgres -- "$@"); else "$@"; fi
}

postgres_answers() { # a startup packet that asks for TLS is answered with one byte
    python3 - "$1" <<'PYTHON' 2>/dev/null
import socket, struct, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 2)
s.settimeout(2)
s.sendall(struct.pack("!ii", 8, 80877103))
sys.exit(s.recv(1) not in (b"S", b"N"))
PYTHON
}

postgres_pid() { # postgres_pid FOLDER: the process of this data folder of the state, if it runs
    local file=$state/$1/data/postmaster.pid pid
    [ -r "$file" ] || [ "$(id -u)" = 0 ] || return 1
    pid=$(head -1 "$file" 2>/dev/null) && [ -n "$pid" ] || return 1
    grep -qs "$state/$1/data" <(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) && echo "$pid"
}

server_pid() { # server_pid FOLDER: the process that works on this folder of the state, if it runs
    local pid
    pid=$(cat "$state/$1/pid" 2>/dev/null) && [ -n "$pid" ] || return 1
    grep -qs "$state/$1/data" <(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) && echo "$pid"
}

mongodb_url() { echo "mongodb://127.0.0.1:$1/?directConnection=true"; }

login_url() { # of the user "reader", on the server that asks for logins; its password has what a url must write as %xx
    local quoted
    quoted=$(python3 -c 'import sys, urllib.parse; print(*[urllib.parse.quote(text, safe="") for text in sys.argv[1:]])' "$login_password" "$state/tls/ca.pem")
    echo "mongodb://reader:${quoted% *}@127.0.0.1:$1/?directConnection=true&authSource=admin&tls=true&tlsCAFile=${quoted#* }"
}

mongodb_answers() { # mongodb_answers URL
    timeout 20 "$state/venv/bin/python" - "$1" 2>/dev/null <<'PYTHON'
import sys, pymongo
client = pymongo.MongoClient(sys.argv[1], serverSelectionTimeoutMS=2000)
sys.exit(client.admin.command("ping")["ok"] != 1.0)
PYTHON
}

gone() { ! kill -0 "$1" 2>/dev/null; }

stop_database() { # stop_database FOLDER NAME
    local pid
    pid=$(postgres_pid "$1") || return 0
    say "stopping $2"
    kill -INT "$pid" 2>/dev/null || return 0 # fast shutdown: open sessions are ended
    wait_until 20 gone "$pid" || { kill -QUIT "$pid" 2>/dev/null; wait_until 10 gone "$pid" || kill -KILL "$pid" 2>/dev/null || true; }
}

stop_server() { # stop_server FOLDER NAME
    local pid
    pid=$(server_pid "$1") || return 0
    say "stopping $2"
    kill -TERM "$pid" 2>/dev/null || return 0
    wait_until 15 gone "$pid" || { kill -KILL "$pid" 2>/dev/null; wait_until 5 gone "$pid" || true; }
}

stop_postgres() { stop_database postgres Postgres; }
stop_standby() { stop_database standby "the standby"; }
stop_pgbouncer() { stop_server pgbouncer PgBouncer; }
stop_s3() { stop_server s3 "the S3 server"; }
stop_mongodb() { stop_server mongodb "the MongoDB server"; }
stop_login() { stop_server mongodb-login "the MongoDB server with logins"; }
