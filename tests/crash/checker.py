"""The outside checker: one account, everything that its server acknowledged, and what was asked but
not answered. It believes nothing but the words of RFC 9051, 7162, 6851, 1939 and 2033: whatever
happens to the server, check() compares all there is with that memory.

  - what was acknowledged is there, byte for byte, once, with its flags;
  - what was in doubt is there as a whole or not at all; of what may go message by message (STORE,
    EXPUNGE, MOVE, an import), every message is there as before or as asked, a moved one in one place;
  - a UID, and a UIDL, never means a second message, UIDVALIDITY stays, and that of a mailbox deleted
    and made again is another; UIDNEXT and MODSEQ never go back."""
import collections
import dataclasses
import hashlib
import imaplib
import poplib
import re
import smtplib
import ssl


class Refused(Exception):
    """An answer that says no, after which the change may or may not be there."""


GONE = (ConnectionError, ssl.SSLError, imaplib.IMAP4.error, smtplib.SMTPException,
        poplib.error_proto, EOFError, Refused)
POP3 = "INBOX"  # POP3's mailbox
BARRIER = "Barrier"  # comes and goes, see settle()
GIVEN = ("INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash")  # what every account has


class Wrong(AssertionError):
    """Something was lost, altered, renumbered, doubled."""


def digest(message):
    """Of a message as it was sent; what a delivery puts before it does not count."""
    return hashlib.sha256(message).hexdigest()[:16]


def sent_part(stored):
    """Without the fields that were put on top when it came by LMTP."""
    if stored.startswith(b"Return-Path:"):
        return stored[stored.index(b"\r\nFrom: Sender ") + 2:]
    return stored


@dataclasses.dataclass
class Message:
    key: str
    flags: frozenset
    modseq: int = 0


@dataclasses.dataclass
class Box:
    validity: int
    uidnext: int = 1
    looked: int = 1  # UIDNEXT when all messages were last seen: those to come have more
    modseq: int = 0
    messages: dict = dataclasses.field(default_factory=dict)  # uid -> Message
    ever: dict = dataclasses.field(default_factory=dict)      # uid -> key, for all time


@dataclasses.dataclass
class Change:
    """What was asked: messages that go, come, get flags; mailboxes that come, go, change names."""
    gone: set = dataclasses.field(default_factory=set)       # (box, uid)
    added: list = dataclasses.field(default_factory=list)    # (box, key, flags)
    flags: dict = dataclasses.field(default_factory=dict)    # (box, uid) -> flags
    created: str = None
    deleted: str = None
    renamed: tuple = None                                    # (old, new)
    whole: bool = True
    move: bool = False
    append: bool = False
    modseqs: dict = dataclasses.field(default_factory=dict)  # told on the way: (box, uid) -> number


def quoted(name):
    return '"' + name + '"'


def with_superiors(name):
    """A new mailbox and those above it, which come with it (RFC 9051 6.3.4)."""
    parts = name.split("/") if name else []
    return {"/".join(parts[:count]) for count in range(1, len(parts) + 1)}


def enable_condstore(imap):
    imap.capabilities = tuple(imap.capability()[1][0].decode().upper().split())  # after the login
    imap.enable("CONDSTORE")


def parse_fetch(data):
    """uid -> (flags, modseq, body or None) of imaplib's FETCH answer."""
    found = {}
    for at, part in enumerate(data):
        if part is None or part == b")":
            continue
        after = data[at + 1] if isinstance(part, tuple) and at + 1 < len(data) else b""
        line = part[0] + b" " + (after if isinstance(after, bytes) else b"") \
            if isinstance(part, tuple) else part
        uid = re.search(rb"UID (\d+)", line)
        if not uid or (not isinstance(part, tuple) and b"FLAGS" not in line):
            continue
        flags = re.search(rb"FLAGS \(([^)]*)\)", line)
        modseq = re.search(rb"MODSEQ \((\d+)\)", line)
        if int(uid.group(1)) in found:
            raise Wrong(f"UID {uid.group(1).decode()} came twice in one FETCH")
        found[int(uid.group(1))] = (
            frozenset(flags.group(1).decode().split()) - {"\\Recent"} if flags else frozenset(),
            int(modseq.group(1)) if modseq else 0, part[1] if isinstance(part, tuple) else None)
    return found


