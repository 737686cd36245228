#!/usr/bin/env python3
"""Works the golden table of reputation out, apart from the code that it is held against: in decimals of 50 digits, from the formulas as
they are published. Prints golden.txt.

The volatility is found by bisection to 40 digits, not by the Illinois algorithm: what differs is below the tolerance of that."""

from decimal import Decimal as D, getcontext

getcontext().prec = 60
DAY = D(86_400_000_000)
START = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
PI = D("3.14159265358979323846264338327950288419716939937510582097494459")
START_PHI = D(350) / D("173.7178")
TAU = D("0.5")
KIND = {"task": "reliability", "verification": "quality", "audit": "compliance", "peer": None}


def figure_of(kind):
    return KIND[kind.split("_")[0]]


def decay(at, as_of):
    return (-(D(2).ln() / 30) * (D(as_of - at) / DAY)).exp()


def score(figure, evidence, as_of):
    def total(of):
        return sum((D(w) / 1000 * decay(at, as_of) for kind, w, _, at in evidence if figure_of(kind) == of), D(0))

    if figure != "overall":
        return total(figure)
    endorsed = flagged = D(0)
    for scope in sorted({scope for _, _, scope, _ in evidence}):
        here = sum((D(abs(w)) / 1000 * decay(at, as_of) for k, w, s, at in evidence if s == scope and k == "peer_endorsed"), D(0))
        endorsed += min(here, D("1.5"))
        flagged += sum((D(abs(w)) / 1000 * decay(at, as_of) for k, w, s, at in evidence if s == scope and k == "peer_flagged"), D(0))
    return D("0.4") * total("reliability") + D("0.4") * total("quality") + D("0.2") * total("compliance") + (endorsed - flagged) / 2


def volatility(phi, sigma, v, delta):
    a = (sigma * sigma).ln()

    def f(x):
        e = x.exp()
        return e * (delta**2 - phi**2 - v - e) / (2 * (phi**2 + v + e) ** 2) - (x - a) / TAU**2

    low, high = a - 20, a + 20
    for _ in range(150):
        middle = (low + high) / 2
        if f(middle) > 0:
            low = middle
        else:
            high = middle
    return (low / 2).exp()


def played(evidence):
    """Thousandths of games: an endorsement is as many as the newer ones of its scope leave of 1500."""
    def newer(piece, place):
        return sum(w for other, (k, w, s, at) in enumerate(evidence)
                   if (k, s) == ("peer_endorsed", piece[2]) and (at, w, other) > (piece[3], piece[1], place))

    return [max(0, min(w, 1500 - newer((k, w, s, at), place))) if k == "peer_endorsed" else abs(w)
            for place, (k, w, s, at) in enumerate(evidence)]


def rating(evidence, as_of):
    mu, phi, sigma = D(0), START_PHI, D("0.06")
    counted = [(at, D(n) / 1000, D(1 if w > 0 else 0)) for (_, w, _, at), n in zip(evidence, played(evidence)) if n]
    day = min(at for at, _, _ in counted) // int(DAY)
    while day <= as_of // int(DAY):
        games = [(n, s) for at, n, s in counted if at // int(DAY) == day]
        if games:
            e = 1 / (1 + (-mu).exp())
            v = 1 / max(sum(n * e * (1 - e) for n, _ in games), D("1e-9"))
            surprise = sum(n * (s - e) for n, s in games)
            sigma = min(volatility(phi, sigma, v, v * surprise), D("0.06"))
            phi = min(1 / (1 / (phi**2 + sigma**2) + 1 / v).sqrt(), START_PHI)
            mu += phi**2 * surprise
        else:
            phi = min((phi**2 + sigma**2).sqrt(), START_PHI)
        day += 1
    return mu, phi, sigma


def at(days, micros=0):
    return START + int(D(str(days)) * DAY) + micros


CASES = {
    "one": [("task_completed", 1000, "a", at(0))],
    "mixed": [
        ("task_completed", 1000, "a", at(0, 5)),
        ("task_failed", -200, "a", at(0, 7)),
        ("verification_passed", 2250, "a", at("3.25")),
        ("audit_violation", -3000, "b", at("9.5")),
        ("peer_endorsed", 500, "a", at(10)),
        ("peer_endorsed", 125, "b", at("10.75")),
        ("peer_flagged", -1000, "b", at(11)),
        ("task_abandoned", -75, "b", at(40)),
    ],
    "praised": [("peer_endorsed", 500, "a", at(day)) for day in range(5)] + [("peer_endorsed", 500, "b", at(4))],
    "flattered": [("peer_endorsed", 500, "a", at(day)) for day in (0, 1, 2)]
    + [("peer_endorsed", 125, "a", at(day)) for day in (2, 3)] + [("peer_endorsed", 500, "a", at("3.5"))] * 2
    + [("peer_flagged", -1000, "a", at(1)), ("task_failed", -800, "b", at(3))],
    # Many games a day, won and lost in turn: what is surprising every day is no rating that runs away.
    "busy": [(("task_completed", 50000, "a", at(day)) if day % 2 == 0 else ("task_failed", -50000, "a", at(day))) for day in range(10)],
    "long ago": [("verification_failed", -1200, "a", at(0)), ("verification_passed", 375, "a", at(800))],
}
TIMES = {"one": [0, 30, 60, 3650], "mixed": ["11.5", 40, 100], "praised": [4, 34], "flattered": [2, 4, 90], "busy": [4, 9], "long ago": [801]}

for name, evidence in CASES.items():
    for kind, weight, scope, when in evidence:
        print(f"evidence\t{name}\t{kind}\t{weight}\t{scope}\t{when}")
    for days in TIMES[name]:
        as_of = at(days)
        known = [piece for piece in evidence if piece[3] <= as_of]
        for scope in [None] + sorted({piece[2] for piece in known}):
            here = [piece for piece in known if scope in (None, piece[2])]
            for figure in ["compliance", "overall", "quality", "reliability"]:
                counted = [piece for piece in here if figure == "overall" or figure_of(piece[0]) == figure]
                if not counted:
                    continue
                mu, phi, sigma = rating(counted, as_of)
                numbers = "\t".join(f"{round(number, 9):.9f}" for number in (score(figure, counted, as_of), mu, phi, sigma))
                print(f"row\t{name}\t{as_of}\t{figure}\t{scope or '-'}\t{len(counted)}\t{numbers}")
