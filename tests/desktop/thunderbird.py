"""Debian's Thunderbird with an account on Restante (`make test-clients`): what a person does all day.
Each action goes through Thunderbird's own IMAP code; what came of it is looked at from the other
side, with imaplib, and in the files of the profile.

RESTANTE_PICTURE=FILE.png also takes the picture that stands in doc/."""
import contextlib
import glob
import imaplib
import os
import re
import shutil
import tempfile
import unittest
from email.header import Header

from desktop.desktop import SCREEN, Thunderbird, authority, need
from lib.messages import generated
from lib.server import TOP, Server, wait_until

COUNT = 100
MOZILLA = re.compile(rb"\A(X-Mozilla-[^\r\n]*\r?\n)+")  # what it writes above a message for itself


def message_id(message):
    return re.search(rb"(?im)^Message-ID: <([^>]*)>", message).group(1).decode()


def plain(number, subject="plain"):
    return (f"From: Bob <bob@example.org>\r\nTo: alice@example.net\r\nSubject: {subject} {number}\r\n"
            f"Date: Sun, 22 Nov 2026 08:00:00 +0000\r\nMessage-ID: <{subject}.{number}@example.org>\r\n"
            f"\r\nText {number}.\r\n").encode()


class WithThunderbird(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need()
        directory = tempfile.mkdtemp(prefix="restante-authority-")
        cls.addClassCleanup(shutil.rmtree, directory, ignore_errors=True)
        os.chmod(directory, 0o755)
        made, certificate, key = authority(directory)
        os.chmod(key, 0o644)
        cls.server = Server("--tls-cert", certificate, "--tls-key", key)
        cls.addClassCleanup(cls.server.close)
        cls.server.account("alice", "secret")
        cls.thunderbird = Thunderbird(cls.server.ports["imaps"], made, "secret")
        cls.addClassCleanup(cls.thunderbird.close)
        cls.thunderbird.connect()

    # ---- the other side ----------------------------------------------------------------------------

    def imap(self):
        imap = self.server.imap("alice", "secret")
        self.addCleanup(self.hang_up, imap)
        return imap

    @staticmethod
    def hang_up(imap):
        with contextlib.suppress(OSError):
            imap.shutdown()

    def folder(self, name, messages=()):
        """A new folder that Thunderbird has open, with these messages in it."""
        imap = self.imap()
        self.assertEqual(imap.create(name)[0], "OK")
        self.assertEqual(imap.subscribe(name)[0], "OK")
        for message in messages:
            self.assertEqual(imap.append(name, None, None, message)[0], "OK")
        imap.logout()
        self.thunderbird.connect()
        self.thunderbird.until(name, "return !!find(arguments[0])", name)
        self.thunderbird.look(name)
        return [message_id(message) for message in messages]

    @staticmethod
    def listed(imap):
        return {line.decode().rsplit(' "/" ', 1)[1].strip('"') for line in imap.list()[1]}

    def stored(self, name):
        """Message-ID -> (flags, bytes), as the server has them."""
        imap = self.imap()
        self.assertEqual(imap.select(f'"{name}"', readonly=True)[0], "OK")
        found = {}
        _, answers = imap.uid("FETCH", "1:*", "(FLAGS BODY.PEEK[])")
        for part in answers:
            if isinstance(part, tuple):
                flags = set(re.search(rb"FLAGS \(([^)]*)\)", part[0]).group(1).decode().split())
                found[message_id(part[1])] = (flags, part[1])
        imap.logout()
        return found

    def until_stored(self, what, name, condition):
        return wait_until(what, lambda: condition(self.stored(name)))

    def sessions(self):
        return [session for process in self.server.process_list() if process["process"] == "worker"
                for session in process["clients"]]


class Mail(WithThunderbird):
    def test_folders(self):
        """The list of folders is the server's, names and special uses too."""
        imap = self.imap()
        names = {"Projects/2026/Harbour": "Projects/2026/Harbour", "Caf&AOk-": "Café",
                 "&ZeVnLIqe-": "日本語"}
        for name in names:
            imap.create(name)
            imap.subscribe(name)
        self.thunderbird.connect()
        for name in names.values():
            self.thunderbird.until(name, "return !!find(arguments[0])", name)
        shown = set(self.thunderbird.folders())
        listed = {names.get(name, name) for name in self.listed(imap)}
        self.assertEqual(shown & listed, shown)
        flags = self.thunderbird.run("""
            const flags = Ci.nsMsgFolderFlags;
            const of = name => find(name).flags;
            return [of("Sent") & flags.SentMail, of("Drafts") & flags.Drafts,
                    of("Trash") & flags.Trash, of("Junk") & flags.Junk,
                    of("Archive") & flags.Archive].map(Boolean);""")
        self.assertEqual(flags, [True] * 5)
        self.assertEqual(self.thunderbird.run("return find('Projects/2026/Harbour').localizedName"),
                         "Harbour")

    def test_offline_copy(self):
        """Every message of a folder is in the profile, every byte of it."""
        messages = list(generated(COUNT, seed=41))
        for path in sorted(glob.glob(os.path.join(TOP, "doc/demo/*.eml"))):
            with open(path, "rb") as file:
                messages.append(file.read().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        self.folder("Offline", messages)
        self.thunderbird.download("Offline")
        files = sorted(MOZILLA.sub(b"", file) for file in self.thunderbird.offline_files("Offline"))
        self.assertEqual(len(files), len(messages))
        for kept, sent in zip(files, sorted(messages)):
            self.assertEqual(kept, sent)

    def test_flags(self):
        """Read, starred and tagged here is so on the server; and the other way round."""
        ids = self.folder("Flags", [plain(n, "flags") for n in range(6)])
        self.thunderbird.run("""
            const folder = find("Flags");
            folder.markMessagesRead(pick(folder, arguments[0].slice(0, 2)), true);
            folder.markMessagesFlagged(pick(folder, arguments[0].slice(1, 3)), true);
            folder.addKeywordsToMessages(pick(folder, [arguments[0][3]]), "$label1 urgent");
            """, ids)
        wanted = {ids[0]: {"\\Seen"}, ids[1]: {"\\Seen", "\\Flagged"}, ids[2]: {"\\Flagged"},
                  ids[3]: {"$label1", "urgent"}, ids[4]: set(), ids[5]: set()}
        self.until_stored("the flags", "Flags", lambda stored: {
            key: {flag if flag.startswith("\\") else flag.lower() for flag in flags}
            for key, (flags, _) in stored.items()} == wanted)
        imap = self.imap()
        imap.select("Flags")
        imap.store("5", "+FLAGS", "(\\Flagged \\Answered)")
        imap.store("1", "-FLAGS", "(\\Seen)")
        imap.store("6", "+FLAGS", "($label2)")
        self.thunderbird.look("Flags")
        self.thunderbird.until("flags set elsewhere", """
            const [first, fifth, sixth] = pick(find("Flags"), arguments[0]);
            return !first.isRead && fifth.isFlagged &&
              Boolean(fifth.flags & Ci.nsMsgMessageFlags.Replied) &&
              sixth.getStringProperty("keywords").toLowerCase().includes("$label2");""",
                               [ids[0], ids[4], ids[5]])

    def test_move_and_copy(self):
        messages = [plain(n, "move") for n in range(10)]
        ids = self.folder("From", messages)
        self.folder("To")
        copy = """
            const [from, to] = [find("From"), find("To")];
            await told(l => MailServices.copy.copyMessages(
              from, pick(from, arguments[0]), to, arguments[1], l, null, false));"""
        self.thunderbird.run(copy, ids[:4], True)
        self.thunderbird.run(copy, ids[4:6], False)
        self.assertEqual(set(self.stored("From")), set(ids[4:]))
        there = self.stored("To")
        self.assertEqual({key: data for key, (_, data) in there.items()},
                         dict(zip(ids[:6], messages[:6])))
        self.thunderbird.look("To")
        self.thunderbird.look("From")
        self.assertEqual(self.thunderbird.run(
            "return [headers(find('From')).length, headers(find('To')).length]"), [6, 6])

    def test_delete(self):
        """Into the trash, out of the trash, gone."""
        ids = self.folder("Delete", [plain(n, "delete") for n in range(6)])
        self.thunderbird.run("""
            const folder = find("Delete");
            await told(l => folder.deleteMessages(pick(folder, arguments[0]), null, false, false, l,
                                                  false));""", ids[:3])
        self.assertEqual(set(self.stored("Delete")), set(ids[3:]))
        self.assertLessEqual(set(ids[:3]), set(self.stored("Trash")))
        self.thunderbird.look("Trash")
        self.thunderbird.run("await told(l => find('Trash').emptyTrash(l));")
        self.until_stored("an empty trash", "Trash", lambda stored: not stored)
        # Not by way of the trash.
        self.thunderbird.run("""
            const folder = find("Delete");
            await told(l => folder.deleteMessages(pick(folder, arguments[0]), null, true, false, l,
                                                  false));
            await told(l => folder.compact(l, null));""", ids[3:5])
        self.until_stored("two messages less", "Delete", lambda stored: set(stored) == {ids[5]})

    def until_idle(self):
        """It has fetched what there is and waits: what it is told while it fetches a message, it
        forgets until it looks into the folder again."""
        self.thunderbird.download("INBOX")
        wait_until("IDLE", lambda: any(
            session["state"].startswith("IDLE") and session["state"].endswith(" in INBOX")
            for session in self.sessions()))

    def test_new_mail(self):
        """What is delivered shows up by IDLE: nothing else asks (check_new_mail is off)."""
        self.thunderbird.look("INBOX")
        for number in range(3):
            self.until_idle()
            self.server.deliver("alice", plain(number, "idle"))
            self.thunderbird.until("new mail", "return !!header(find('INBOX'), arguments[0])",
                                   f"idle.{number}@example.org")
        # And away again, when another program deletes it.
        self.until_idle()
        imap = self.imap()
        imap.select("INBOX")
        found = imap.search(None, "SUBJECT", '"idle 1"')[1][0].split()
        imap.store(b",".join(found), "+FLAGS.SILENT", "(\\Deleted)")
        imap.expunge()
        self.thunderbird.until("the expunge", "return !header(find('INBOX'), arguments[0])",
                               "idle.1@example.org")

    def test_folders_made_here(self):
        """Made, renamed, deleted in Thunderbird."""
        imap = self.imap()
        self.thunderbird.run("root.createSubfolder('Réseau', null);")
        wait_until("the new folder", lambda: "R&AOk-seau" in self.listed(imap))
        self.thunderbird.until("it to be shown", "return !!find('Réseau')")
        self.thunderbird.run("find('Réseau').rename('Net', null);")
        wait_until("the new name", lambda: "Net" in self.listed(imap))
        self.assertNotIn("R&AOk-seau", self.listed(imap))
        self.thunderbird.until("it to be shown", "return !!find('Net') && !find('Réseau')")
        self.thunderbird.run("setTimeout(() => find('Net').deleteSelf(null), 0);")
        self.thunderbird.until("it to be gone", "return !find('Net')")  # the question gets a yes
        wait_until("it to be gone", lambda: "Net" not in self.listed(imap))

    def test_append(self):
        """A message written here and filed on the server (as drafts and what was sent are)."""
        message = plain(1, "draft")
        path = os.path.join(self.thunderbird.home, "draft.eml")
        with open(path, "wb") as file:
            file.write(message)
        self.thunderbird.look("Drafts")
        self.thunderbird.run("""
            const file = Cc["@mozilla.org/file/local;1"].createInstance(Ci.nsIFile);
            file.initWithPath(arguments[0]);
            await told(l => MailServices.copy.copyFileMessage(
              file, find("Drafts"), null, false, Ci.nsMsgMessageFlags.Read, "", l, null));""", path)
        flags, data = self.stored("Drafts")["draft.1@example.org"]
        self.assertEqual(data, message)
        self.assertIn("\\Seen", flags)

    def test_search_on_the_server(self):
        """Edit, Find, Search Messages, with "Run search on server"."""
        ids = self.folder("Search", [plain(n, "search") for n in range(12)])
        found = self.thunderbird.run("""
            const folder = find("Search");
            const session = Cc["@mozilla.org/messenger/searchSession;1"]
              .createInstance(Ci.nsIMsgSearchSession);
            session.addScopeTerm(Ci.nsMsgSearchScope.onlineMail, folder);
            const term = session.createTerm(), value = term.value;
            term.attrib = value.attrib = Ci.nsMsgSearchAttrib.Body;
            value.str = arguments[0];
            term.value = value;
            term.op = Ci.nsMsgSearchOp.Contains;
            session.appendTerm(term);
            const hits = [];
            await new Promise((done, failed) => {
              session.registerListener({
                onSearchHit(h) { hits.push(h.messageId); },
                onSearchDone(status) {
                  Components.isSuccessCode(status) ? done() : failed(new Error(status));
                },
                onNewSearch() {} });
              session.search(null);
            });
            return hits;""", "text 1")
        self.assertEqual(set(found), {ids[1], ids[10], ids[11]})


class Seen(WithThunderbird):
    """What a person sees; with RESTANTE_PICTURE also as a picture."""

    LETTERS = (
        ("Harbour Office <office@harbour.example>", "Berth 14 is yours from Monday", "Archive"),
        ("Ines Köhler <ines@example.org>", "Fotos vom Wochenende", None),
        ("Tomás Ribeiro <tomas@example.com>", "Re: Minutes of the meeting", None),
        ("Parcel Service <no-reply@parcels.example>", "Your parcel waits at counter 3", None),
        ("Anna Lindqvist <anna@example.net>", "Tågtider på lördag", None),
        ("佐藤 美咲 <misaki@example.jp>", "来週の予定", None),
        ("Library <library@town.example>", "Two books are due", None),
        ("Bob Martin <bob@example.org>", "Draft of chapter two", "Projects/Book"),
    )

    def fill(self):
        imap = self.imap()
        for name in ("Projects", "Projects/Book", "Projects/Boat", "Receipts"):
            imap.create(name)
            imap.subscribe(name)
        for number, (sender, subject, folder) in enumerate(self.LETTERS):
            name, address = sender[:-1].split(" <")
            head = (f"From: {Header(name, 'utf-8').encode()} <{address}>\r\nTo: alice@example.net\r\n"
                    f"Subject: {Header(subject, 'utf-8').encode()}\r\n"
                    f"Date: Sun, 22 Nov 2026 0{number + 1}:12:00 +0000\r\n"
                    f"Message-ID: <letter.{number}@example.org>\r\n\r\n{number}\r\n").encode()
            flags = "(\\Seen)" if number % 3 else "(\\Seen \\Flagged)" if number else None
            imap.append(folder or "INBOX", flags, None, head)
        for path in sorted(glob.glob(os.path.join(TOP, "doc/demo/*.eml"))):
            with open(path, "rb") as file:
                imap.append("INBOX", None, None, file.read())
        imap.logout()

    def test_window(self):
        self.fill()
        self.thunderbird.connect()
        self.thunderbird.until("folders", "return !!find('Projects/Book') && !!find('Receipts')")
        self.thunderbird.until("new mail", "return headers(find('INBOX')).length >= 9")
        self.thunderbird.run("""
            const window = Services.wm.getMostRecentWindow("mail:3pane");
            window.moveTo(0, 0);
            window.resizeTo(arguments[0], arguments[1]);
            const pane = window.document.getElementById("tabmail").currentAbout3Pane;
            pane.displayFolder(find("INBOX").URI);""", *SCREEN)
        subjects = [subject for _, subject, folder in self.LETTERS if folder is None]
        seen = """
            const window = Services.wm.getMostRecentWindow("mail:3pane");
            const pane = window.document.getElementById("tabmail").currentAbout3Pane;
            """
        self.thunderbird.until("the list of messages", seen + """
            const text = pane.threadTree.textContent;
            return arguments[0].every(subject => text.includes(subject));""", subjects)
        self.thunderbird.until("the list of folders", seen + """
            const text = pane.folderTree.textContent;
            return ["alice@example.net", "Inbox", "Archive", "Projects", "Boat", "Receipts"]
              .every(name => text.includes(name));""")
        self.thunderbird.run(seen + """
            const hit = headers(find("INBOX")).find(h => h.mime2DecodedSubject.includes(arguments[0]));
            pane.selectMessage(hit);""", "Welcome")
        self.thunderbird.until("the message", seen + """
            const browser = pane.messageBrowser?.contentWindow?.getMessagePaneBrowser?.();
            if (!browser?.contentDocument?.body?.textContent.includes("came in over LMTP"))
              return false;
            const drawn = view => new Promise(done => view.requestAnimationFrame(
              () => view.requestAnimationFrame(done)));
            await drawn(browser.contentWindow);
            await drawn(window);
            return true;""")
        if "RESTANTE_PICTURE" in os.environ:
            self.thunderbird.picture(os.environ["RESTANTE_PICTURE"])


class Again(WithThunderbird):
    def bytes_out(self):
        """Of all IMAP sessions that have ended."""
        return [int(out) for out in re.findall(r"event=session_end protocol=imap .*?\bout=(\d+)",
                                               self.server.log_text())]

    def test_second_run(self):
        """Ended and started again, also with a server that was killed between: nothing is fetched a
        second time, nothing is there twice."""
        messages = list(generated(COUNT, seed=42))
        ids = self.folder("Again", messages)
        whole = sum(len(message) for message in messages)
        self.assertGreater(whole, 500000)
        self.thunderbird.download("Again")
        files = self.thunderbird.offline_files("Again")
        self.assertEqual(len(files), COUNT)
        for kill in (False, True):
            self.thunderbird.stop()
            wait_until("the sessions to end", lambda: not self.sessions())
            if kill:
                self.server.restart()
            before = len(self.bytes_out())
            self.thunderbird.start()
            self.thunderbird.connect()
            self.thunderbird.look("Again")
            self.thunderbird.download("Again")
            self.assertEqual(self.thunderbird.run("return headers(find('Again')).map(h => h.messageId)"),
                             ids)
            self.assertEqual(self.thunderbird.offline_files("Again"), files)
            self.thunderbird.stop()
            wait_until("the sessions to end", lambda: not self.sessions())
            spent = self.bytes_out()[before:]
            self.assertTrue(spent)
            self.assertLess(sum(spent), whole / 10, spent)
            self.thunderbird.start()
        self.thunderbird.connect()
        self.server.restart()  # under its open connections
        self.server.deliver("alice", plain(1, "later"))
        self.thunderbird.look("INBOX")
        self.thunderbird.until("mail after a restart", "return !!header(find('INBOX'), arguments[0])",
                               "later.1@example.org")


if __name__ == "__main__":
    unittest.main()
