# The table of `make bench`: targets.tsv, then the lines of run.sh (side, round, path, what, value, unit,
# name). One row per figure of ours and variant of a peer. -v plain=1: tabs instead of columns.
#
# ratio: how many times better we are, the median of the rounds' ratios, with their range; a round's two
# sides ran one after the other. share: the work's floor (work / measured peak) over our time.
BEGIN { FS = "\t"; OFS = "\t" }

function is_time(unit) { return unit ~ /^(ns|us|ms|s)$/ }
function is_rate(unit) { return unit ~ /\/s$/ }
function seconds(value, unit) { return value * (unit == "ns" ? 1e-9 : unit == "us" ? 1e-6 : unit == "ms" ? 1e-3 : 1) }
function short(x) { return x >= 1000 ? sprintf("%d", x + .5) : sprintf("%.3g", x) }

# Values are kept as a list in text; sorted by insertion: a handful of rounds.
function sorted(list, v,    n, i, j, kept) {
    n = split(list, v, " ")
    for (i = 1; i <= n; i++) v[i] += 0
    for (i = 2; i <= n; i++)
        for (j = i; j > 1 && v[j] < v[j - 1]; j--) { kept = v[j]; v[j] = v[j - 1]; v[j - 1] = kept }
    return n
}
function median(list,    v, n) {
    n = sorted(list, v)
    return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
}
function range(list,    v, n) {
    n = sorted(list, v)
    return n > 1 ? " [" short(v[1]) "-" short(v[n]) "]" : ""
}

FILENAME == ARGV[1] {
    if ($0 ~ /^#/ || NF < 4) next
    key = $1 SUBSEP $2
    n_targets[key]++
    kind[key, n_targets[key]] = $3
    limit[key, n_targets[key]] = $4
    against[key, n_targets[key]] = $5
    next
}

{ side = $1; round = $2; path = $3; what = $4; value = $5; unit = $6; name = $7; key = path SUBSEP what }

side == "ours" && path == "peak" {
    peak[what] = value
    peaks = peaks (peaks ? ", " : "") what " " short(value) " " unit
    next
}
side == "ours" && (unit == "GFLOP" || unit == "GB") && name != "" {
    if (!((key, name) in work)) work_peaks[key] = work_peaks[key] (work_peaks[key] ? " " : "") name
    work[key, name] = value
    next
}
side == "ours" {
    if (name ~ /%$/) told[key] = name # the program knows the limit itself
    if (!(key in ours)) order[++n_rows] = key
    ours[key] = ours[key] " " value
    ours_at[key, round] = value
    units[key] = unit
    next
}
side == "peer" {
    if (name == "") name = "peer"
    if (!((key, name) in peer)) names[key] = names[key] (names[key] ? "\t" : "") name
    peer[key, name] = peer[key, name] " " value
    if ((key, round) in ours_at && ours_at[key, round] > 0 && value > 0) {
        r = is_rate(unit) ? ours_at[key, round] / value : value / ours_at[key, round]
        if (is_time(unit) || is_rate(unit)) ratios[key, name] = ratios[key, name] " " r
    }
}

# "target" and "reached" of a row. `name` = "": what is asked of ours alone.
function judge(key, name, value, ratio, share,    i, text, ok, k) {
    asked = reached = ""
    for (i = 1; i <= n_targets[key]; i++) {
        k = kind[key, i]
        if (k == "ratio" ? name == "" || (against[key, i] != "" && against[key, i] != name) : name != "") continue
        if (k == "ratio") { text = ">= " limit[key, i] " x"; ok = ratio == "" ? "?" : ratio >= limit[key, i] }
        if (k == "most") { text = "<= " limit[key, i] " " units[key]; ok = value <= limit[key, i] }
        if (k == "least") { text = ">= " limit[key, i] " " units[key]; ok = value >= limit[key, i] }
        if (k == "floor") { text = "<= " limit[key, i] " x floor"; ok = share == "" ? "?" : 1 <= limit[key, i] * share }
        asked = asked (asked ? ", " : "") text
        reached = reached (reached ? ", " : "") (ok == "?" ? ok : ok ? "yes" : "no")
    }
}
function row(a, b, c, d, e, f, g, h, i) {
    n_out++
    cells[n_out, 1] = a; cells[n_out, 2] = b; cells[n_out, 3] = c; cells[n_out, 4] = d; cells[n_out, 5] = e
    cells[n_out, 6] = f; cells[n_out, 7] = g; cells[n_out, 8] = h; cells[n_out, 9] = i
}

END {
    if (!plain) print "peaks measured in this run: " peaks
    row("path", "what", "ours", "peer", "its figure", "ratio", "of peak", "asked", "reached")
    for (i = 1; i <= n_rows; i++) {
        key = order[i]
        split(key, part, SUBSEP)
        value = median(ours[key])
        unit = units[key]
        share = shown = ""
        n = split(work_peaks[key], one, " ")
        for (j = n; j >= 1; j--) { # the first is the one that is judged
            if (!(peak[one[j]] > 0)) continue
            share = is_rate(unit) ? value / peak[one[j]] : work[key, one[j]] / peak[one[j]] / seconds(value, unit)
            shown = sprintf("%.0f %% %s", 100 * share, one[j]) (shown ? ", " shown : "")
        }
        if (shown == "" && (key in told)) shown = told[key]
        judge(key, "", value, "", share)
        own_asked = asked
        own_reached = reached
        n = split(names[key], variant, "\t")
        if (n == 0) row(part[1], part[2], short(value) " " unit range(ours[key]), "", "", "", shown, asked, reached)
        for (j = 1; j <= n; j++) {
            list = ratios[key, variant[j]]
            ratio = list == "" ? "" : median(list)
            judge(key, variant[j], value, ratio, share)
            if (j == 1 && own_asked != "") {
                asked = own_asked (asked ? ", " asked : "")
                reached = own_reached (reached ? ", " reached : "")
            }
            row(part[1], part[2], short(value) " " unit range(ours[key]), variant[j],
                short(median(peer[key, variant[j]])) " " unit range(peer[key, variant[j]]),
                ratio == "" ? "" : short(ratio) " x" range(list), shown, asked, reached)
        }
    }
    for (i = 1; i <= n_out; i++)
        for (j = 1; j <= 9; j++) if (length(cells[i, j]) > width[j]) width[j] = length(cells[i, j])
    for (i = 1; i <= n_out; i++) {
        line = ""
        for (j = 1; j <= 9; j++)
            line = line (plain ? (j > 1 ? "\t" : "") cells[i, j] : sprintf("%-" width[j] "s  ", cells[i, j]))
        sub(/ +$/, "", line)
        print line
    }
}
