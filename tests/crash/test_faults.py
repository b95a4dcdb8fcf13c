"""The disk says no, seen from outside: what LMTP, IMAP and POP3 answer, that nothing acknowledged
is lost, that other work goes on, and that all is well when the disk is. The outside checker knows
what must be there."""
import re
import unittest

from crash.checker import GONE, Account, Refused, Session
from crash.steps import build_with_faults
from lib.messages import generated
from lib.server import Server, wait_until

CONFIG = """
process { workers = 1 doors = 1 readers = 1 }
store { volumes = 1 segment_size = 65536 checkpoint_operations = 20 checkpoint_ms = 10 scrub = 0 }
"""


class Faults(unittest.TestCase):
    def setUp(self):
        self.server = Server(config=CONFIG, build=build_with_faults())
        self.addCleanup(self.server.close)
        self.server.account("ann", "secret")
        self.account = Account(self.server, "ann")
        self.messages = [m for m in generated(60, seed=8) if len(m) > 2000]
        with Session(self.account) as session:
            for message in self.messages[:5]:
                session.deliver(message)
        self.account.check()

    def restart(self, faults):
        self.assertEqual(self.server.stop(), 0)
        self.server.env.update(RESTANTE_FAULT=faults, RESTANTE_FAULT_IN="restante-worker")
        self.server.start()

    def well_again(self):
        self.server.kill()
        self.server.env["RESTANTE_FAULT"] = ""
        self.server.start()
        self.account.check()
        with Session(self.account) as session:
            for message in self.messages[-2:]:
                session.deliver(message)
        self.account.check()
        self.assertIn("0 damaged", self.server.run("check").stdout)

    def refused(self, ask):
        """The answer that says no; what was asked is not there."""
        with Session(self.account) as session:
            with self.assertRaises(Refused) as caught:
                ask(session)
        self.account.doubt = None  # a clear no: check() must not find it
        return str(caught.exception)

    def settled(self):
        """Waits until the volume has recovered, and compares."""
        def settled():
            try:
                self.account.settle()
                self.account.check()
                return True
            except GONE:
                return False
        wait_until("the volume to recover", settled)

    def test_disk_full(self):
        """452 4.3.1 and NO; reading, flags and expunging go on."""
        self.restart("store.space=ENOSPC")

        def full():
            try:
                with Session(self.account) as session:
                    session.deliver(self.messages[10])
                return None
            except Refused as error:
                self.account.doubt = None
                return str(error)
            finally:
                self.messages.pop(10)
        self.assertRegex(wait_until("the disk to be full", full), r"^452 b?'?4\.3\.1")
        answer = self.refused(lambda s: s.append("INBOX", self.messages[12]))
        self.assertRegex(answer, r"'NO'.*\[(OVERQUOTA|UNAVAILABLE|LIMIT)\]")
        self.account.check()
        with Session(self.account) as session:
            uids = sorted(self.account.boxes["INBOX"].messages)
            session.store("INBOX", uids[:2], "\\Flagged")
            session.expunge("INBOX", uids[:1])
        self.account.check()
        self.well_again()

    def some_refused(self, faults):
        """Deliveries and flags while now and then something fails; every no is a clean one."""
        self.restart(faults)
        refusals = 0
        for number in range(10, 26):
            try:
                with Session(self.account) as session:
                    session.deliver(self.messages[number])
                    session.select("INBOX")
            except GONE as error:
                refusals += 1
                code = re.match(r"(\d+) b?'?(\d\.\d\.\d)", str(error))
                self.assertTrue(code is None or code.group(1) in ("451", "452"), str(error))
                self.settled()
        self.account.check()
        self.assertGreater(refusals, 0)

    def test_write_fails(self):
        self.some_refused("store.log.write@7=EIO,store.log.write@15=ENOSPC")
        self.assertIn("store_recovered", self.server.log_text())
        self.well_again()

    def test_sync_fails(self):
        """A failed sync: the tick is in doubt until recovery has looked."""
        self.some_refused("store.log.sync@6=EIO,store.log.sync@14=EDQUOT")
        self.assertIn("store_recovered", self.server.log_text())
        self.well_again()

    def test_index_cannot_be_written(self):
        """A failed commit of LMDB: the index is made anew, under the server."""
        self.restart("store.index.commit@3=EIO")
        with Session(self.account) as session:
            session.select("INBOX")

            def recovered():
                try:
                    box = self.account.boxes["INBOX"]
                    uid = min(box.messages)
                    session.store("INBOX", [uid], "\\Seen",
                                  add="\\Seen" not in box.messages[uid].flags)
                except GONE:
                    session.close()
                    self.settled()
                return "store_recovered" in self.server.log_text()
            wait_until("the index to be made anew", recovered)
        self.account.check()
        self.well_again()

    def test_read_fails(self):
        """Cold mail that the disk does not give: NO, -ERR, never other bytes; the rest goes on."""
        self.restart("store.read.warm=EIO,store.read=EIO")
        imap = self.server.imap("ann", "secret")
        imap.select("INBOX")
        uid = str(min(self.account.boxes["INBOX"].messages))
        status, data = imap.uid("FETCH", uid, "(BODY.PEEK[])")
        literal = [part for part in data if isinstance(part, tuple)]
        self.assertEqual((status, literal), ("NO", []), data)
        self.assertEqual(imap.uid("FETCH", uid, "(UID FLAGS RFC822.SIZE)")[0], "OK")
        self.assertEqual(imap.uid("STORE", uid, "+FLAGS", "($Note)")[0], "OK")
        imap.logout()
        messages = self.account.boxes["INBOX"].messages
        messages[int(uid)].flags |= {"$Note"}
        pop3 = self.server.pop3("ann", "secret")
        with self.assertRaises(Exception) as caught:
            pop3.retr(1)
        self.assertRegex(str(caught.exception), r"-ERR \[SYS/")
        self.assertEqual(pop3.stat()[0], len(messages))
        pop3.quit()
        pop3.close()
        self.well_again()


if __name__ == "__main__":
    unittest.main()
