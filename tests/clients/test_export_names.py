"""What people may call mailboxes and file systems or Maildirs cannot: an export keeps each apart and
inside its directory, Debian's Dovecot shows all of them, and they come back."""
import contextlib
import os
import shutil
import tempfile
import unittest

from clients.test_move import Dovecot
from lib.server import Server

CJK = "&" + "ZeVnLIqe" * 40 + "-"  # 120 letters, 3 bytes each in UTF-8
# Name on the wire -> folder in a Maildir++, file in a tree of mboxes.
NAMES = {
    "a.b": ("a_b_", "a.b"),          # its place is taken
    "a_b": ("a_b", "a_b"),
    "a.b/c.d": ("a_b_.c_d", "a.b/c.d"),
    "a_b/c": ("a_b.c", "a_b/c"),
    "a": ("a", "a"),
    "a/b": ("a.b", "a/b"),           # "A/B" and "A.B" are two
    "..": ("___", "_."),
    "__": ("__", "__"),
    "../../out": ("___.__.out", "_./_./out"),
    ".hidden": ("_hidden", "_hidden"),
    "box.mbox": ("box_mbox", "box.mbox_"),
    "box.mbox/in": ("box_mbox.in", "box.mbox_/in"),
    "box": ("box", "box"),
    "subscriptions/x": ("subscriptions.x", "subscriptions/x"),
    "Caf&AOk-.1": ("Caf&AOk-_1", "Café.1"),
    "INBOX/below": ("INBOX.below", "INBOX/below"),
    "x" * 600: (None, None),
    CJK: (None, None),
    CJK + "/deep": (None, None),
}


def files_below(path):
    return {os.path.relpath(os.path.join(at, name), path)
            for at, _, names in os.walk(path) for name in names}


class Names(unittest.TestCase):
    def setUp(self):
        self.home = tempfile.mkdtemp(prefix="restante-names-")
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        os.chmod(self.home, 0o755)
        self.server = Server()
        self.addCleanup(self.server.close)
        self.server.account("alice", "secret")
        imap = self.server.imap("alice", "secret")
        for name in NAMES:
            imap.create(f'"{name}"')
            imap.subscribe(f'"{name}"')
            status, data = imap.append(f'"{name}"', None, None,
                                       f"Subject: {self.subject(name)}\r\n\r\nx\r\n".encode())
            self.assertEqual(status, "OK", (name, data))
        imap.logout()

    @staticmethod
    def subject(name):
        return f"{len(name)} {name[:60]}"

    def folders(self, imap):
        """Name -> subject of its one message."""
        found = {}
        for line in imap.list()[1]:
            flags, name = line.decode().split(') "', 1)
            name = name[3:].strip('"').replace("\\\\", "\\")
            if "\\Noselect" in flags or "\\NonExistent" in flags or name == "INBOX":
                continue
            imap.select(f'"{name}"', readonly=True)
            data = imap.uid("FETCH", "1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
            for part in data:
                if isinstance(part, tuple):
                    self.assertNotIn(name, found)
                    found[name] = part[1].decode().strip().removeprefix("Subject: ")
        imap.logout()
        return found

    def test_maildir(self):
        out = os.path.join(self.home, "out")
        for _ in range(2):  # and the names are the same the next time
            self.server.run("export", "alice", "maildir", out)
            self.assertEqual(os.listdir(self.home), ["out"])
            made = {name[1:] for name in os.listdir(out) if name.startswith(".")}
            for name, (folder, _) in NAMES.items():
                if folder is not None:
                    self.assertIn(folder, made, name)
        with contextlib.closing(Dovecot(out)) as dovecot:
            shown = self.folders(dovecot.imap())
        self.assertEqual(sorted(shown.values()), sorted(self.subject(name) for name in NAMES))
        for name, (folder, _) in NAMES.items():
            if folder is not None:
                self.assertEqual(shown[folder], self.subject(name))
        self.server.account("bob", "secret")
        self.server.run("import", "bob", "maildir", out)
        back = self.folders(self.server.imap("bob", "secret"))
        self.assertEqual({name.replace("/", "."): subject for name, subject in back.items()}, shown)

    def test_mbox(self):
        out = os.path.join(self.home, "a", "b", "out")
        os.makedirs(os.path.dirname(out))
        self.server.run("export", "alice", "mbox", out)
        self.assertEqual(files_below(self.home), {"a/b/out/" + name for name in files_below(out)})
        made = files_below(out)
        for name, (_, file) in NAMES.items():
            if file is not None:
                self.assertIn(file + ".mbox", made, name)
        self.server.account("bob", "secret")
        self.server.run("import", "bob", "mbox", out)
        back = self.folders(self.server.imap("bob", "secret"))
        self.assertEqual(sorted(back.values()), sorted(self.subject(name) for name in NAMES))
        for name, (_, file) in NAMES.items():
            if file == name:
                self.assertEqual(back[name], self.subject(name))


if __name__ == "__main__":
    unittest.main()
