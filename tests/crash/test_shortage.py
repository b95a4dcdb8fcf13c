"""No memory, and no descriptors, in each process in turn, under real protocols. A process without
memory for a few bytes ends with a log line and is started again (base/mem.h): outside checkers that
remember every acknowledgement must not notice more than a broken connection. Where there is no
descriptor for a memory file, each command that needs one is answered, and the rest goes on."""
import unittest

from crash.checker import GONE
from crash.steps import build_with_faults
from crash.test_kill import CONFIG, Person
from lib.server import PATIENCE, Server, wait_until

# Process: the allocation that fails, in each life of it: behind its start, and among its work.
ALLOCATIONS = {"worker": 4000, "door": 3000, "auth": 600, "reader": 1500, "tls": 250}


class Shortage(unittest.TestCase):
    def memory(self, process, number):
        env = {"RESTANTE_FAULT": f"mem.alloc@{number}=ENOMEM",
               "RESTANTE_FAULT_IN": f"restante-{process}"}
        with Server(config=CONFIG, build=build_with_faults(), env=env, start=False) as server:
            server.start()
            people = [Person(server, name, number + at, tls=at == 1)
                      for at, name in enumerate(("ann", "ben"))]
            for person in people:
                server.account(person.account.name, "secret")
                person.start()

            def ended():
                with open(server.log, errors="replace") as log:
                    return sum("event=out_of_memory" in line for line in log)
            try:
                wait_until("an end for want of memory, and work", lambda: ended() and all(
                    person.account.acknowledged > 3 for person in people) or
                           any(person.failure for person in people), 4 * PATIENCE)
            finally:
                for person in people:
                    person.stopping.set()
                for person in people:
                    person.join(4 * PATIENCE)
            for person in people:
                if person.failure:
                    raise person.failure
            server.stop()
            server.env["RESTANTE_FAULT"] = ""
            server.start()
            for person in people:
                person.account.check()

    def test_no_memory(self):
        for process, number in ALLOCATIONS.items():
            with self.subTest(process=process):
                self.memory(process, number)

    def server(self, process):
        env = {"RESTANTE_FAULT": "memory.create=EMFILE", "RESTANTE_FAULT_IN": f"restante-{process}"}
        server = Server(config=CONFIG, build=build_with_faults(), env=env, start=False)
        self.addCleanup(server.close)
        server.start()
        server.account("ann", "secret")
        return server

    def same_processes(self, server):
        (master,) = [p for p in server.status()["processes"] if p["process"] == "master"]
        self.assertEqual([p for p in master["processes"] if p["restarts"]], [])

    def test_no_memory_file_in_worker(self):
        server = self.server("worker")
        server.deliver("ann", b"Subject: needle\r\n\r\nhay\r\n")
        imap = server.imap("ann", "secret")
        self.assertEqual(imap.select(), ("OK", [b"1"]))
        self.assertEqual(imap.append("INBOX", None, None, b"Subject: x\r\n\r\n" + b"y" * 300000)[0], "NO")
        self.assertEqual(imap.search(None, "BODY", "hay")[0], "NO")
        self.assertEqual(imap.search(None, "UNSEEN"), ("OK", [b"1"]))
        self.assertEqual(imap.fetch("1", "(FLAGS BODY.PEEK[])")[0], "OK")
        self.assertEqual(imap.store("1", "+FLAGS", "\\Seen")[0], "OK")
        imap.logout()
        self.same_processes(server)

    def test_no_memory_file_in_door(self):
        server = self.server("door")
        with server.lmtp() as lmtp:
            try:
                large = b"Subject: x\r\n\r\n" + b"y" * 70 * 1000 + b"\r\n"  # a short one needs none
                (code, text), = lmtp.transact("a@b.example", "ann", large).values()
            except GONE as error:
                self.fail(f"no answer: {error!r}")
            self.assertEqual((code // 100, text[:2]), (4, b"4."), text)
        imap = server.imap("ann", "secret")
        self.assertEqual(imap.select(), ("OK", [b"0"]))
        imap.logout()
        self.same_processes(server)


if __name__ == "__main__":
    unittest.main()
