"""What anndata reads in the example that `test_h5ad_write FILE` has written. Needs anndata >= 0.8.

    build/test/test_h5ad_write /tmp/example.h5ad && python test/check_anndata.py /tmp/example.h5ad
"""
import sys

import anndata
import numpy as np

a = anndata.read_h5ad(sys.argv[1])
assert a.shape == (2000, 300)
assert list(a.obs_names[:2]) == ["cell\u03b10", "cell\u03b11"] and a.var_names[299] == "GENE299"
assert a.X.format == "csr" and a.X.dtype == np.float32 and a.X.has_sorted_indices
assert a.X.min() == 0 and a.X.max() == 9
assert list(a.obs.columns) == ["cell_type", "score", "n", "a/b", "dead", "words"]
assert list(a.obs["cell_type"].cat.categories) == ["type 0", "type 1", "type 2"]
assert list(a.obs["cell_type"].cat.codes[:5]) == [-1, 0, 1, 2, -1]
assert np.isnan(a.obs["score"].iloc[0]) and not np.isnan(a.obs["score"].iloc[1])
assert a.obs["n"].iloc[49] == 1 << 49 and a.obs["dead"].dtype == bool
assert a.obs["words"].iloc[1999] == "text 1999"
assert a.obsm["X_pca"].shape == (2000, 3) and a.layers["mean"].shape == (2000, 300)
assert abs(float(a.layers["mean"].std()) - 1) < 0.01
settings = a.uns["settings"]
assert settings["seed"] == 1 and settings["rate"] == 0.5 and settings["on"]
assert settings["name"] == "k\u00e4se" and list(settings["inner"]["list"]) == [1, 2]
assert a.uns["version"] == "0.1"
a[:10].copy()
print("anndata reads the example")
