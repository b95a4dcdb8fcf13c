"""The life of the processes: start, crash of each, reload, end in order, and what each has really
given up - as root and as an ordinary user."""
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

from lib.server import BUILD, PATIENCE, Server, wait_until

NOBODY = 65534
CHILDREN = ("control", "reader", "auth", "worker", "tls", "door")


class Life(Server):
    """restante-master itself, as `restante serve` executes it, perhaps as another user."""

    def __init__(self, *arguments, user=None, **others):
        self.user = user
        super().__init__(*arguments, start=False, **others)
        if user is not None:
            os.chown(self.data, user, user)
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def command(self):
        command = super().command()
        return [os.path.join(BUILD, "restante-master"), *command[2:]]

    def start(self, wait=True):
        as_user = {} if self.user is None else dict(user=self.user, group=self.user, extra_groups=[])
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=self.env, start_new_session=True,
                                            **as_user)
        if wait:
            wait_until("readiness", self.ready)

    def ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"ended with {self.process.returncode}:\n{self.log_text()}")
        return "event=ready" in self.log_text()

    def ask(self, **request):
        """Every line that the control socket answers."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(PATIENCE)
            s.connect(os.path.join(self.data, "run", "control.sock"))
            s.sendall(json.dumps(request).encode() + b"\n")
            return [json.loads(line) for line in s.makefile() if line.strip()]

    def processes(self):
        """{(name, index): process of master's list}, None while control itself is down."""
        try:
            (status,) = self.ask(verb="status")
        except (OSError, ValueError):
            return None
        for process in status["processes"]:
            if process["process"] == "master":
                return {(p["process"], p["index"]): p for p in process["processes"]}
        return None

    def all_ready(self):
        processes = self.processes()
        return processes and all(p["state"] == "ready" for p in processes.values()) and processes

    def connect(self, name="imap"):
        s = socket.create_connection(("127.0.0.1", self.ports[name]), PATIENCE)
        s.settimeout(PATIENCE)
        return s

    def certificate(self):
        with self.tls().wrap_socket(self.connect("imaps")) as s:
            return s.getpeercert(binary_form=True)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Processes(unittest.TestCase):
    def test_start_and_stop(self):
        with Life() as server:
            processes = server.all_ready()
            self.assertEqual({name for name, _ in processes}, set(CHILDREN))
            self.assertEqual(server.http("/healthz"), (200, "ok\n"))
            metrics = server.http("/metrics")[1]
            self.assertIn('restante_sessions{process="worker",index="0"} 0', metrics)
            self.assertIn("restante_processes_missing 0", metrics)
            self.assertEqual(server.http("/nothing")[0], 404)
            self.assertIn("error", server.ask(verb="nonsense")[0])
            with server.connect() as imap:
                self.assertIn(b"* OK", imap.recv(4096))
                server.process.send_signal(signal.SIGTERM)  # and at once again, below
                self.assertEqual(server.stop(), 0)
                self.assertIn(b"* BYE", imap.recv(4096))
                self.assertNotIn("event=child_killed", server.log_text())
            for process in processes.values():
                self.assertFalse(alive(process["pid"]), process)
            self.assertFalse(os.path.exists(os.path.join(server.data, "run", "control.sock")))
            server.start()  # and again on what is there
            server.stop()

    def test_second_is_refused(self):
        with Life() as server:
            second = subprocess.run(server.command(), capture_output=True, text=True)
            self.assertEqual(second.returncode, 1)
            self.assertIn("in use by another restante", second.stderr)
            self.assertTrue(server.all_ready())

    def test_program_missing(self):
        """A broken installation is said at once, and nothing stays running."""
        with tempfile.TemporaryDirectory() as programs, tempfile.TemporaryDirectory() as data:
            for name in ("master", "tls", "control"):
                shutil.copy(os.path.join(BUILD, f"restante-{name}"), programs)
            done = subprocess.run([os.path.join(programs, "restante-master"), "--data", data,
                                   "--listen=imap=127.0.0.1:0"], capture_output=True, text=True,
                                  timeout=PATIENCE)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn("event=program_missing program=restante-reader", done.stderr)
            self.assertNotIn("event=child_killed", done.stderr)

    def test_notify(self):
        """What systemd is told (sd_notify)."""
        with tempfile.TemporaryDirectory() as directory, \
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            path = os.path.join(directory, "notify")
            told.bind(path)
            told.settimeout(PATIENCE)
            with Life(env={"NOTIFY_SOCKET": path}) as server:
                self.assertTrue(told.recv(1000).startswith(b"READY=1\n"))
                server.process.send_signal(signal.SIGHUP)
                self.assertTrue(told.recv(1000).startswith(b"RELOADING=1\nMONOTONIC_USEC="))
                self.assertEqual(told.recv(1000), b"READY=1")
                server.process.send_signal(signal.SIGTERM)
                self.assertEqual(told.recv(1000), b"STOPPING=1")

    def test_wrong_configuration(self):
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
            file.write("message {\n  size = lots\n}\n")
            file.flush()
            done = subprocess.run([os.path.join(BUILD, "restante-master"), "--config", file.name],
                                  capture_output=True, text=True)
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"{file.name}:2: message_size", done.stderr)

    def test_kill_each(self):
        """Each in turn: it comes back, the others never went, all work together again."""
        with Life() as server:
            before = wait_until("all processes", server.all_ready)
            for key in before:
                pid = before[key]["pid"]
                os.kill(pid, signal.SIGKILL)

                def back():
                    now = server.all_ready()
                    return now and now[key]["pid"] != pid and now

                after = wait_until(f"{key} to come back", back)
                self.assertEqual(after[key]["restarts"], before[key]["restarts"] + 1)
                for other in before:
                    if other != key:
                        self.assertEqual(after[other]["pid"], before[other]["pid"], other)
                before = after
            self.assertIn("event=child_exit child=worker0 signal=9", server.log_text())
            with server.connect() as imap:
                self.assertIn(b"* OK", imap.recv(4096))
            self.assertTrue(server.certificate())
            wait_until("health", lambda: server.http("/healthz")[0] == 200)
            self.assertEqual(server.stop(), 0)

    def test_master_killed(self):
        """Nobody stays behind without a master, and the next one finds all as it should be."""
        with Life() as server:
            children = [process["pid"] for process in server.all_ready().values()]
            server.process.kill()
            server.process.wait(PATIENCE)
            with open(server.log, "w"):
                pass
            server.start()  # at once, on the same ports
            self.assertFalse(any(alive(pid) for pid in children))
            self.assertTrue(server.all_ready())
            self.assertNotIn("volume_failed", server.log_text())

    def test_reload(self):
        """A session lives on; a new certificate is served; a bad one keeps the old and says so."""
        with Life() as server, server.connect() as imap, \
                server.tls().wrap_socket(server.connect("imaps")) as over_tls:
            old = server.certificate()
            self.assertIn(b"* OK", imap.recv(4096))
            tls = os.path.join(server.data, "tls")
            with open(os.path.join(tls, "cert.pem"), "w") as file:
                file.write("nonsense\n")
            server.process.send_signal(signal.SIGHUP)
            wait_until("refusal", lambda: "event=certificate_refused" in server.log_text())
            self.assertEqual(server.certificate(), old)
            for name in ("cert.pem", "key.pem"):
                os.unlink(os.path.join(tls, name))
            server.process.send_signal(signal.SIGHUP)
            wait_until("a new certificate", lambda: server.certificate() != old)
            imap.sendall(b"a CAPABILITY\r\n")
            self.assertIn(b"a OK", imap.recv(4096))
            over_tls.sendall(b"a CAPABILITY\r\n")
            answer = b""
            while b"a OK" not in answer:
                answer += over_tls.recv(4096)

    def test_bad_tls_client(self):
        """Garbage, silence and a vanished client cost nobody else anything."""
        with Life() as server:
            with server.connect("imaps") as silent, server.connect("imaps") as garbage:
                garbage.sendall(b"a LOGIN alice secret\r\n" * 100)
                with server.connect("imaps"):
                    pass
                self.assertTrue(server.certificate())
                with contextlib.suppress(ConnectionError):
                    while garbage.recv(4096):
                        pass
                self.assertTrue(server.certificate())
                silent.close()
            self.assertTrue(server.all_ready())


