"""Stores as programs before this one wrote them: tests/data/store-*.tar.xz, each with what clients saw
of it then (seen.json). test_formats.py opens each with today's program.

A release adds its own, once, and never changes an older one:

    cd tests && python3 -m life.formats store-v1

Before the first release this one is written anew when a format on disk changes."""
import imaplib
import json
import os
import re
import sys
import tarfile
import tempfile

from crash.checker import digest, parse_fetch
from lib.messages import generated
from lib.server import TOP, Server, wait_until

DATA = os.path.join(TOP, "tests", "data")
CONFIG = """
process { workers = 1 doors = 1 readers = 1 }
store { volumes = 1 segment_size = 65536 checkpoint_operations = 50 checkpoint_ms = 50
        snapshot_operations = 150 grace = 0 }
log { level = debug }
"""


def seen(server):
    """All that clients may have kept of alice's mail."""
    imap = server.imap("alice", "secret")
    found = {"boxes": {}, "subscribed": sorted(
        re.search(r'"?([^" ]+)"?$', line.decode()).group(1) for line in imap.lsub()[1] if line)}
    for line in imap.list()[1]:
        name = re.search(r'"?([^" ]+)"?$', line.decode()).group(1)
        imap.select(f'"{name}"', readonly=True)
        box = {word: imap.response(word)[1][0].decode() for word in ("UIDVALIDITY", "UIDNEXT")}
        _, data = imap.uid("FETCH", "1:*", "(UID FLAGS MODSEQ BODY.PEEK[])")
        box["messages"] = {str(uid): [sorted(flags), modseq, digest(body)]
                           for uid, (flags, modseq, body) in parse_fetch(data).items()}
        _, data = imap.uid("FETCH", "1:*", "(UID INTERNALDATE RFC822.SIZE)")
        box["dates"] = sorted(line.decode().split(" ", 1)[1] for line in data if line)
        status, data = imap.uid("FETCH", "1:*", "(UID ENVELOPE BODYSTRUCTURE)")
        assert status == "OK", data
        found["boxes"][name] = box
    imap.logout()
    pop3 = server.pop3("alice", "secret")
    found["uidls"] = [line.decode() for line in pop3.uidl()[1]]
    pop3.quit()
    return found


def fill(server, home):
    server.account("alice", "secret")
    messages = [m for m in generated(300, seed=3) if len(m) < 6000][:40]
    maildir(os.path.join(home, "Maildir"), messages[30:])
    server.run("import", "alice", "maildir", os.path.join(home, "Maildir"))
    for message in messages[:20]:
        server.deliver("alice", message)
    imap = server.imap("alice", "secret")
    imap.create("Work")
    imap.create('"Work/2026"')
    imap.subscribe('"Work/2026"')
    for number, message in enumerate(messages[20:30]):
        date = imaplib.Time2Internaldate(1700000000 + number * 86400)
        imap.append('"Work/2026"', "(\\Flagged $Label1)", date, message)
    imap.select("INBOX")
    imap.store("3:6", "+FLAGS.SILENT", "(\\Seen Project)")
    imap.copy("1:5", "Archive")
    imap.store("11:24", "+FLAGS.SILENT", "(\\Deleted)")
    imap.expunge()
    imap.rename("Work", "Old")
    imap.logout()


def maildir(path, messages):
    """As Dovecot leaves it, with UIDLs of a server before that."""
    for part in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(path, part))
    with open(os.path.join(path, "dovecot-uidlist"), "w") as uids:
        uids.write("3 V1600000000 N200\n")
        for number, message in enumerate(messages):
            name = f"{1600000000 + number}.M1.host"
            uids.write(f"{100 + number} Polder-{number} :{name}\n")
            with open(os.path.join(path, "cur", f"{name}:2,S"), "wb") as file:
                file.write(message)


def write(name):
    with tempfile.TemporaryDirectory() as home:
        data = os.path.join(home, "store")
        os.mkdir(data)
        with Server(data=data, config=CONFIG) as server:
            fill(server, home)
            wait_until("compaction", lambda: "event=compacted" in server.log_text())
            server.stop()
            server.start()
            server.deliver("alice", b"From: last\r\n\r\nAfter a clean end, before kill -9.\r\n")
            found = seen(server)
            server.kill()
        with open(os.path.join(home, "seen.json"), "w") as file:
            json.dump(found, file, indent=1, sort_keys=True)
        os.makedirs(DATA, exist_ok=True)
        with tarfile.open(os.path.join(DATA, f"{name}.tar.xz"), "w:xz") as tar:
            for part in ("restante.id", "lock", "auth", "volumes"):
                tar.add(os.path.join(data, part), f"store/{part}", filter=nobody)
            tar.add(os.path.join(home, "seen.json"), "seen.json", filter=nobody)
    print(os.path.getsize(os.path.join(DATA, f"{name}.tar.xz")), "bytes")


def nobody(entry):
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    write(sys.argv[1])
