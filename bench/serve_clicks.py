#!/usr/bin/env python3
"""Latency of a running server, one keep-alive connection: serve_clicks.py http://127.0.0.1:8765 STUDY [CLICKS]

Prints median, 99th percentile and maximum of: a concept's vector, its head, its genes, the landscape, and a
selection of 50,000 random cells, in milliseconds, with the process' memory where it can be read."""
import http.client
import json
import random
import struct
import sys
import time

base, study = sys.argv[1].removeprefix("http://").rstrip("/"), sys.argv[2]
clicks = int(sys.argv[3]) if len(sys.argv) > 3 else 1000
root = f"/api/v1/s/{study}"
connection = http.client.HTTPConnection(base)


def ask(path, body=None):
    begin = time.perf_counter()
    connection.request("POST" if body else "GET", root + path, body, {"Accept-Encoding": "gzip"})
    answer = connection.getresponse()
    content = answer.read()
    assert answer.status == 200, (path, answer.status, content[:200])
    return 1000 * (time.perf_counter() - begin), len(content)


def measure(name, paths, body=None):
    times = sorted(ask(p, body)[0] for p in paths)
    size = ask(paths[0], body)[1]
    print(f"{name:28s} n {len(times):5d}  median {times[len(times) // 2]:8.2f}  p99 {times[int(0.99 * (len(times) - 1))]:8.2f}"
          f"  max {times[-1]:8.2f} ms  {size} bytes")


connection.request("GET", root + "/study")
facts = json.loads(connection.getresponse().read())
random.seed(1)
concepts = [random.randrange(facts["concepts"]) for _ in range(clicks)]
measure("landscape, first", ["/concepts"])
measure("landscape, again", ["/concepts"] * 10)
measure("vector of a concept", [f"/vec/activation/{c}" for c in concepts])
measure("head of a concept", [f"/concept/{c}" for c in concepts])
measure("genes of a concept", [f"/concept/{c}/genes?limit=400" for c in concepts[:200]])
measure("terms of a concept", [f"/concept/{c}/terms" for c in concepts[:200]])
measure("similar", [f"/concept/{c}/similar" for c in concepts[:200]])
measure("gene on the map", [f"/vec/gene/{random.randrange(facts['genes'])}" for _ in range(200)])
measure("page of a gene", [f"/gene/{random.randrange(facts['genes'])}" for _ in range(50)])
measure("search", [f"/search?q=GENE{random.randrange(facts['genes'])}" for _ in range(50)])
n = min(50000, facts["cells"] // 6)
chosen = sorted(random.sample(range(facts["cells"]), n))
body = struct.pack(f"<I{n}II", n, *chosen, 0)
measure(f"selection of {n}: concepts", ["/selection/concepts"] * 20, body)
measure(f"selection of {n}: genes", ["/selection/genes"] * 5, body)
