"""What a run leaves: rows on the terminal as they come, bench/report/*.json, and plots by gnuplot."""
import json
import os
import shutil
import subprocess

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDER = os.path.join(TOP, "bench/report")


class Table:
    """Ratios are to each other server; above 1 is in Restante's favour."""

    def __init__(self, servers):
        self.names, self.report = [s.name for s in servers], {}
        print(f"\n{'measure':30}" + "".join(f"{n:>11}{'cpu us':>10}" for n in self.names) +
              "".join(f"{'to ' + n:>12}{'cpu':>7}" for n in self.names[1:]) + "  target", flush=True)

    def rate(self, title, rows, target=""):
        """rows: per server (operations/s, us of CPU each, p99 in us), or None: not measured."""
        self.report[title] = {n: dict(zip(("rate", "cpu_us", "p99_us"), r))
                              for n, r in rows.items() if r} | {"target": target}
        self.line(title, rows, target, lambda a, b: (a[0] / b[0] if b[0] else 0,
                                                     b[1] / a[1] if a[1] else 0),
                  lambda r: f"{r[0]:11,.0f}{r[1]:10,.1f}")

    def other(self, title, values, unit, target=""):
        """Smaller is better."""
        self.report[title] = {**values, "unit": unit, "target": target}
        self.line(title, values, target, lambda a, b: (b / a if a else 0, None),
                  lambda v: f"{v:11,.1f} {unit:9}")

    def line(self, title, rows, target, compare, show):
        text, ratios = f"{title:30}", ""
        mine = rows.get(self.names[0])
        for name in self.names:
            row = rows.get(name)
            text += show(row) if row else f"{'-':>11}{'':10}"
            if name != self.names[0]:
                rate, cpu = compare(mine, row) if mine and row else (None, None)
                ratios += f"{rate:11.1f}x" if rate else f"{'-':>12}"
                ratios += f"{cpu:6.1f}x" if cpu else f"{'':7}"
        print(f"{text}{ratios}  {target}", flush=True)


def write(name, report):
    os.makedirs(FOLDER, exist_ok=True)
    path = os.path.join(FOLDER, name)
    with open(path, "w") as file:
        json.dump(report, file, indent=1)
    return path


def read(name):
    """What an earlier run wrote; {} when there was none."""
    try:
        with open(os.path.join(FOLDER, name)) as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def gnuplot(name, script):
    """bench/report/NAME.svg, where gnuplot is installed."""
    if shutil.which("gnuplot") is None:
        return
    os.makedirs(FOLDER, exist_ok=True)
    path = os.path.join(FOLDER, name + ".svg")
    head = (f"set terminal svg size 720,420 font 'sans,12' background 'white'\nset output '{path}'\n"
            "set grid ytics lc rgb '#cccccc'\nset border 3\nset tics nomirror\n")
    subprocess.run(["gnuplot"], input=head + script, text=True, check=True)


def plot_ratios(report, peer):
    """One bar per measure: how many times the rate of the peer; a second one for CPU."""
    lines = []
    for title, row in report.items():
        mine, other = row.get("restante"), row.get(peer)
        if isinstance(mine, dict) and isinstance(other, dict) and other["rate"] and mine["cpu_us"]:
            lines.append(f"'{title}' {mine['rate'] / other['rate']:.3f} "
                         f"{other['cpu_us'] / mine['cpu_us']:.3f}")
    if not lines:
        return
    gnuplot(f"ratio-{peer}", "$d << END\n" + "\n".join(lines).replace("'", '"') + "\nEND\n"
            "set terminal svg size 900,560 font 'sans,11' background 'white'\n"
            "set style data histograms\nset style fill solid\nset logscale y\n"
            f"set ylabel 'times {peer} (logarithmic)'\nset xtics rotate by -50\n"
            "set key top right\nset bmargin 12\n"
            "plot $d using 2:xtic(1) title 'rate', '' using 3 title 'CPU', 1 with lines lc 'black' "
            "notitle\n")


def plot_growth(name, title, xlabel, ylabel, series):
    """series: {label: [(x, y)]}; both axes are logarithmic, so flat is flat and n log n nearly n."""
    blocks, plots = "", []
    for number, (label, points) in enumerate(series.items()):
        points = [(x, y) for x, y in points if x > 0 and y > 0]
        if points:
            blocks += f"$d{number} << END\n" + "".join(f"{x} {y}\n" for x, y in points) + "END\n"
            plots.append(f"$d{number} with linespoints pt 7 ps 0.6 lw 2 title \"{label}\"")
    if plots:
        gnuplot(name, f"{blocks}set logscale xy\nset format x '%.0s%c'\nset title '{title}'\n"
                f"set xlabel '{xlabel}'\nset ylabel '{ylabel}'\nset key outside right\n"
                "set yrange [*:*]\nplot " + ", ".join(plots) + "\n")
