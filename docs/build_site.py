"""Builds the documentation site, build/site, from the pages of the repository and the docstrings.

    python docs/build_site.py            # `make docs`: a link or anchor that does not exist fails
    python docs/build_site.py --pages    # only gathers the pages, in build/pages

The pages lie in build/pages as in the repository, so their links lead to the same pages. It needs
the extra `docs` of pyproject.toml, and neither TensorFlow nor Keras: docstrings are read, not run.
"""

import argparse
import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

from notebooks import add_notebooks

ROOT = Path(__file__).resolve().parents[1]
PAGES, SITE = ROOT / "build" / "pages", ROOT / "build" / "site"  # as mkdocs.yml has them
FOLDERS = ("docs", "examples", "benchmarks", "custom_ops")
KINDS = (".md", ".png", ".css")

# The names of each page, in order. Public names that no page has are at the end of the last.
TITLES = {"layers": "Layers and ops", "rules": "Rules and structures"}
REFERENCE = {
    "training": """
        SparseMomentum UpdateMasks MaskTensorBoard StaticSparsity RigL SET GradualPruning GraNet
        ACDC sparse_optimizer momentum_of BackupAndRestore snip_masks snip_scores check_agreement
        Agreement""",
    "schedules": """
        CosineOverTraining CubicOverTraining AlternatingOverTraining schedules.OverTraining""",
    "layers": """
        sparsify densify layers.SparseLayer layers.SparseDense layers.SparseEinsumDense
        layers.SparseConv1D layers.SparseConv2D layers.SparseConv3D layers.SparseConv1DTranspose
        layers.SparseConv2DTranspose layers.SparseSeparableConv1D layers.SparseSeparableConv2D
        layers.SparseMultiHeadAttention layers.SparseGroupQueryAttention layers.SparseLSTM
        layers.SparseGRU layers.SparseSimpleRNN layers.SparseLSTMCell layers.SparseGRUCell
        layers.SparseSimpleRNNCell layers.FusedBatchNormalization ops.available ops.Availability
        ops.sparse_conv2d ops.sparse_matmul ops.why_stock_conv2d ops.why_stock_matmul""",
    "rules": """
        MaskedLayer scores.magnitude scores.momentum scores.gradient scores.random
        scores.mean_momentum scores.mean_magnitude scores.active_count scores.needs
        rules.density.uniform rules.density.erdos_renyi rules.density.erdos_renyi_kernel
        structure.Weights structure.ChannelPairs Blocks NofM Channels
        mask_update.update_masks mask_update.prune_to mask_update.top_k_mask""",
    "models": "summary density prune compact from_tfmot export save_compressed load_compressed",
}
MODULES = {"layers", "mask_update", "ops", "schedules", "scores", "structure"}  # of several names
# `keras_sparse.density` is a module that can be called: where its parts are written down.
WRITTEN_AT = {"density": "models.density_of.DensityModule.__call__"}
SHOWN_AS = "rules.density."


def public_names() -> list[str]:
    """`keras_sparse.__all__`, without an import."""
    tree = ast.parse((ROOT / "keras_sparse" / "__init__.py").read_text())
    (names,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    return ast.literal_eval(names)


def reference() -> dict[str, str]:
    """{page: its text, which mkdocstrings fills from docstrings}."""
    pages = {page: names.split() for page, names in REFERENCE.items()}
    on_pages = {name for names in pages.values() for name in names}
    pages["models"] += [name for name in public_names() if name not in on_pages | MODULES]
    return {page: _page(TITLES.get(page, page.capitalize()), pages[page]) for page in pages}


def _page(title: str, names: list[str]) -> str:
    """One page: a heading and the docstring for each name."""
    parts = [f"# {title}\n\n`import keras_sparse as ks`\n"]
    for name in names:
        shown = f"ks.{name.replace(SHOWN_AS, 'density.')}"
        options = f"    options:\n      heading: {shown}\n      toc_label: {shown}\n"
        parts.append(f"::: keras_sparse.{WRITTEN_AT.get(name, name)}\n{options}")
    return "\n".join(parts)


def gather(pages: Path = PAGES) -> None:
    """All pages and pictures, in an empty folder."""
    shutil.rmtree(pages, ignore_errors=True)
    found = [*ROOT.glob("*.md"), ROOT / "LICENSE"]
    found += [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
    for path in found:
        if path.suffix in KINDS or path.name == "LICENSE":
            target = pages / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    (pages / "reference").mkdir()
    for page, text in reference().items():
        (pages / "reference" / f"{page}.md").write_text(text)


def check_reference(site: Path = SITE) -> None:
    """Every name has an entry, and every example is code: neither is an error of Zensical's."""
    for page in REFERENCE:
        html = (site / "reference" / page / "index.html").read_text()
        names = re.findall(r"^::: (\S+)$", (PAGES / "reference" / f"{page}.md").read_text(), re.M)
        missing = [name for name in names if f'id="{name}"' not in html]
        assert not missing, f"reference/{page} has no entry for {missing}"
        assert "<blockquote" not in html, f"reference/{page} has examples as quotations"


def main() -> int:
    """The exit code of the build."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pages", action="store_true", help="only gather the pages")
    only_pages = parser.parse_args().pages
    gather()
    if only_pages:
        return 0
    add_notebooks(PAGES)
    zensical = Path(sys.executable).with_name("zensical")
    code = subprocess.run([zensical, "build", "--clean", "--strict"], cwd=ROOT).returncode
    if code == 0:
        check_reference()
    return code


if __name__ == "__main__":
    sys.exit(main())
