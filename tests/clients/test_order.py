"""The order of a POP3 maildrop that is not the order of UIDs moves with the mail: Debian's Dovecot
shows it (order numbers in dovecot-uidlist), so does Restante after an import, and Dovecot again
after an export. Courier's POP3 server numbers messages by the time in the names of their files."""
import os
import shutil
import tempfile
import unittest

from clients.test_move import Dovecot, plain_maildir
from lib.server import Server

COUNT = 8
# Of the second, the fifth and the last message by UID; the others have none and come behind.
ORDER = {1: 30, 4: 2, 7: 4000000000}


def ordered_maildir(path):
    """UIDL by place in UID order."""
    messages = plain_maildir(path, COUNT)
    lines = ["3 V4711 N1000 G0123456789abcdef0123456789abcdef"]
    for place, (uid, base) in enumerate(messages.items()):
        order = f" O{ORDER[place]}" if place in ORDER else ""
        lines.append(f"{uid} Pold-{place}{order} :{base}")
    with open(os.path.join(path, "dovecot-uidlist"), "w") as file:
        file.write("\n".join(lines) + "\n")


def shown(pop3):
    """UIDLs with the bytes behind them, as numbered."""
    uidls = [line.split(b" ")[1].decode() for line in pop3.uidl()[1]]
    sizes = [int(line.split()[1]) for line in pop3.list()[1]]
    texts = [b"\r\n".join(pop3.retr(number + 1)[1]) for number in range(len(uidls))]
    pop3.quit()
    return list(zip(uidls, sizes, texts))


class Order(unittest.TestCase):
    def test_moves_along(self):
        home = tempfile.mkdtemp(prefix="restante-order-")
        self.addCleanup(shutil.rmtree, home, ignore_errors=True)
        os.chmod(home, 0o755)
        maildir, back = os.path.join(home, "Maildir"), os.path.join(home, "back")
        ordered_maildir(maildir)
        source = Dovecot(maildir)
        self.addCleanup(source.close)
        wanted = shown(source.pop3())
        self.assertEqual([uidl for uidl, _, _ in wanted],
                         [f"old-{place}" for place in (4, 1, 7, 0, 2, 3, 5, 6)])
        with Server() as server:
            server.account("alice", "secret")
            server.run("import", "alice", "maildir", maildir)
            self.assertEqual(shown(server.pop3("alice", "secret")), wanted)
            server.run("export", "alice", "maildir", back)
            server.restart()
            # What comes later stands behind; what is deleted by its number is what was shown there.
            server.deliver("alice", b"Subject: later\r\n\r\nlater\r\n")
            pop3 = server.pop3("alice", "secret")
            self.assertEqual(pop3.stat()[0], COUNT + 1)
            self.assertIn(b"Subject: later", pop3.retr(COUNT + 1)[1])
            pop3.dele(2)
            pop3.quit()
            left = shown(server.pop3("alice", "secret"))[:-1]
            self.assertEqual(left, wanted[:1] + wanted[2:])
        target = Dovecot(back)
        self.addCleanup(target.close)
        self.assertEqual(shown(target.pop3()), wanted)

    def test_courier(self):
        home = tempfile.mkdtemp(prefix="restante-order-")
        self.addCleanup(shutil.rmtree, home, ignore_errors=True)
        maildir = os.path.join(home, "Maildir")
        uids = list(plain_maildir(maildir, COUNT))
        os.unlink(os.path.join(maildir, "dovecot-uidlist"))
        times = (900, 1000, 5000000000, 30, 1000, 40, 2, 7)  # 900 is before 1000, "1000" before "900"
        cur = os.path.join(maildir, "cur")
        for place, (name, time) in enumerate(zip(sorted(os.listdir(cur)), times)):
            os.rename(os.path.join(cur, name), os.path.join(cur, f"{time}.M{place}.host:2,"))
        bases = [f"{time}.M{place}.host" for place, time in enumerate(times)]
        with open(os.path.join(maildir, "courierimapuiddb"), "w") as file:
            file.write("1 4711 900\n" + "".join(f"{u} {b}\n" for u, b in zip(uids, bases)))
        with open(os.path.join(maildir, "courierpop3dsizelist"), "w") as file:
            file.write("/3 50 77\n" + "".join(f"{base}:2, 100 {place + 1}:77:0\n"
                                               for place, base in enumerate(bases)))
        with Server() as server:
            server.account("alice", "secret")
            server.run("import", "alice", "maildir", maildir)
            self.assertEqual([uidl for uidl, _, _ in shown(server.pop3("alice", "secret"))],
                             [f"UID{place + 1}-77" for place in (6, 7, 3, 5, 0, 1, 4, 2)])


if __name__ == "__main__":
    unittest.main()
