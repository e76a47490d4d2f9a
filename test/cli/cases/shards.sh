# A study in pieces: the same bytes as in one go; pieces that are missing, made twice, or cut off by a kill.

case_shards() {
    need_cells
    expect 0 run cells.h5ad -o in_one/study $small
    mkdir -p pieces
    expect 0 run cells.h5ad -o pieces/study $small --until model
    if [ -e pieces/study/cache/embedding.npy ]; then bad "--until went on"; else good; fi
    expect 2 run cells.h5ad -o pieces/other --until mode
    expect 1 merge pieces/study
    said "there are no pieces"
    expect 2 embed pieces/study --shard 4/3
    expect 2 embed pieces/study --shard 2of3
    expect 2 attribute pieces/study --shard 1/2
    said "comes first"
    expect 0 embed pieces/study --shard 3/3 -t 1
    expect 0 embed pieces/study --shard 1/3 -t 2
    expect 1 merge pieces/study
    said "the first is 2/3"
    mkdir -p "$(ls -d pieces/study/shards/embedding-*)/2-of-3.tmp-99999" # a machine that was lost on the way
    expect 0 embed pieces/study --shard 2/3
    expect 0 embed pieces/study --shard 2/3 -v
    said "is there, kept"
    expect 0 merge pieces/study
    same pieces/study/cache/embedding.npy in_one/study/cache/embedding.npy
    if [ -e pieces/study/shards/embedding-* ]; then bad "pieces are left"; else good; fi
    expect 0 run cells.h5ad -o pieces/study --until concepts
    # More pieces than concepts, made at the same time by processes of their own.
    for i in $(seq 1 48); do "$program" attribute pieces/study --shard $i/48 -q -t 1 2>>piece_err & [ $((i % 8)) -eq 0 ] && wait; done
    wait
    expect 0 merge pieces/study -v
    said "joined from 48 pieces"
    expect 0 run cells.h5ad -o pieces/study --until expression
    for i in 1 2 3 4 5; do expect 0 enrich pieces/study --shard $i/5; done
    expect 0 merge pieces/study -v
    said "enrichment: joined from 5 pieces"
    same pieces/study/enrichment.tsv.gz in_one/study/enrichment.tsv.gz
    if [ -e pieces/study/shards ]; then bad "shards are left"; else good; fi
    expect 0 run cells.h5ad -o pieces/study
    same_study in_one/study pieces/study
    expect 2 attribute pieces/study --shard 1/2 --readout nothing
    expect 0 attribute pieces/study --shard 1/2 --readout pre # other options: pieces of their own
    expect 1 merge pieces/study --readout pre
    said "the first is 2/2"
    expect 0 attribute pieces/study --shard 2/2 --readout pre
    expect 0 merge pieces/study --readout pre
    cp -r in_one/study pieces/whole
    expect 0 attribute pieces/whole --readout pre
    same pieces/whole/cache/attribution/mean.npy pieces/study/cache/attribution/mean.npy
}