class Account:
    def __init__(self, server, name, password="secret", tls=False):
        self.server, self.name, self.password, self.tls = server, name, password, tls
        self.boxes = {box: Box(0) for box in GIVEN}
        self.unplaced = collections.Counter()  # (box, key, flags): acknowledged, UID not told
        self.validities = collections.defaultdict(set)  # name -> of all mailboxes that had it
        self.uidls = {}  # of INBOX: uid -> uidl, for all time
        self.doubt = None
        self.late = collections.Counter()  # APPENDs not answered, which a worker may still be at
        self.acknowledged = self.checks = 0
        self.history = collections.deque(maxlen=12)  # shown when something is wrong

    # ---- what is asked and answered ------------------------------------------------------------

    def ask(self, change):
        if self.doubt is not None:
            raise AssertionError("a question before the last one was settled")
        self.doubt = change
        self.history.append(f"asked {change}")

    def answered(self, uids=None, validity=None):
        """The server said yes. uids: of what was added, where it told them."""
        change, self.doubt = self.doubt, None
        self.acknowledged += 1
        self.history.append(f"answered {uids or ''}")
        self.apply(change, uids)
        if validity is not None and change.added:
            box = change.added[0][0]
            if box in self.boxes and self.boxes[box].validity not in (0, validity):
                raise Wrong(f"{box}: UIDVALIDITY {validity}")

    def apply(self, change, uids=None):
        self.apply_names(change)
        for box, uid in change.gone:
            del self.boxes[box].messages[uid]
        for (box, uid), flags in change.flags.items():
            self.boxes[box].messages[uid].flags = flags
        for at, (box, key, flags) in enumerate(change.added):
            if uids is None:
                self.unplaced[box, key, flags] += 1
            else:
                self.place(box, uids[at], key, flags)
        self.told_modseqs(change)

    def told_modseqs(self, change):
        """Numbers that a client has seen: what comes later is never below them."""
        for (box, uid), number in change.modseqs.items():
            known = self.boxes[box]
            known.modseq = max(known.modseq, number)
            if uid in known.messages:
                known.messages[uid].modseq = max(known.messages[uid].modseq, number)

    def apply_names(self, change):
        if change.created:
            for name in with_superiors(change.created):
                self.boxes.setdefault(name, Box(0))
        if change.deleted:
            del self.boxes[change.deleted]
            self.forget_unplaced(change.deleted)
        if change.renamed:
            old, new = change.renamed
            for name in with_superiors(new):
                self.boxes.setdefault(name, Box(0))
            self.boxes[new] = self.boxes.pop(old)
            for (box, key, flags), count in list(self.unplaced.items()):
                if box == old:
                    self.unplaced[new, key, flags] += count
                    del self.unplaced[box, key, flags]

    def forget_unplaced(self, box):
        for entry in [e for e in self.unplaced if e[0] == box]:
            del self.unplaced[entry]

    def place(self, box, uid, key, flags, modseq=0):
        known = self.boxes[box]
        if known.ever.setdefault(uid, key) != key or uid in known.messages:
            raise Wrong(f"{self.name}/{box}: UID {uid} means two messages")
        known.messages[uid] = Message(key, frozenset(flags), modseq)
        known.uidnext = max(known.uidnext, uid + 1)

    # ---- what is there -------------------------------------------------------------------------

    def read(self):
        """{box: (validity, uidnext, highest modseq, {uid: (flags, modseq, key)})}"""
        imap = self.server.imap(self.name, self.password, tls=self.tls)
        try:
            enable_condstore(imap)
            there = {}
            for line in imap.list()[1]:
                name = re.search(rb'"?([^" ]+)"?$', line).group(1).decode()
                if name == BARRIER:
                    continue
                status = imap.status(quoted(name), "(UIDVALIDITY UIDNEXT HIGHESTMODSEQ)")[1][0]
                numbers = [int(re.search(rb"\b" + word + rb" (\d+)", status).group(1))
                           for word in (b"UIDVALIDITY", b"UIDNEXT", b"HIGHESTMODSEQ")]
                imap.select(quoted(name), readonly=True)
                answer, data = imap.uid("FETCH", "1:*", "(UID FLAGS MODSEQ BODY.PEEK[])")
                if answer != "OK":
                    raise Wrong(f"{self.name}/{name}: FETCH: {data}")
                messages = {uid: (flags, modseq, digest(sent_part(body)))
                            for uid, (flags, modseq, body) in parse_fetch(data).items()}
                there[name] = (*numbers, messages)
            imap.logout()
        except BaseException:
            imap.sock.close()
            raise
        return there

    def read_uidls(self):
        pop3 = self.server.pop3(self.name, self.password, tls=self.tls)
        uidls = [line.split()[1].decode() for line in pop3.uidl()[1]]
        pop3.quit()
        return uidls

    # ---- the comparison ------------------------------------------------------------------------

    def settle(self):
        """When only the connection broke, the worker may still be at what was asked. Changes of an
        account happen in order, so a change that is answered has all of them before it."""
        imap = self.server.imap(self.name, self.password, tls=self.tls)
        try:
            imap.create(BARRIER)
            if imap.delete(BARRIER)[0] != "OK":
                raise Refused("the barrier stays")
            imap.logout()
        except BaseException:
            imap.sock.close()
            raise
        change = self.doubt
        if change is not None and change.append:  # waits for a reader before it is in that order
            self.late.update((box, key, flags) for box, key, flags in change.added)
            self.doubt = None

    def check(self):
        """Raises Wrong; else what was in doubt is settled. True: the change in doubt is there."""
        try:
            happened = self.compare()
        except Wrong as wrong:
            raise Wrong("\n".join([str(wrong), *self.history])) from None
        self.history.append(f"compared: {happened or ''}")
        return happened

    def compare(self):
        there, uidls = self.read(), self.read_uidls()  # a connection may break: still in doubt then
        change, self.doubt = self.doubt or Change(), None
        happened = set()
        self.check_names(change, there, happened)
        for box, (validity, uidnext, modseq, messages) in there.items():
            self.check_box(box, validity, uidnext, modseq, messages)
            self.check_known(box, messages, change, happened)
        self.check_new(there, change, happened)
        if change.whole and len(happened) > 1:
            raise Wrong(f"{self.name}: half of {change}")
        self.told_modseqs(Change(modseqs={at: n for at, n in change.modseqs.items()
                                          if at[0] in self.boxes}))
        lost = [entry for entry, count in self.unplaced.items() if count > 0]
        if lost:
            raise Wrong(f"{self.name}: acknowledged and not there: {lost}")
        self.unplaced.clear()
        self.check_uidls(there, uidls)
        self.checks += 1
        return True in happened

    def check_names(self, change, there, happened):
        before = set(self.boxes)
        names = Change(created=change.created, deleted=change.deleted, renamed=change.renamed)
        after = (before | with_superiors(change.created)) - {change.deleted}
        if change.renamed:
            after = (after - {change.renamed[0]}) | with_superiors(change.renamed[1])
        if set(there) != before and set(there) != after:
            raise Wrong(f"{self.name}: mailboxes {sorted(there)}, not {sorted(before)} "
                        f"or {sorted(after)}")
        if before != after:
            happened.add(set(there) == after)
        if set(there) == after and before != after:
            self.apply_names(names)

    def check_box(self, name, validity, uidnext, modseq, messages):
        box = self.boxes[name]
        if box.validity == 0:
            if validity in self.validities[name]:
                raise Wrong(f"{self.name}/{name}: made again with an old UIDVALIDITY")
            box.validity = validity
        self.validities[name].add(validity)
        if box.validity != validity:
            raise Wrong(f"{self.name}/{name}: UIDVALIDITY {box.validity} became {validity}")
        if uidnext < box.uidnext or modseq < box.modseq or any(u >= uidnext for u in messages):
            raise Wrong(f"{self.name}/{name}: UIDNEXT {box.uidnext} to {uidnext}, "
                        f"MODSEQ {box.modseq} to {modseq}")
        box.modseq = modseq

    def check_known(self, name, messages, change, happened):
        box = self.boxes[name]
        for uid, known in list(box.messages.items()):
            if uid not in messages:
                if (name, uid) not in change.gone:
                    raise Wrong(f"{self.name}/{name}: acknowledged UID {uid} is lost")
                happened.add(True)
                del box.messages[uid]
                continue
            flags, modseq, key = messages[uid]
            if key != known.key:
                raise Wrong(f"{self.name}/{name}: UID {uid} was altered")
            if (name, uid) in change.gone:
                happened.add(False)
            asked = change.flags.get((name, uid), known.flags)
            if flags not in (known.flags, asked) or modseq < known.modseq:
                raise Wrong(f"{self.name}/{name}: UID {uid} has {sorted(flags)} MODSEQ {modseq}, "
                            f"not {sorted(known.flags)} {known.modseq}")
            if asked != known.flags:
                happened.add(flags == asked)
            known.flags, known.modseq = flags, modseq

    def check_new(self, there, change, happened):
        """Messages under UIDs not told yet: deliveries that were acknowledged, and what is in
        doubt, once each."""
        doubtful = collections.Counter((box, key, frozenset(flags))
                                       for box, key, flags in change.added)
        asked = doubtful.copy()
        for name, (_, uidnext, _, messages) in there.items():
            box, before = self.boxes[name], self.boxes[name].looked
            for uid, (flags, modseq, key) in sorted(messages.items()):
                if uid in box.messages:
                    continue
                entry = (name, key, flags)
                if uid >= before and self.late[entry] > 0 and self.unplaced[entry] == 0:
                    self.late[entry] -= 1
                    self.place(name, uid, key, flags, modseq)
                    continue
                if uid < before or (self.unplaced[entry] == 0 and doubtful[entry] == 0):
                    raise Wrong(f"{self.name}/{name}: UID {uid} was never asked for, or is there "
                                f"twice, or the UID is one of old")
                if self.unplaced[entry] > 0:
                    self.unplaced[entry] -= 1
                else:
                    doubtful[entry] -= 1
                    happened.add(True)
                self.place(name, uid, key, flags, modseq)
            box.uidnext = box.looked = uidnext
        if +doubtful:
            happened.add(False)
        if change.move:
            left = collections.Counter(self.boxes[box].messages[uid].key
                                       for box, uid in change.gone
                                       if uid in self.boxes[box].messages)
            if left != collections.Counter(key for (_, key, _), n in doubtful.items()
                                           for _ in range(n)):
                raise Wrong(f"{self.name}: a MOVE left messages in both places or in none: "
                            f"{asked - doubtful}")

    def check_uidls(self, there, uidls):
        uids = sorted(there["INBOX"][3])
        if len(uids) != len(uidls) or len(set(uidls)) != len(uidls):
            raise Wrong(f"{self.name}: {len(uids)} messages, UIDLs {uidls}")
        for uid, uidl in zip(uids, uidls):
            if self.uidls.setdefault(uid, uidl) != uidl:
                raise Wrong(f"{self.name}: UID {uid} had the UIDL {self.uidls[uid]}, now {uidl}")
        if len(set(self.uidls.values())) != len(self.uidls):
            raise Wrong(f"{self.name}: a UIDL came again")


