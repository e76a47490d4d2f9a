#!/usr/bin/env python3
"""What an expert waits for: serve_clicks.py PROGRAM STUDY_FOLDER [CLICKS]

Starts `PROGRAM serve` on a free port, asks over one keep-alive connection, prints median, 99th percentile and maximum
in milliseconds, and what the process kept and needed at most, and ends it. Where STUDY_FOLDER has no notes yet, a
made-up expert names every concept; these notes are taken away again."""
import http.client
import json
import os
import random
import re
import struct
import subprocess
import sys
import time

program, folder = sys.argv[1], sys.argv[2]
clicks = int(sys.argv[3]) if len(sys.argv) > 3 else 1000
begin = time.perf_counter()
server = subprocess.Popen([program, "serve", folder, "--port", "0", "--no-browser", "-q"], stdout=subprocess.PIPE, text=True)
address = server.stdout.readline().strip()
print(f"start to printed address     {time.perf_counter() - begin:8.2f} s")
connection = http.client.HTTPConnection(re.sub("http://|/$", "", address))


def memory():
    with open(f"/proc/{server.pid}/status") as f:
        lines = dict(line.split(":", 1) for line in f)
    return ", ".join(f"{k} {int(lines[k].split()[0]) // 1024} MB" for k in ("VmHWM", "VmRSS", "RssAnon", "RssFile"))


def send(path, body=None, headers=None):
    start = time.perf_counter()
    connection.request("POST" if body is not None else "GET", path, body, {"Accept-Encoding": "gzip", **(headers or {})})
    answer = connection.getresponse()
    content = answer.read()
    assert answer.status == 200, (path, answer.status, content[:200])
    return 1000 * (time.perf_counter() - start), content


def table(name, times, size=None):
    times = sorted(times)
    print(f"{name:28s} n {len(times):5d}  median {times[len(times) // 2]:8.2f}  p99 {times[int(0.99 * (len(times) - 1))]:8.2f}"
          f"  max {times[-1]:8.2f} ms" + (f"  {size} bytes" if size is not None else ""))


study = json.loads(send("/api/v1/info", headers={"Accept-Encoding": ""})[1])["studies"][0]["id"]
root = f"/api/v1/s/{study}"


def measure(name, paths, body=None):
    answers = [send(root + p, body) for p in paths]
    table(name, [t for t, _ in answers], len(answers[0][1]))


facts = json.loads(send(root + "/study", headers={"Accept-Encoding": ""})[1])
random.seed(1)
concepts = [random.randrange(facts["concepts"]) for _ in range(clicks)]
genes = [random.randrange(facts["genes"]) for _ in range(200)]
measure("landscape, first", ["/concepts"])
measure("landscape, again", ["/concepts"] * 10)
measure("map of cells", ["/vec/umap"] * 10)
measure("vector of a concept", [f"/vec/activation/{c}" for c in concepts])
measure("head of a concept", [f"/concept/{c}" for c in concepts])
measure("genes of a concept", [f"/concept/{c}/genes?limit=400" for c in concepts[:200]])
measure("terms of a concept", [f"/concept/{c}/terms" for c in concepts[:200]])
measure("similar", [f"/concept/{c}/similar" for c in concepts[:200]])
measure("gene on the map", [f"/vec/gene/{g}" for g in genes])
measure("page of a gene", [f"/gene/{g}" for g in genes[:50]])
measure("search", [f"/search?q=GENE{g}" for g in genes[:50]])
n = min(50000, facts["cells"] // 6)
chosen = sorted(random.sample(range(facts["cells"]), n))
body = struct.pack(f"<I{n}II", n, *chosen, 0)
measure(f"selection of {n}: concepts", ["/selection/concepts"] * 20, body)
measure(f"selection of {n}: genes", ["/selection/genes"] * 5, body)

if not os.path.exists(os.path.join(folder, "notes.sqlite")):
    token = re.search(r'conceptome-token" content="([0-9a-f]+)"', send("/", headers={"Accept-Encoding": ""})[1].decode())[1]
    measure("keys of the notes, first", ["/notes/keys"])
    keys = json.loads(send(root + "/notes/keys", headers={"Accept-Encoding": ""})[1])["keys"]
    head = {"X-Conceptome-Token": token, "Content-Type": "application/json"}
    table("saving a note", [send(root + "/notes", json.dumps({"author": "bench", "key": k, "field": "name", "value": f"concept {i}"}), head)[0]
                            for i, k in enumerate(keys)]) # the first row of a concept also keeps its genes and cells
    measure(f"all notes ({len(keys)})", ["/notes"] * 10)
    table("saving one more", [send(root + "/notes", json.dumps({"author": "bench", "key": k, "field": "note", "value": "what speaks for it"}), head)[0]
                              for k in keys[:200]])
print("memory                      ", memory())
server.terminate()
begin = time.perf_counter()
code = server.wait()
print(f"SIGTERM to the end           {time.perf_counter() - begin:8.2f} s, exit {code}")
for name in ("notes.sqlite", "notes.sqlite-wal", "notes.sqlite-shm"):
    path = os.path.join(folder, name)
    if "keys" in globals() and os.path.exists(path):
        os.remove(path)
