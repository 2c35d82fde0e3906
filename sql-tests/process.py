"""Starts the binary as a server with workers for the tests in Python; everything is bounded and ended on exit."""
import os
import pathlib
import queue
import secrets
import subprocess
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parent.parent
READY_S = 60


class Process:
    """One process that prints a ready line."""

    def __init__(self, command, log, env):
        self.log = pathlib.Path(log)
        self.child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log.open("w"), env=env, text=True)
        lines = queue.Queue()
        threading.Thread(target=lambda: [lines.put(line) for line in self.child.stdout], daemon=True).start()
        try:
            line = lines.get(timeout=READY_S)
        except queue.Empty:
            self.stop()
            raise SystemExit(f"{command} was not ready within {READY_S} s\n{self.log.read_text()[-3000:]}") from None
        if not line.startswith("ready "):
            self.stop()
            raise SystemExit(f"{command} printed {line!r} instead of its ready line")
        self.ready = dict(part.split("=", 1) for part in line.split()[1:])

    def rss_mb(self):
        fields = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{self.child.pid}/status").read_text().splitlines())
        return int(fields["VmRSS"].split()[0]) // 1024

    def stop(self):
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(10)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait(10)


class Cluster:
    """A server and its workers: `with Cluster(binary, catalogs, 3) as cluster`."""

    def __init__(self, binary, catalogs, workers=0, limits=""):
        self.binary, self.catalogs, self.count, self.limits = binary, catalogs, workers, limits
        self.processes = []

    def __enter__(self):
        try:
            self.folder = tempfile.TemporaryDirectory()
            folder = pathlib.Path(self.folder.name)
            config = folder / "tributary.toml"
            config.write_text(f"[limits]\n{self.limits}\n" if self.limits else "")
            env = {**os.environ, "TRIBUTARY_CLUSTER_SECRET": secrets.token_hex(16)}
            command = [self.binary, "server", "--config", str(config), "--catalogs", str(self.catalogs), "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]
            self.server = Process(command, folder / "server.log", env)
            self.processes.append(self.server)
            self.address = self.server.ready["flight"]
            for at in range(self.count):
                command = [self.binary, "worker", "--coordinator", self.address, "--listen", "127.0.0.1:0"]
                self.processes.append(Process(command, folder / f"worker-{at}.log", env))
            self.wait_for_workers()
        except BaseException:
            self.__exit__()
            raise
        return self

    def wait_for_workers(self):
        import time

        end = time.monotonic() + READY_S
        with self.connect() as connection, connection.cursor() as cursor:
            while True:
                cursor.execute("SELECT count(*) FROM system.runtime.workers WHERE state = 'alive'")
                if cursor.fetchone()[0] == self.count:
                    return
                if time.monotonic() > end:
                    raise SystemExit(f"the server does not use {self.count} workers\n{self.server.log.read_text()[-3000:]}")
                time.sleep(0.1)

    def connect(self):
        return connect(self.address)

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.stop()


def connect(address, user="test", password="", seconds=300):
    import adbc_driver_flightsql.dbapi as flight
    from adbc_driver_flightsql import DatabaseOptions

    options = {"username": user, "password": password, DatabaseOptions.TIMEOUT_QUERY.value: str(seconds), DatabaseOptions.TIMEOUT_FETCH.value: str(seconds),
               DatabaseOptions.WITH_MAX_MSG_SIZE.value: str(256 << 20)}
    return flight.connect(f"grpc://{address}", db_kwargs=options, autocommit=True)
