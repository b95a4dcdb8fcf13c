"""Debian's Thunderbird on a screen of its own (Xvfb), with a profile that the test writes: an IMAP
account with TLS, offline copies of everything, nothing that talks to anybody else.

What is asked of it runs as JavaScript inside (marionette.py) and goes through its own IMAP code."""
import os
import shutil
import signal
import subprocess
import tempfile
import unittest

from desktop.marionette import Marionette
from lib.server import PATIENCE, free_ports, wait_until

PROGRAMS = ("thunderbird", "Xvfb", "certutil", "openssl")
SCREEN = (1280, 800)

PREFERENCES = {
    # The account.
    "mail.accountmanager.accounts": "account1,account2",
    "mail.accountmanager.defaultaccount": "account1",
    "mail.accountmanager.localfoldersserver": "server2",
    "mail.account.account1.server": "server1",
    "mail.account.account1.identities": "id1",
    "mail.account.account2.server": "server2",
    "mail.identity.id1.fullName": "Alice",
    "mail.identity.id1.useremail": "alice@example.net",
    "mail.identity.id1.valid": True,
    "mail.server.server1.type": "imap",
    "mail.server.server1.hostname": "127.0.0.1",
    "mail.server.server1.name": "alice@example.net",
    "mail.server.server1.userName": "alice",
    "mail.server.server1.socketType": 3,  # TLS from the first byte
    "mail.server.server1.authMethod": 3,  # a password
    "mail.server.server1.offline_download": True,
    "mail.server.server1.autosync_offline_stores": True,
    "mail.server.server1.storeContractID": "@mozilla.org/msgstore/maildirstore;1",
    # Only IDLE says what is new: nothing is asked every ten minutes.
    "mail.server.server1.check_new_mail": False,
    "mail.server.server1.login_at_startup": False,
    "mail.server.server1.use_idle": True,
    "mail.server.server2.type": "none",
    "mail.server.server2.hostname": "Local Folders",
    "mail.server.server2.name": "Local Folders",
    "mail.server.server2.userName": "nobody",
    # No pages of the first run, no questions, no company.
    "app.donation.eoy.version.viewed": 999,
    "app.update.enabled": False,
    "browser.safebrowsing.downloads.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "datareporting.healthreport.uploadEnabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "datareporting.policy.dataSubmissionPolicyBypassNotification": True,
    "extensions.update.enabled": False,
    "mail.biff.play_sound": False,
    "mail.biff.show_alert": False,
    "mail.rights.version": 1,
    "mail.shell.checkDefaultClient": False,
    "mail.spam.manualMark": False,
    "mail.spotlight.firstRunDone": True,
    "mail.startup.enabledMailCheckOnce": True,
    "mail.winsearch.firstRunDone": True,
    "mailnews.start_page.enabled": False,
    "mailnews.start_page.override_url": "",
    "mailnews.start_page_override.mstone": "ignore",
    "mail.inappnotifications.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "http://127.0.0.1:9/",
    "toolkit.telemetry.server": "",
}

HELPERS = """
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const { setTimeout } = ChromeUtils.importESModule("resource://gre/modules/Timer.sys.mjs");
const server = MailServices.accounts.getAccount("account1").incomingServer;
const root = server.rootFolder;
/* Names as they are on the wire: in UTF-8, since it enables UTF8=ACCEPT. */
const path = folder => folder.QueryInterface(Ci.nsIMsgImapMailFolder).onlineName;
const find = name => root.descendants.find(f => path(f) == name);
const headers = folder => [...folder.messages];
const header = (folder, id) => headers(folder).find(h => h.messageId == id);
const pick = (folder, ids) => ids.map(id => header(folder, id));
/* What the program calls when it is through; anything but success is an error here. */
const told = start => new Promise((done, failed) => {
  const end = status => Components.isSuccessCode(status) ? done(status)
                                    : failed(new Error("status 0x" + status.toString(16)));
  start({ QueryInterface: ChromeUtils.generateQI(["nsIUrlListener", "nsIMsgCopyServiceListener"]),
          OnStartRunningUrl() {}, OnStopRunningUrl(url, status) { end(status); },
          onStartCopy() {}, onProgress() {}, setMessageKey() {}, getMessageId() { return null; },
          onStopCopy(status) { end(status); } });
});
const pause = (ms = 5000) => new Promise(done => setTimeout(done, ms, false));
/* Of a folder that is being updated already nobody is told the end: false after a while. */
const update = folder => Promise.race([
  told(l => folder.QueryInterface(Ci.nsIMsgImapMailFolder).updateFolderWithListener(null, l))
    .then(() => true),
  pause()]);
"""


def need():
    for program in PROGRAMS:
        if shutil.which(program) is None:
            raise unittest.SkipTest(f"{program} is not installed (scripts/need clients)")


def preference(value):
    return str(value).lower() if isinstance(value, (bool, int)) else f'"{value}"'