class Session:
    """A person at work on an account: every method asks, and notes what was answered. What was not
    answered stays in doubt until check()."""

    def __init__(self, account):
        self.account = account
        self.imap = self.lmtp = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for connection in (self.imap, self.lmtp):
            if connection is not None and connection.sock is not None:
                connection.sock.close()
        self.imap = self.lmtp = None

    def select(self, box):
        if self.imap is None:
            self.imap = self.account.server.imap(self.account.name, self.account.password,
                                                 tls=self.account.tls)
            self.imap.sock.settimeout(30)
            enable_condstore(self.imap)
        self.say(self.imap.select(quoted(box)))

    def say(self, answer):
        if answer[0] != "OK":
            raise Refused(f"{answer}")
        return answer[1]

    def connect(self):
        if self.imap is None:
            self.select("INBOX")

    # ---- mail comes ----------------------------------------------------------------------------

    def deliver(self, message):
        self.account.ask(Change(added=[("INBOX", digest(message), frozenset())]))
        self.send(message)
        self.account.answered()

    def send(self, message):
        if self.lmtp is None:
            self.lmtp = self.account.server.lmtp()
            self.lmtp.sock.settimeout(30)
        try:
            code, text = self.lmtp.transact("s@example.org", [self.account.name],
                                            message)[self.account.name]
        except AssertionError as error:  # said no before the message was asked for
            raise Refused(str(error)) from None
        if code != 250:
            raise Refused(f"{code} {text}")

    def again(self, message):
        """As a mail system does that got no answer: the same message once more. Whether the first
        was stored or not, it must be there once then."""
        self.send(message)
        self.account.answered()

    def append(self, box, message, flags=("\\Flagged",)):
        self.connect()
        self.account.ask(Change(added=[(box, digest(message), frozenset(flags))], append=True))
        data = self.say(self.imap.append(quoted(box), f"({' '.join(flags)})", None, message))
        told = re.search(rb"APPENDUID (\d+) (\d+)", data[0])
        self.account.answered([int(told.group(2))], int(told.group(1)))

    # ---- mail changes --------------------------------------------------------------------------

    def store(self, box, uids, flag, add=True):
        messages = self.account.boxes[box].messages
        change = Change(whole=False, flags={
            (box, uid): messages[uid].flags | {flag} if add else messages[uid].flags - {flag}
            for uid in uids})
        self.select(box)
        self.account.ask(change)
        data = self.say(self.imap.uid("STORE", ",".join(map(str, uids)),
                                      "+FLAGS" if add else "-FLAGS", f"({flag})"))
        for uid, (flags, modseq, _) in parse_fetch(data).items():
            change.modseqs[box, uid] = modseq
        self.account.answered()

    def expunge(self, box, uids):
        self.store(box, uids, "\\Deleted")
        self.account.ask(Change(whole=False, gone={(box, uid) for uid in uids}))
        self.say(self.imap.uid("EXPUNGE", ",".join(map(str, uids))))
        self.account.answered()

    def copy(self, box, uids, target, move=False):
        messages = self.account.boxes[box].messages
        self.select(box)
        uids = sorted(uids)
        self.account.ask(Change(gone={(box, uid) for uid in uids} if move else set(), move=move,
                                whole=not move,
                                added=[(target, messages[u].key, messages[u].flags)
                                       for u in uids]))
        data = self.say(self.imap.uid("MOVE" if move else "COPY", ",".join(map(str, uids)),
                                      quoted(target)))
        told = self.imap.response("COPYUID")[1][-1] or data[-1]
        ranges = re.search(rb"(\d+) ([\d,:]+) ([\d,:]+)", told).groups()
        self.account.answered(uid_list(ranges[2]), int(ranges[0]))

    def pop3_delete(self, count):
        """Takes the first messages and deletes them, as a POP3 program does: at QUIT."""
        account = self.account
        if account.unplaced:
            return
        uids = sorted(account.boxes[POP3].messages)[:count]
        pop3 = account.server.pop3(account.name, account.password, tls=account.tls)
        try:
            pop3.sock.settimeout(30)
            for number, uid in enumerate(uids, 1):
                got = digest(sent_part(b"".join(line + b"\r\n" for line in pop3.retr(number)[1])))
                if got != account.boxes[POP3].messages[uid].key:
                    raise Wrong(f"{account.name}: POP3 gives another message than IMAP")
                pop3.dele(number)
            account.ask(Change(whole=False, gone={(POP3, uid) for uid in uids}))
            pop3._shortcmd("QUIT")
            account.answered()
        finally:
            pop3.close()

    # ---- mailboxes -----------------------------------------------------------------------------

    def create(self, name):
        self.connect()
        self.account.ask(Change(created=name))
        self.say(self.imap.create(quoted(name)))
        self.account.answered()

    def delete(self, name):
        self.connect()
        self.account.ask(Change(deleted=name))
        self.say(self.imap.delete(quoted(name)))
        self.account.answered()

    def rename(self, old, new):
        self.connect()
        change = Change(renamed=(old, new))
        if old == "INBOX":  # it stays, its messages move one by one (RFC 9051 6.3.6)
            messages = self.account.boxes[old].messages
            change = Change(created=new, gone={(old, uid) for uid in messages}, move=True,
                            whole=False, added=[(new, m.key, m.flags) for m in messages.values()])
        self.account.ask(change)
        self.say(self.imap.rename(quoted(old), quoted(new)))
        self.account.answered()


def uid_list(text):
    uids = []
    for part in text.decode().split(","):
        first, _, last = part.partition(":")
        uids.extend(range(int(first), int(last or first) + 1))
    return uids
