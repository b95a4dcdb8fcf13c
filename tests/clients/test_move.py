"""Mail moves in and out and no program notices: those that had fetched everything from Debian's
Dovecot fetch nothing from Restante after an import, and nothing from Dovecot after an export."""
import contextlib
import getpass
import imaplib
import os
import poplib
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from lib.messages import generated
from lib.programs import FetchmailPop3, Getmail, GetmailPop3, Mbsync, Mpop, need
from lib.proxy import Proxy
from lib.server import PROGRAM, Server, free_ports, wait_until

COUNT = 200
DAY = 86400


class Dovecot:
    """Debian's, in a directory of its own, on loopback; one Maildir, user alice."""

    def __init__(self, maildir):
        need("dovecot")
        self.program = shutil.which("dovecot", path="/usr/sbin:/usr/bin")
        if not os.path.exists("/usr/lib/dovecot/pop3") or not os.path.exists("/usr/lib/dovecot/imap"):
            raise unittest.SkipTest("dovecot-imapd and dovecot-pop3d are not installed")
        self.directory = tempfile.mkdtemp(prefix="restante-dovecot-")
        os.chmod(self.directory, 0o755)
        self.maildir = maildir
        self.ports = dict(zip(("imap", "pop3"), free_ports(2)))
        root = os.geteuid() == 0
        user = "mail" if root else getpass.getuser()
        os.makedirs(maildir, exist_ok=True)
        if root:
            subprocess.run(["chown", "-R", f"{user}:", maildir], check=True)
        inner = "" if root else f"""
default_internal_user = {user}
default_login_user = {user}
service imap-login {{ chroot = }}
service pop3-login {{ chroot = }}
service anvil {{ chroot = }}
"""
        self.config = os.path.join(self.directory, "dovecot.conf")
        with open(self.config, "w") as file:
            file.write(f"""
base_dir = {self.directory}/run
state_dir = {self.directory}/state
log_path = {self.directory}/log
protocols = imap pop3
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
first_valid_uid = 1
mail_location = maildir:{maildir}
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid={user} gid={user} home={self.directory}/home
}}
service imap-login {{
  inet_listener imap {{
    port = {self.ports['imap']}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {self.ports['pop3']}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
{inner}""")
        self.process = subprocess.Popen([self.program, "-F", "-c", self.config],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        wait_until("Dovecot to answer", self.ready)

    def ready(self):
        if self.process.poll() is not None:
            with open(os.path.join(self.directory, "log")) as log:
                raise AssertionError(f"Dovecot ended: {log.read()}")
        try:
            with imaplib.IMAP4("127.0.0.1", self.ports["imap"]):
                return True
        except OSError:
            return False

    def imap(self):
        imap = imaplib.IMAP4("127.0.0.1", self.ports["imap"])
        imap.login("alice", "secret")
        return imap

    def pop3(self):
        pop3 = poplib.POP3("127.0.0.1", self.ports["pop3"])
        pop3.user("alice")
        pop3.pass_("secret")
        return pop3

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        shutil.rmtree(self.directory, ignore_errors=True)


def quoted(name):
    return '"' + name + '"'


def state(imap, pop3, folders):
    """All that a client may have kept: per folder UIDVALIDITY, UIDNEXT, and per UID size, flags,
    date; and POP3's UIDLs with their order."""
    found = {}
    for folder in folders:
        status, data = imap.status(quoted(folder), "(UIDVALIDITY UIDNEXT MESSAGES)")
        assert status == "OK", data
        imap.select(quoted(folder), readonly=True)
        messages = {}
        _, data = imap.uid("FETCH", "1:*", "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])")
        for at, part in enumerate(data):
            if not isinstance(part, tuple):
                continue
            # What comes behind the literal belongs to the same answer.
            after = data[at + 1] if at + 1 < len(data) and isinstance(data[at + 1], bytes) else b""
            line = part[0] + b" " + after
            uid = int(re.search(rb"UID (\d+)", line).group(1))
            flags = set(re.search(rb"FLAGS \(([^)]*)\)", line).group(1).split()) - {b"\\Recent"}
            date = imaplib.Internaldate2tuple(line)
            messages[uid] = (int(re.search(rb"RFC822.SIZE (\d+)", line).group(1)),
                             tuple(sorted(flags)), time.mktime(date), part[1])
        found[folder] = (re.search(rb"UIDVALIDITY (\d+)", data_of(imap, folder)).group(1),
                         re.search(rb"UIDNEXT (\d+)", data_of(imap, folder)).group(1), messages)
    subscribed = sorted(line.split()[-1].strip(b'"').replace(b".", b"/")
                        for line in imap.lsub()[1] if line)
    imap.logout()
    uidls = [line.split(b" ", 1)[1] for line in pop3.uidl()[1]]
    sizes = [line.split()[1] for line in pop3.list()[1]]
    pop3.quit()
    return found, uidls, sizes, subscribed


def data_of(imap, folder):
    return imap.status(quoted(folder), "(UIDVALIDITY UIDNEXT)")[1][0]


class Move(unittest.TestCase):
    FOLDERS = ("INBOX", "Archive", "Work", "Caf&AOk-")

    def setUp(self):
        self.home = tempfile.mkdtemp(prefix="restante-move-")
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        os.chmod(self.home, 0o755)

    # ---- what is moved -------------------------------------------------------------------------

    def fill(self, dovecot):
        """200 messages over four folders, some deleted, with flags, keywords and dates; and two
        UIDLs that an older server gave."""
        chance = random.Random(5)
        imap = dovecot.imap()
        for folder in self.FOLDERS[1:]:
            imap.create(quoted(folder))
            imap.subscribe(quoted(folder))
        for number, message in enumerate(generated(COUNT, seed=21)):
            folder = "INBOX" if number % 4 < 2 else self.FOLDERS[1 + number % 3]
            flags = " ".join(f for f in ("\\Seen", "\\Answered", "\\Flagged", "\\Draft", "$Label1",
                                         "private", "$Forwarded") if chance.random() < 0.3)
            date = imaplib.Time2Internaldate(1600000000 + number * DAY + 7)
            status, data = imap.append(quoted(folder), f"({flags})", date, message)
            self.assertEqual(status, "OK", data)
        for folder in self.FOLDERS:
            imap.select(quoted(folder))
            imap.store("2,5,7", "+FLAGS.SILENT", "(\\Deleted)")
            imap.expunge()
        imap.select("INBOX")
        imap.store("1", "+FLAGS.SILENT", "(\\Deleted)")  # deleted, but still there
        imap.logout()
        uidlist = os.path.join(dovecot.maildir, "dovecot-uidlist")
        with open(uidlist) as file:
            lines = file.read().split("\n")
        for at, uidl in ((3, "older-1"), (9, "older.2")):
            uid, rest = lines[at].split(" ", 1)
            lines[at] = f"{uid} P{uidl} {rest}"
        with open(uidlist, "w") as file:
            file.write("\n".join(lines))

    def source(self):
        dovecot = Dovecot(os.path.join(self.home, "source", "Maildir"))
        self.addCleanup(dovecot.close)
        self.fill(dovecot)
        return dovecot

    def restante_state(self, server, folders=FOLDERS):
        return state(server.imap("alice", "secret"), server.pop3("alice", "secret"), folders)

    def assert_same(self, got, wanted):
        for folder in wanted[0]:
            self.assertEqual(got[0][folder][:2], wanted[0][folder][:2], folder)
            self.assertEqual(list(got[0][folder][2]), list(wanted[0][folder][2]), folder)
            for uid, message in wanted[0][folder][2].items():
                self.assertEqual(got[0][folder][2][uid], message, (folder, uid))
        self.assertEqual(got[1], wanted[1])
        self.assertEqual(got[2], wanted[2])
        self.assertTrue(set(wanted[3]) <= set(got[3]), (wanted[3], got[3]))

    # ---- tests ---------------------------------------------------------------------------------

    def programs(self):
        """What had fetched everything before: mbsync in both directions, the others as if they
        took the mail away, by UID or by UIDL."""
        for make in (Mbsync, FetchmailPop3, GetmailPop3, Getmail, Mpop):
            program = make(os.path.join(self.home, make.__name__))
            if make is Mbsync:
                program.patterns, program.rules = "INBOX Archive Work", "Create Near"
            yield program

    def fetch(self, users, server, news):
        """Each user's program once more, from that server: as many new messages as there are news,
        none of those that it has once more, none of its files altered."""
        for program, proxy in users:
            with self.subTest(program=type(program).__name__, news=news):
                proxy.server = ("127.0.0.1", server.ports[program.protocol])
                proxy.forget()
                before = program.files()
                program.fetch(proxy.port, good=(0 if news else program.nothing_new,))
                after = program.files()
                self.assertEqual(len(after), len(before) + news)
                if type(program) is not Mbsync:  # whose files' names hold flags and UIDs
                    self.assertEqual(after, after | before)
                else:
                    self.assertTrue(set(before.values()) <= set(after.values()))
                self.assertEqual(proxy.asked(), news)

    def test_in_and_out(self):
        need("dovecot")
        with contextlib.ExitStack() as proxies:
            users = [(program, proxies.enter_context(Proxy(0))) for program in self.programs()]
            self.in_and_out(users)

    def in_and_out(self, users):
        dovecot = self.source()
        wanted = state(dovecot.imap(), dovecot.pop3(), self.FOLDERS)
        self.assertIn(b"older-1", wanted[1])
        for program, proxy in users:
            folders = self.FOLDERS[:3] if type(program) is Mbsync else self.FOLDERS[:1]
            self.fetch([(program, proxy)], dovecot, sum(len(wanted[0][f][2]) for f in folders))
        wanted = state(dovecot.imap(), dovecot.pop3(), self.FOLDERS)  # getmail has set \\Seen
        with Server() as server:
            server.account("alice", "secret")
            server.run("import", "alice", "maildir", dovecot.maildir)
            self.assert_same(self.restante_state(server), wanted)
            self.fetch(users, server, 0)
            again = server.run("import", "alice", "maildir", dovecot.maildir).stdout
            self.assertTrue(again.startswith("0 imported"), again)
            server.deliver("alice", b"Subject: new\r\n\r\nnew\r\n")
            self.fetch(users, server, 1)
            wanted = self.restante_state(server)
            out = os.path.join(self.home, "out")
            server.run("export", "alice", "maildir", out)
            again = server.run("export", "alice", "maildir", out).stdout
            self.assertTrue(again.startswith("0 exported"), again)
        back = Dovecot(out)
        self.addCleanup(back.close)
        self.assert_same(state(back.imap(), back.pop3(), self.FOLDERS), wanted)
        self.fetch(users, back, 0)

    def test_program_killed(self):
        dovecot = self.source()
        wanted = state(dovecot.imap(), dovecot.pop3(), self.FOLDERS)
        for stored in (0, 1, 41, 100, 150):
            with self.subTest(stored=stored), Server() as server:
                server.account("alice", "secret")
                program = subprocess.Popen([PROGRAM, "import", "alice", "maildir", dovecot.maildir,
                                            "--data", server.data], stdout=subprocess.DEVNULL,
                                           stderr=subprocess.DEVNULL)
                imap = server.imap("alice", "secret")

                def seen():
                    total = 0
                    for folder in self.FOLDERS:
                        status, data = imap.status(quoted(folder), "(MESSAGES)")
                        if status == "OK":
                            total += int(re.search(rb"MESSAGES (\d+)", data[0]).group(1))
                    return total >= stored or program.poll() is not None

                wait_until(f"{stored} messages", seen)
                program.kill()
                program.wait()
                imap.logout()
                server.run("import", "alice", "maildir", dovecot.maildir)
                self.assert_same(self.restante_state(server), wanted)

    def test_one_import_at_a_time(self):
        """A second import would miss what the first is storing, and bring it again."""
        dovecot = self.source()
        wanted = state(dovecot.imap(), dovecot.pop3(), self.FOLDERS)
        with Server() as server:
            server.account("alice", "secret")
            imap = server.imap("alice", "secret")
            first = subprocess.Popen([PROGRAM, "import", "alice", "maildir", dovecot.maildir,
                                      "--data", server.data], stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL)
            wait_until("a message", lambda: b"MESSAGES 0" not in
                       imap.status("INBOX", "(MESSAGES)")[1][0])
            first.send_signal(signal.SIGSTOP)
            if os.WIFSTOPPED(os.waitpid(first.pid, os.WUNTRACED)[1]):  # its session stays open
                done = server.run("import", "alice", "maildir", dovecot.maildir, check=False)
                self.assertEqual(done.returncode, 1)
                self.assertIn("another import into this account is running", done.stderr)
            first.kill()
            first.wait()
            imap.logout()
            server.run("import", "alice", "maildir", dovecot.maildir)
            self.assert_same(self.restante_state(server), wanted)

    def test_server_killed(self):
        dovecot = self.source()
        wanted = state(dovecot.imap(), dovecot.pop3(), self.FOLDERS)
        for stored in (1, 60, 120):
            with self.subTest(stored=stored), Server() as server:
                server.account("alice", "secret")
                program = subprocess.Popen([PROGRAM, "import", "alice", "maildir", dovecot.maildir,
                                            "--data", server.data], stdout=subprocess.DEVNULL,
                                           stderr=subprocess.DEVNULL)
                imap = server.imap("alice", "secret")

                def seen():
                    _, data = imap.status("INBOX", "(MESSAGES)")
                    count = int(re.search(rb"MESSAGES (\d+)", data[0]).group(1))
                    return count >= min(stored, 90) or program.poll() is not None

                wait_until(f"{stored} messages", seen)
                server.kill()
                program.wait(60)
                server.start()
                server.run("import", "alice", "maildir", dovecot.maildir)
                self.assert_same(self.restante_state(server), wanted)

    def test_other_mail(self):
        """A mailbox with mail of its own is refused with a way out, and --merge takes it once."""
        maildir = os.path.join(self.home, "Maildir")
        messages = plain_maildir(maildir, 30)
        with Server() as server:
            server.account("alice", "secret")
            server.deliver("alice", b"Subject: own\r\n\r\nown\r\n")
            done = server.run("import", "alice", "maildir", maildir, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("--merge", done.stderr)
            for imported in (30, 0):
                done = server.run("import", "alice", "maildir", maildir, "--merge")
                self.assertTrue(done.stdout.startswith(f"{imported} imported"), done.stdout)
            pop3 = server.pop3("alice", "secret")
            self.assertEqual([line.split()[1] for line in pop3.uidl()[1]][1:],
                             [b"%08x%08x" % (uid, 4711) for uid in sorted(messages)])
            pop3.quit()

    def test_mail_between(self):
        """Mail that comes between two runs never gets a UID that the old server gave; what then
        cannot have its UID any more keeps its UIDL."""
        maildir = os.path.join(self.home, "Maildir")
        uids = sorted(plain_maildir(maildir, 100))
        size = sum(os.stat(file.path).st_size for file in os.scandir(maildir + "/cur"))
        with Server() as server:
            server.account("alice", "secret", "--quota", str(size * 7 // 10))
            done = server.run("import", "alice", "maildir", maildir, check=False)
            self.assertIn("no room", done.stderr)
            server.run("account", "quota", "alice", "1G")
            imap = server.imap("alice", "secret")
            kept = int(imap.select()[1][0])
            imap.logout()
            self.assertIn(kept, (40, 80))
            server.deliver("alice", b"Subject: between\r\n\r\nbetween\r\n")
            for imported in (100 - kept, 0):
                done = server.run("import", "alice", "maildir", maildir)
                self.assertTrue(done.stdout.startswith(f"{imported} imported"), done.stdout)
            imap = server.imap("alice", "secret")
            imap.select()
            found = [int(uid) for uid in imap.uid("SEARCH", "ALL")[1][0].split()]
            self.assertEqual(found, uids[:kept] + list(range(1000, 1001 + 100 - kept)))
            self.assertEqual(imap.uid("SEARCH", "SUBJECT", "between")[1], [b"1000"])
            imap.logout()
            pop3 = server.pop3("alice", "secret")
            uidls = [line.split()[1] for line in pop3.uidl()[1]]
            pop3.quit()
            del uidls[kept]
            self.assertEqual(uidls, [b"%08x%08x" % (uid, 4711) for uid in uids])

    def test_without_lists(self):
        """No UIDs, two equal messages: both come, and come once."""
        maildir = os.path.join(self.home, "Maildir")
        plain_maildir(maildir, 5)
        os.unlink(os.path.join(maildir, "dovecot-uidlist"))
        names = sorted(os.listdir(os.path.join(maildir, "cur")))
        shutil.copy2(os.path.join(maildir, "cur", names[0]), os.path.join(maildir, "cur", "twin:2,"))
        with Server() as server:
            server.account("alice", "secret")
            for imported in (6, 0):
                done = server.run("import", "alice", "maildir", maildir)
                self.assertTrue(done.stdout.startswith(f"{imported} imported"), done.stdout)

    def test_courier(self):
        maildir = os.path.join(self.home, "Maildir")
        messages = plain_maildir(maildir, 10)
        os.unlink(os.path.join(maildir, "dovecot-uidlist"))
        with open(os.path.join(maildir, "courierimapuiddb"), "w") as file:
            file.write("1 4711 900\n" + "".join(f"{uid} {base}\n" for uid, base in messages.items()))
        with open(os.path.join(maildir, "courierpop3dsizelist"), "w") as file:
            file.write("/3 50 77\n")
            for number, base in enumerate(messages.values(), 1):
                file.write(f"{base}:2, 100 {number}:{77 if number % 2 else 0}:0\n")
        with Server() as server:
            server.account("alice", "secret")
            server.run("import", "alice", "maildir", maildir)
            pop3 = server.pop3("alice", "secret")
            self.assertEqual([line.split()[1] for line in pop3.uidl()[1]],
                             [b"UID%d-77" % n if n % 2 else b"UID%d" % n for n in range(1, 11)])
            pop3.quit()
            imap = server.imap("alice", "secret")
            imap.select()
            self.assertEqual(imap.response("UIDVALIDITY")[1], [b"4711"])
            self.assertEqual(imap.response("UIDNEXT")[1], [b"900"])
            self.assertEqual(imap.uid("SEARCH", "ALL")[1][0].split(),
                             [b"%d" % uid for uid in sorted(messages)])
            imap.logout()

    def test_mbox(self):
        """Bytes, flags, dates and UIDs of an mbox as Dovecot writes it."""
        mbox = os.path.join(self.home, "mbox")
        with open(mbox, "wb") as file:
            file.write(b"From a@example.org Sun Nov 22 07:00:00 2026\n"
                       b"X-IMAPbase: 1234 0000000020 work\nX-UID: 3\nStatus: RO\nX-Status: F\n"
                       b"X-Keywords: work\nSubject: one\n\n>From here\nFrom nowhere\n\n"
                       b"From b@example.org Sun Nov 22 09:00:00 2026 +0200\n"
                       b"Subject: two\nX-UID: 9\nStatus: O\n\nbody\n\nFrom the start\nend\n\n")
        with Server() as server:
            server.account("alice", "secret")
            for imported in (2, 0):
                done = server.run("import", "alice", "mbox", mbox)
                self.assertTrue(done.stdout.startswith(f"{imported} imported"), done.stdout)
            found = self.restante_state(server, ("INBOX",))[0]["INBOX"]
        self.assertEqual(found[:2], (b"1234", b"21"))
        one, two = found[2][3], found[2][9]
        self.assertEqual(one[3], b"Subject: one\r\n\r\n>From here\r\nFrom nowhere\r\n")
        self.assertEqual(two[3], b"Subject: two\r\n\r\nbody\r\n\r\nFrom the start\r\nend\r\n")
        self.assertEqual(one[1], (b"\\Flagged", b"\\Seen", b"work"))
        self.assertEqual(two[1], ())
        self.assertEqual(one[2], two[2])  # 09:00 +0200 is 07:00 +0000

    def test_refusals(self):
        with Server() as server:
            server.account("alice", "secret")
            for words, text in ((("import", "bob", "maildir", self.home), "no Maildir"),
                                (("import", "alice", "maildir", self.home + "/no"), "no Maildir"),
                                (("import", "alice", "mbox", self.home + "/no"), "No such file"),
                                (("export", "bob", "maildir", self.home + "/x"), "bob")):
                done = server.run(*words, check=False)
                self.assertEqual(done.returncode, 1, done)
                self.assertIn(text, done.stderr)
            os.makedirs(self.home + "/full/cur")
            done = server.run("export", "alice", "maildir", self.home + "/full", check=False)
            self.assertIn("not empty", done.stderr)
            server.kill()
            done = server.run("export", "alice", "maildir", self.home + "/x", check=False)
            self.assertIn("restante serve", done.stderr)


def plain_maildir(path, count):
    """With a dovecot-uidlist; returns uid -> base of the file's name."""
    for part in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(path, part))
    messages = {}
    for number, message in enumerate(generated(count, seed=31)):
        base = f"{1600000000 + number}.M{number}.host"
        file = os.path.join(path, "cur", base + ":2,")
        with open(file, "wb") as out:
            out.write(message.replace(b"\r\n", b"\n"))
        os.utime(file, (1600000000 + number,) * 2)
        messages[number * 3 + 2] = base
    with open(os.path.join(path, "dovecot-uidlist"), "w") as out:
        out.write("3 V4711 N1000 G0123\n" + "".join(f"{u} :{b}\n" for u, b in messages.items()))
    return messages


if __name__ == "__main__":
    unittest.main()