class Surrender(unittest.TestCase):
    """What each process gave up is gone: it tries, itself, and all is refused."""

    def probe(self, user):
        with Life(user=user) as server:
            for name in CHILDREN:
                answers = server.ask(verb="sandbox-probe", to=name)
                self.assertTrue(answers, name)
                for answer in answers:
                    self.assertEqual(answer, {"open": ""}, name)

    def setUp(self):
        with Life() as server:
            (status,) = server.ask(verb="status")
            missing = {p.get("sandbox_missing", "") for p in status["processes"]} - {""}
        if missing:
            self.skipTest(f"this kernel lacks {missing}")
        if "asan" in BUILD:
            self.skipTest("sanitizers need a wider profile")

    def test_as_started(self):
        self.probe(None)

    @unittest.skipUnless(os.geteuid() == 0, "needs root, to become another user")
    def test_as_ordinary_user(self):
        done = subprocess.run([os.path.join(BUILD, "restante-tls"), "x"], user=NOBODY,
                              group=NOBODY, extra_groups=[], capture_output=True)
        if done.returncode != 2:
            self.skipTest("an ordinary user cannot execute the build")
        self.probe(NOBODY)

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_users_differ(self):
        with Life() as server:
            uids = {}
            for (name, _), process in server.processes().items():
                with open(f"/proc/{process['pid']}/status") as file:
                    fields = dict(line.split(":", 1) for line in file)
                uids[name] = fields["Uid"].split()
                self.assertEqual(int(fields["CapEff"], 16), 0, name)
                self.assertEqual(int(fields["CapBnd"], 16), 0, name)
                self.assertEqual(fields["NoNewPrivs"].strip(), "1", name)
                self.assertEqual(fields["Groups"].strip(), "", name)
            for name, ids in uids.items():
                self.assertEqual(len(set(ids)), 1, name)
                self.assertNotEqual(ids[0], "0", name)
            self.assertEqual(len({ids[0] for ids in uids.values()}), len(CHILDREN))
            owner = os.stat(os.path.join(server.data, "volumes", "0"))
            self.assertEqual(str(owner.st_uid), uids["worker"][0])
            self.assertEqual(owner.st_mode & 0o777, 0o700)


if __name__ == "__main__":
    unittest.main()