class Screen:
    """An X server whose number nobody else has."""

    def __init__(self):
        inside, outside = os.pipe()
        self.process = subprocess.Popen(
            ["Xvfb", "-displayfd", str(outside), "-screen", "0", f"{SCREEN[0]}x{SCREEN[1]}x24",
             "-nolisten", "tcp"], pass_fds=(outside,), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(outside)
        with os.fdopen(inside) as pipe:
            self.name = ":" + pipe.readline().strip()
        if self.name == ":":
            raise AssertionError("Xvfb did not start")

    def close(self):
        self.process.terminate()
        self.process.wait(PATIENCE)


class Thunderbird:
    def __init__(self, port, authority, password):
        """authority: PEM file of who made the server's certificate. The profile stays through
        stop() and start()."""
        self.home = tempfile.mkdtemp(prefix="restante-thunderbird-")
        self.profile = os.path.join(self.home, "profile")
        self.password = password
        self.process = self.remote = None
        os.mkdir(self.profile)
        database = f"sql:{self.profile}"
        for words in (("-N", "--empty-password"),
                      ("-A", "-n", "the test's authority", "-t", "C,,", "-i", authority)):
            subprocess.run(["certutil", *words, "-d", database], check=True, capture_output=True)
        self.preferences = dict(PREFERENCES, **{"mail.server.server1.port": port})
        self.screen = Screen()
        self.start()

    def start(self):
        remote, = free_ports(1)
        self.preferences["marionette.port"] = remote
        with open(os.path.join(self.profile, "user.js"), "w") as file:
            for name, value in self.preferences.items():
                file.write(f'user_pref("{name}", {preference(value)});\n')
        self.log = open(os.path.join(self.home, "log"), "ab")
        self.process = subprocess.Popen(
            ["thunderbird", "--no-remote", "--profile", self.profile, "--marionette",
             "--remote-allow-system-access"], stdin=subprocess.DEVNULL, stdout=self.log,
            stderr=self.log, start_new_session=True,
            env=dict(os.environ, DISPLAY=self.screen.name, HOME=self.home, LC_ALL="C.UTF-8",
                     MOZ_CRASHREPORTER_DISABLE="1", NO_AT_BRIDGE="1", GDK_BACKEND="x11"))
        self.remote = Marionette(remote)
        self.run("""
            const login = Cc["@mozilla.org/login-manager/loginInfo;1"]
              .createInstance(Ci.nsILoginInfo);
            const place = "imap://127.0.0.1";
            login.init(place, null, place, "alice", arguments[0], "", "");
            if (!(await Services.logins.searchLoginsAsync({ origin: place })).length)
              await Services.logins.addLoginAsync(login);""", self.password)

    def stop(self):
        """As a person ends it: what it has in memory is written."""
        self.remote.command("Marionette:Quit", {"flags": ["eForceQuit"]})
        self.remote.close()
        self.process.wait(PATIENCE * 2)
        self.log.close()
        self.process = None

    def close(self):
        if self.process is not None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait(PATIENCE)
            self.log.close()
        self.screen.close()
        shutil.rmtree(self.home, ignore_errors=True)

    # ---- what is done and seen in it ---------------------------------------------------------------

    def run(self, script, *args):
        return self.remote.run(HELPERS + script, *args)

    def until(self, what, script, *args):
        """Until the script's value is true."""
        return wait_until(what, lambda: self.run(script, *args), PATIENCE * 2)

    def connect(self):
        """Folders are discovered, INBOX is open; IDLE begins by itself."""
        self.run("server.performExpand(null);")
        self.look("INBOX")
        self.until("the folders", "return !!find('Trash');")

    def look(self, folder):
        """As a click on the folder."""
        self.until(f"{folder} to be up to date", "return await update(find(arguments[0]));", folder)

    def download(self, folder):
        """All of it for offline reading; it may have begun by itself, and is busy then."""
        self.until(f"an offline copy of {folder}", """
            const folder = find(arguments[0]);
            try {
              await Promise.race([told(l => folder.downloadAllForOffline(l, null)), pause()]);
            } catch (error) {
              if (error.result != 0x8055000a) /* NS_MSG_FOLDER_BUSY */
                throw error;
              await pause(100);
            }
            return headers(folder).every(h => h.flags & Ci.nsMsgMessageFlags.Offline);""", folder)

    def folders(self):
        return self.run("return root.descendants.map(path);")

    def offline_files(self, folder):
        """The bytes of every message kept for offline reading, read from the profile."""
        path = self.run("return find(arguments[0]).filePath.path;", folder)
        found = []
        for part in ("cur", "new"):
            part = os.path.join(path, part)
            for name in sorted(os.listdir(part)) if os.path.isdir(part) else ():
                with open(os.path.join(part, name), "rb") as file:
                    found.append(file.read())
        return found

    def picture(self, path):
        subprocess.run(["import", "-display", self.screen.name, "-window", "root", path], check=True)


def authority(directory):
    """A certificate for 127.0.0.1 and who made it: paths of (authority, certificate, key)."""
    def make(*words):
        subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True)
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    make("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "3650",
         "-subj", "/CN=Restante test", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    make("req", *key, "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost")
    make("x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key",
         "-CAcreateserial", "-out", "cert.pem", "-days", "800", "-copy_extensions", "copyall")
    return [os.path.join(directory, name) for name in ("ca.pem", "cert.pem", "key.pem")]
