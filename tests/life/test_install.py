"""`make install`: everything in its place, and what is installed runs; as root with its system users
on the well-known ports, in a network of its own."""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from lib.server import BUILD, PATIENCE, TOP

USERS = ("tls", "door", "auth", "mail", "reader", "control")
PROGRAMS = ("master", *(name for name in USERS if name != "mail"), "worker")


def run(*command, **others):
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **others)


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tree = tempfile.mkdtemp(prefix="restante-test-")
        cls.addClassCleanup(shutil.rmtree, cls.tree, ignore_errors=True)
        os.chmod(cls.tree, 0o755)
        done = run("meson", "install", "-C", BUILD, "--no-rebuild", "--quiet",
                   env=dict(os.environ, DESTDIR=cls.tree))
        assert done.returncode == 0, done.stderr
        cls.files = sorted(os.path.relpath(os.path.join(path, name), cls.tree)
                           for path, _, names in os.walk(cls.tree) for name in names)

    def find(self, end):
        found = [path for path in self.files if path.endswith("/" + end)]
        self.assertEqual(len(found), 1, (end, self.files))
        return os.path.join(self.tree, found[0])

    def test_all_in_place(self):
        """These, and no others: no test program, no library, no header."""
        wanted = {"bin/restante", "lib/systemd/system/restante.service",
                  "lib/sysusers.d/restante.conf", "share/man/man1/restante.1",
                  "share/man/man5/restante.conf.5"}
        wanted |= {f"libexec/restante/restante-{name}" for name in PROGRAMS}
        found = {re.sub(r"^usr/(local/)?", "", path).removesuffix(".gz") for path in self.files}
        self.assertEqual(found, wanted)

    def test_installed_program_runs(self):
        program = self.find("bin/restante")
        self.assertRegex(run(program, "--version").stdout, r"^restante \d+\.\d+\.\d+\n$")
        with tempfile.TemporaryDirectory() as data:
            os.chmod(data, 0o755)
            server = subprocess.Popen([program, "serve", "--data", data, "--listen=imap=127.0.0.1:0"],
                                      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            try:
                for line in server.stdout:
                    if "Ctrl-C" in line:
                        break
                self.assertIn("worker", run(program, "status", "--data", data).stdout)
            finally:
                server.terminate()
                server.stdout.close()
                self.assertEqual(server.wait(PATIENCE), 0)

    def test_manual_pages(self):
        if shutil.which("man") is None:
            self.skipTest("man is not installed")
        for name in ("restante.1", "restante.conf.5"):
            path = next(os.path.join(self.tree, f) for f in self.files if name in f)
            done = run("man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", path,
                       env=dict(os.environ, LC_ALL="C.UTF-8", MANWIDTH="100"))
            self.assertEqual((done.returncode, done.stderr), (0, ""), name)
            self.assertIn("NAME", re.sub(".\b", "", done.stdout))

    def test_manual_knows_every_command_and_setting(self):
        with open(self.find("man1/restante.1")) as file:
            page = file.read().replace("\\", "")
        program = self.find("bin/restante")
        for command in re.findall(r"^  (\w+) ", run(program, "--help").stdout, re.M):
            self.assertIn(f"restante {command}", page)
        for part in re.findall(r"^  (\w+) ", run(program, "account", "--help").stdout, re.M):
            self.assertIn(f"account {part}", page)

    def test_settings_document_is_current(self):
        program = self.find("bin/restante")
        with open(os.path.join(TOP, "doc/settings.md")) as file:
            self.assertEqual(run(program, "config", "--manual").stdout, file.read())

    def test_unit(self):
        if shutil.which("systemd-analyze") is None:
            self.skipTest("systemd-analyze is not installed")
        unit = self.find("restante.service")
        here = os.path.join(self.tree, "restante.service")  # with programs that are there
        with open(unit) as file:
            text = file.read()
        program = re.search(r"^ExecStart=(\S+)", text, re.M)[1]
        self.assertEqual(os.path.join(self.tree, program.lstrip("/")), self.find("bin/restante"))
        with open(here, "w") as file:
            file.write(text.replace(program, self.find("bin/restante")))
        done = run("systemd-analyze", "verify", "--man=no", here)
        os.unlink(here)
        complaints = [line for line in done.stderr.splitlines() if "restante.service" in line]
        self.assertEqual((done.returncode, complaints), (0, []), done.stderr)

    def test_sysusers(self):
        with open(self.find("sysusers.d/restante.conf")) as file:
            names = re.findall(r"^u restante-(\w+) ", file.read(), re.M)
        self.assertEqual(sorted(names), sorted(USERS))
        if shutil.which("systemd-sysusers") is None:
            return
        with tempfile.TemporaryDirectory() as root:
            os.makedirs(os.path.join(root, "etc"))
            done = run("systemd-sysusers", f"--root={root}", self.find("sysusers.d/restante.conf"))
            self.assertEqual(done.returncode, 0, done.stderr)
            with open(os.path.join(root, "etc/passwd")) as file:
                made = dict(re.findall(r"^restante-(\w+):[^:]*:(\d+):", file.read(), re.M))
        self.assertEqual(sorted(made), sorted(USERS))
        self.assertEqual(len(set(made.values())), len(USERS))


@unittest.skipUnless(os.geteuid() == 0, "needs root")
class AsRoot(Install):
    """As the unit starts it. In a network and a mount namespace of its own, so that nothing of this
    machine is touched; the six users exist in its /etc alone."""

    test_all_in_place = test_installed_program_runs = test_manual_pages = None
    test_manual_knows_every_command_and_setting = test_settings_document_is_current = None
    test_unit = test_sysusers = None

    SCRIPT = r"""
set -eu
mount --make-rprivate /
mount -t tmpfs none /var/lib
mount -t tmpfs none /run
cp -a /etc /run/etc
mount --bind /run/etc /etc
systemd-sysusers $2
mkdir -m 0711 /var/lib/restante
ip link set lo up
$1 serve >/run/screen 2>/run/log &
server=$!
trap 'kill $server; wait $server || true; cat /run/log' EXIT
until grep -q Ctrl-C /run/screen; do kill -0 $server; sleep 0.1; done
echo secret | $1 account add alice --password-stdin
printf 'Subject: x\r\n\r\nhello\r\n' | $1 deliver alice --from s@example.org
curl -sS -k -u alice:secret 'imaps://127.0.0.1:993/INBOX;UID=1' | tail -1
curl -sS -k --ssl-reqd -u alice:secret 'pop3://127.0.0.1:110/1' | tail -1
curl -sS http://127.0.0.1:9143/healthz
stat -c 'socket %a' /run/restante/lmtp
for name in tls door auth worker reader control; do
  echo "process $name $(stat -c %U /proc/$(pgrep --ns $$ --nslist net -o restante-$(echo $name | cut -c1-6)))"
done
stat -c 'owner %U' /var/lib/restante/volumes/0 /var/lib/restante/auth
"""

    def setUp(self):
        for program in ("unshare", "ip", "curl", "pgrep", "systemd-sysusers"):
            if shutil.which(program) is None:
                self.skipTest(f"{program} is not installed")
        probe = run("unshare", "--net", "--mount", "sh", "-c",
                    "mount --make-rprivate / && mount -t tmpfs none /var/lib && ip link set lo up")
        if probe.returncode != 0:
            self.skipTest(f"no namespaces here: {probe.stderr.strip()}")

    def test_as_installed(self):
        done = run("unshare", "--net", "--mount", "bash", "-c", self.SCRIPT, "bash",
                   self.find("bin/restante"), self.find("sysusers.d/restante.conf"))
        said = done.stdout
        self.assertEqual(done.returncode, 0, said + done.stderr)
        self.assertEqual(said.count("hello\n") + said.count("hello\r\n"), 2, said)
        self.assertIn("\nok\n", said)
        self.assertIn("socket 660\n", said)
        for name in ("tls", "door", "auth", "reader", "control"):
            self.assertIn(f"process {name} restante-{name}\n", said.replace("restante+", "restante-"))
        self.assertIn("process worker restante-mail\n", said)
        self.assertIn("owner restante-mail\nowner restante-auth\n", said)
        self.assertNotIn("event=users_numbered", said)
        self.assertNotIn("level=error", said)


if __name__ == "__main__":
    unittest.main()
