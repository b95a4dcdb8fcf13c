"""POP3 beside itself and beside IMAP: what is deleted when, who holds the lock, what UIDL is."""
import poplib
import socket
import unittest

from lib.server import PATIENCE, Server, wait_until

MESSAGE = b"Message-ID: <%d@example.org>\r\nSubject: message %d\r\n\r\nbody %d\r\n"


class Pop3(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.close)

    def account(self, name, count=5):
        self.server.account(name, "secret")
        for n in range(1, count + 1):
            self.server.deliver(name, MESSAGE % (n, n, n))

    def open(self, name):
        pop3 = self.server.pop3(name, "secret")
        self.addCleanup(pop3.close)
        return pop3

    def reopen(self, name):
        """Another session, once the server has seen the end of the one before."""
        def attempt():
            try:
                return self.open(name)
            except poplib.error_proto as error:
                self.assertIn(b"[IN-USE]", error.args[0])
                return None
        return wait_until("the lock to be given up", attempt)

    def uidls(self, pop3):
        return [line.split()[1].decode() for line in pop3.uidl()[1]]

    def test_delete_takes_effect_at_quit(self):
        self.account("alice")
        pop3 = self.open("alice")
        before = self.uidls(pop3)
        pop3.dele(2)
        with self.assertRaises(poplib.error_proto):
            pop3.retr(2)
        imap = self.server.imap("alice", "secret")
        self.addCleanup(imap.shutdown)
        self.assertEqual(imap.select()[1], [b"5"])  # not yet
        pop3.close()  # dropped, without QUIT: nothing is deleted
        pop3 = self.reopen("alice")
        self.assertEqual(self.uidls(pop3), before)
        pop3.dele(1)
        pop3.rset()
        pop3.dele(2)
        pop3.dele(4)
        self.assertTrue(pop3.quit().startswith(b"+OK"))
        imap.noop()
        self.assertEqual(imap.search(None, "ALL")[1], [b"1 2 3"])
        self.assertEqual(imap.uid("SEARCH", "ALL")[1], [b"1 3 5"])
        self.server.restart()
        pop3 = self.open("alice")
        self.assertEqual(self.uidls(pop3), [before[0], before[2], before[4]])

    def test_drop_in_the_middle(self):
        """A client that vanishes while it is sent something, DELE and QUIT never heard."""
        self.account("bob", 1)
        self.server.deliver("bob", b"Subject: long\r\n\r\n" + b"line\r\n" * 2_000_000)
        s = socket.create_connection(("127.0.0.1", self.server.ports["pop3"]), PATIENCE)
        s.sendall(b"USER bob\r\nPASS secret\r\nDELE 1\r\nRETR 2\r\n")
        while b"line" not in s.recv(65536):
            pass
        s.close()
        pop3 = self.reopen("bob")
        self.assertEqual(pop3.stat()[0], 2)

    def test_in_use(self):
        self.account("carol")
        first = self.open("carol")
        with self.assertRaises(poplib.error_proto) as refused:
            self.open("carol")
        self.assertIn(b"[IN-USE]", refused.exception.args[0])
        self.assertEqual(first.stat()[0], 5)  # the first is not hurt
        first.close()
        self.assertEqual(self.reopen("carol").stat()[0], 5)

    def test_expunged_elsewhere_stays_readable(self):
        self.account("dora", 3)
        pop3 = self.open("dora")
        imap = self.server.imap("dora", "secret")
        self.addCleanup(imap.shutdown)
        imap.select()
        imap.store("2", "+FLAGS", "\\Deleted")
        imap.expunge()
        self.server.deliver("dora", MESSAGE % (9, 9, 9))
        self.assertEqual(pop3.stat()[0], 3)
        self.assertEqual(pop3.retr(2)[1][-1], b"body 2")
        self.assertEqual(pop3.retr(3)[1][-1], b"body 3")
        pop3.dele(2)
        self.assertTrue(pop3.quit().startswith(b"+OK"))
        pop3 = self.open("dora")
        self.assertEqual([pop3.retr(n)[1][-1] for n in (1, 2, 3)], [b"body 1", b"body 3", b"body 9"])

    def test_uidl_is_uid_and_uidvalidity(self):
        self.account("erik", 12)
        imap = self.server.imap("erik", "secret")
        self.addCleanup(imap.shutdown)
        imap.select()
        imap.store("1:9", "+FLAGS", "\\Deleted")
        imap.expunge()
        validity = int(imap.response("UIDVALIDITY")[1][0])
        uids = [int(uid) for uid in imap.uid("SEARCH", "ALL")[1][0].split()]
        self.assertEqual(uids, [10, 11, 12])
        self.assertEqual(self.uidls(self.open("erik")), ["%08x%08x" % (uid, validity) for uid in uids])

    def test_top_and_capa(self):
        self.account("frida", 1)
        pop3 = self.open("frida")
        head = pop3.top(1, 0)[1]
        self.assertEqual(head[-2:], [b"Subject: message 1", b""])
        self.assertEqual(pop3.top(1, 1)[1][-1], b"body 1")
        self.assertLessEqual({"UIDL", "TOP", "PIPELINING", "RESP-CODES"}, set(pop3.capa()))


if __name__ == "__main__":
    unittest.main()
