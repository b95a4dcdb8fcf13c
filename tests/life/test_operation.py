"""What an administrator does and sees: status, metrics, changed settings, a process that hangs, help."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

from lib.server import BUILD, PATIENCE, PROGRAM, Server, wait_until


class Operation(unittest.TestCase):
    def test_status(self):
        with Server(config="process { workers = 1\n readers = 1\n doors = 1 }\n") as server:
            server.account("alice", "secret")
            self.assertEqual(len(server.process_list()), 6)
            imap = server.imap("alice", "secret", tls=True)
            imap.select()
            imap.send(b"x IDLE\r\n")
            self.assertTrue(imap.readline().startswith(b"+"))
            pop3 = server.pop3("alice", "secret")
            self.addCleanup(pop3.close)
            worker = next(p for p in server.status()["processes"] if p["process"] == "worker")
            self.assertEqual((worker["sessions"], worker["imap"], worker["pop3"]), (2, 1, 1))
            sessions = {s["protocol"]: s for s in worker["clients"]}
            self.assertEqual((sessions["imap"]["secure"], sessions["pop3"]["secure"]), (True, False))
            self.assertIn("IDLE", sessions["imap"]["state"].upper())
            page = server.run("status").stdout
            for process in ("control0", "reader0", "auth0", "worker0", "tls0", "door0"):
                self.assertRegex(page, rf"\n  {process} +\d+  ready +0")
            self.assertRegex(page, r"volume 0 +open")
            self.assertRegex(page, r"\n  alice +imap  127\.0\.0\.1 +TLS +\d+  .*(?i:idle)")
            self.assertIn("2 sessions", page)
            self.assertIn(f"imap   127.0.0.1:{server.ports['imap']}", page)
            # Metrics say the same.
            code, metrics = server.http("/metrics")
            self.assertEqual(code, 200)
            self.assertIn('restante_sessions{process="worker",index="0"} 2', metrics)
            for line in metrics.splitlines():
                self.assertRegex(line, r"^(# (HELP|TYPE) \w+ .+|\w+(\{[^}]*\})? -?[0-9.e+]+)$")
            self.assertEqual(server.http("/healthz"), (200, "ok\n"))
            # The end of a session is logged, once, with what it did.
            imap.send(b"DONE\r\ny LOGOUT\r\n")
            imap.shutdown()
            pop3.quit()
            wait_until("the ends", lambda: server.log_text().count("event=session_end") >= 2)
            self.assertEqual(server.stop(), 0)
            ends = [line for line in server.log_text().splitlines() if "event=session_end" in line]
            self.assertEqual(len(ends), 2, ends)
            for protocol in ("imap", "pop3"):
                self.assertEqual(sum(f"protocol={protocol} account=alice rip=127.0.0.1" in line
                                     for line in ends), 1, ends)
            done = server.run("status", check=False)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertEqual(done.stderr.count("\n"), 1)
            self.assertIn("restante serve", done.stderr)

    def test_settings_are_read_again(self):
        with Server(config="message { size = 1M }\nlog { level = \"info\" }\n") as server:
            server.account("alice", "secret")
            imap = server.imap("alice", "secret")
            self.addCleanup(imap.shutdown)

            def announced():
                with server.lmtp() as lmtp:
                    return re.search(rb"SIZE (\d+)", lmtp.docmd("LHLO", "client")[1])[1]

            self.assertEqual(announced(), b"1048576")
            for text, wanted in (("message { size = 2M }\n", b"2097152"),
                                 ("message { size = 3M }\nprocess { workers = 5 }\n", b"3145728")):
                with open(server.config_file, "w") as file:
                    file.write(text)
                server.process.send_signal(signal.SIGHUP)
                wait_until("the new setting", lambda: announced() == wanted)
            wait_until("word of what needs a restart",
                       lambda: "event=restart_needed setting=process_workers" in server.log_text())
            with open(server.config_file, "w") as file:
                file.write("message {\n  size = 4M\n")
            server.process.send_signal(signal.SIGHUP)
            wait_until("the refusal", lambda: "event=reload_refused" in server.log_text())
            self.assertIn("is a } missing?", server.log_text())
            self.assertEqual(announced(), b"3145728")
            self.assertEqual(imap.noop()[0], "OK")  # the session never knew

    def programs(self, hanging):
        """The programs, one of them replaced by one that never becomes ready."""
        directory = tempfile.mkdtemp(prefix="restante-test-")
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        os.chmod(directory, 0o755)
        for name in ("master", "tls", "door", "auth", "worker", "reader", "control"):
            shutil.copy(os.path.join(BUILD, f"restante-{name}"), directory)
        path = os.path.join(directory, f"restante-{hanging}")
        with open(path, "w") as file:
            file.write("#!/bin/sh\nexec sleep 1000\n")
        return directory

    def test_hanging_process(self):
        """One that hangs before it is ready is named, ended, tried again, and given up."""
        programs = self.programs("reader")
        with tempfile.TemporaryDirectory() as data, tempfile.NamedTemporaryFile("w") as config:
            config.write("timeout { start = 1 }\n")
            config.flush()
            done = subprocess.run([os.path.join(programs, "restante-master"), "--data", data, "--config",
                                   config.name, "--listen=imap=127.0.0.1:0"],
                                  capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"event=child_late child=reader\d pid=\d+ seconds=1 then=killed")
        self.assertRegex(done.stderr, r"event=child_exit child=reader\d signal=9 .* crashes=3")
        self.assertIn("event=start_failed", done.stderr)

    def test_slow_recovery_is_left_alone(self):
        """A worker may be rebuilding an index: it is named in the log, not ended."""
        programs = self.programs("worker")
        with tempfile.TemporaryDirectory() as data, tempfile.NamedTemporaryFile("w") as config, \
                tempfile.NamedTemporaryFile("r") as log, open(log.name, "w") as out:
            config.write("timeout { start = 1\n drain = 0 }\n")
            config.flush()
            master = subprocess.Popen([os.path.join(programs, "restante-master"), "--data", data,
                                       "--config", config.name, "--listen=imap=127.0.0.1:0"],
                                      stderr=out, stdout=subprocess.DEVNULL)
            self.addCleanup(master.kill)

            def said_twice():
                log.seek(0)
                return len(re.findall(r"child_late child=worker0 .* then=waits", log.read())) >= 2

            wait_until("the log to name it", said_twice)
            master.send_signal(signal.SIGTERM)
            self.assertIn(master.wait(PATIENCE), (0, 1))

    def test_help_teaches(self):
        def text(*words):
            done = subprocess.run([PROGRAM, *words, "--help"], capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stderr), (0, ""), words)
            self.assertLess(max(map(len, done.stdout.splitlines())), 101, words)
            return done.stdout

        top = text()
        self.assertIn("restante serve", top)
        for command in re.findall(r"^  (\w+) ", top, re.M):
            if command == "account":
                parts = re.findall(r"^  (\w+) ", text("account"), re.M)
                self.assertIn("import", parts)
                for part in parts:
                    self.assertRegex(text("account", part), rf"\n    [^\n]*restante account {part}")
            else:
                self.assertRegex(text(command), rf"\n    [^\n]*restante {command}")

    def test_errors_are_one_line(self):
        with tempfile.TemporaryDirectory() as data, socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            for words, remedy in ((["serve", "--nonsense"], "--help"),
                                  (["serve", "--data"], "--help"),
                                  (["serve", "--listen", "imap=nowhere"], "port"),
                                  (["serve", "--listen", "smtp=*:25"], "lmtp"),
                                  (["serve", "--data", data, "--listen", f"imap=127.0.0.1:{port}"],
                                   "another program"),
                                  (["serve", "--tls-cert", "x"], "--tls-key"),
                                  (["serve", "--config", "/nonexistent"], "No such file"),
                                  (["serve", "--data", "/proc/nonexistent"], "/proc/nonexistent"),
                                  (["status", "--data", data], "restante serve"),
                                  (["check", "--data", data + "/no"], "--data"),
                                  (["frob"], "--help"),
                                  (["config", "--check", "/nonexistent"], "No such file")):
                with self.subTest(words=words):
                    done = subprocess.run([PROGRAM, *words], capture_output=True, text=True,
                                          timeout=PATIENCE)
                    self.assertIn(done.returncode, (1, 2))
                    lines = [line for line in done.stderr.splitlines()
                             if not line.startswith(("level=info", "level=warn"))]
                    self.assertEqual(len(lines), 1, done.stderr)
                    self.assertIn(remedy, lines[0])

    def test_json_of_status_is_one_line(self):
        with Server() as server:
            text = server.run("status", "--json").stdout
            self.assertEqual(text.count("\n"), 1)
            self.assertEqual(json.loads(text)["missing"], 0)


if __name__ == "__main__":
    unittest.main()
