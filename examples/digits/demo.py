"""Trains, packs, loads in a fresh process, compares, moves the bundle and runs it again.

Run: make demo. Everything is written to demo_output/.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# TensorFlow tells of oneDNN before it reads the log level.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import model
import numpy as np
import picture
import pixels
import tensorflow as tf
from processors import WORDS, Processors
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import orbax_model_lite as obm

HERE = Path(__file__).parent
OUTPUT = HERE.parent.parent / "demo_output"
# Runs a script in a process that cannot import some libraries, as where they are not installed.
WITHOUT = """
import runpy, sys
for name in sys.argv.pop(1).split(","):
    sys.modules[name] = None
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def main() -> None:
    """Runs the demo from training to the last comparison."""
    start = time.perf_counter()
    make_empty(OUTPUT)
    digits = load_digits()
    images = np.array([png(image) for image in digits.images], object)
    ids = np.array([f"digit-{i}".encode() for i in range(len(images))], object)
    split = train_test_split(images, ids, digits.target, test_size=0.2, random_state=0)
    train_png, test_png, train_ids, test_ids, train_y, test_y = split

    processors = Processors(OUTPUT)
    train_x = processors.decode(tf.constant(train_png), tf.constant(train_ids))["x"].numpy()
    params = model.train(train_x, train_y)
    trained = time.perf_counter()
    say(f"trained a Flax convolution net on {len(train_png)} images in {trained - start:.1f} s")

    packed = obm.pack(
        OUTPUT / "digits.obm",
        model.apply_fn,
        params,
        preprocess=processors.decode,
        postprocess=processors.label,
        trackable_resources=processors,
        examples=(test_png[:4], test_ids[:4]),
        metadata={"name": "digits", "version": "1", "license": "Apache-2.0"},
    )
    say(f"packed it in {time.perf_counter() - trained:.1f} s; assets taken: {packed.assets}")
    print_tree(OUTPUT / "digits.obm")

    x = processors.decode(tf.constant(test_png), tf.constant(test_ids))["x"].numpy()
    expected = processors.label(model.apply_fn(params, x), tf.constant(test_ids))
    save_held_out(OUTPUT / "held_out.npz", test_png, test_ids)

    results = run("digits.obm")
    report(results, expected, test_y)
    report_times(results)
    picture.draw(OUTPUT / "predictions.png", test_png, results["word"], results["probability"])
    say(f"wrote {(OUTPUT / 'predictions.png').relative_to(OUTPUT.parent)}")

    moved = OUTPUT / "elsewhere" / "renamed.obm"
    moved.parent.mkdir()
    (OUTPUT / "digits.obm").rename(moved)
    set_writable(moved, is_writable=False)
    say("moved the bundle, made it read-only, and run it again:")
    report(run("elsewhere/renamed.obm"), expected, test_y)
    verdict = obm.verify(moved, replay=True)
    say(f"verify with replay: {'ok' if verdict.ok else verdict}")
    set_writable(moved, is_writable=True)
    if not verdict.ok:
        sys.exit(1)
    without_tensorflow(params, digits, test_ids)
    say(f"all of it took {time.perf_counter() - start:.0f} s")


def without_tensorflow(params, digits, test_ids: np.ndarray) -> None:
    """Packs the model with processors of arrays, and runs it where TensorFlow is missing."""
    start = time.perf_counter()
    obm.pack(
        OUTPUT / "pixels.obm",
        model.apply_fn,
        params,
        preprocess=pixels.scale,
        postprocess=pixels.best,
        lower_tf="always",
        metadata={"name": "digits from arrays", "version": "1", "license": "Apache-2.0"},
    )
    seconds = time.perf_counter() - start
    say(f"packed it once more, for arrays, its processors as StableHLO too, in {seconds:.1f} s")
    ids = np.array([int(name.removeprefix(b"digit-")) for name in test_ids])
    images = as_pixels(digits.images[ids])
    x = pixels.scale(tf.constant(images), tf.constant(ids))["x"].numpy()
    expected = pixels.best(model.apply_fn(params, x), tf.constant(ids))
    np.savez(OUTPUT / "held_out_pixels.npz", pixels=images, ids=ids)

    results = run("pixels.obm", "run_pixels.py", "held_out_pixels.npz", without="flax,tensorflow")
    accuracy = np.mean(results["digit"] == digits.target[ids])
    same = {name: np.mean(results[name] == expected[name].numpy()) for name in ("id", "digit")}
    furthest = np.max(np.abs(results["probability"] - expected["probability"].numpy()))
    say(
        f"  without TensorFlow: accuracy {accuracy:.4f}; predictions equal to the original's "
        f"{same['digit']:.2%}; largest difference {furthest:.2g}; load and first batch "
        f"{results['first_s']:.1f} s"
    )
    if min(same.values()) < 1 or furthest >= 1e-5:
        sys.exit("the bundle without TensorFlow does not agree with the original")


def as_pixels(images: np.ndarray) -> np.ndarray:
    """Returns images with values 0 to 16 as uint8 [..., 1] with values 0 to 255."""
    return np.rint(images[..., None] * (255 / 16)).astype(np.uint8)


def png(image: np.ndarray) -> bytes:
    """Returns an 8 x 8 image with values 0 to 16 as the bytes of a PNG file."""
    return tf.io.encode_png(as_pixels(image)).numpy()


def run(
    bundle: str, script: str = "run.py", held_out: str = "held_out.npz", *, without: str = "flax"
) -> dict[str, np.ndarray]:
    """Runs a bundle on the held-out set in a process that cannot import the model."""
    folder = OUTPUT / "elsewhere_process"
    make_empty(folder)
    # Alone in a folder: nothing of the model can be imported from beside it.
    shutil.copy(HERE / script, folder)
    arguments = [str(OUTPUT / bundle), str(OUTPUT / held_out), str(folder / "results.npz")]
    command = [sys.executable, "-c", WITHOUT, without, str(folder / script), *arguments]
    subprocess.run(command, check=True, cwd=folder)
    with np.load(folder / "results.npz") as results:
        return dict(results)


def report(results: dict[str, np.ndarray], expected, labels: np.ndarray) -> None:
    """Prints accuracy and agreement with the original; fails when they do not agree."""
    words = results["word"].astype(str)
    accuracy = np.mean(words == np.array(WORDS)[labels])
    same = np.mean(words == expected["word"].numpy().astype(str))
    same_ids = np.all(results["id"] == expected["id"].numpy().astype("S"))
    furthest = np.max(np.abs(results["logits"] - expected["logits"].numpy()))
    say(
        f"  accuracy {accuracy:.4f} on {len(words)} held-out images; predictions equal to the "
        f"original's {same:.2%}; largest difference {furthest:.2g}; ids passed through {same_ids}"
    )
    if same < 1 or furthest >= 1e-5 or not same_ids:
        sys.exit("the bundle does not agree with the original")


def report_times(results: dict[str, np.ndarray]) -> None:
    """Prints how long the fresh process took."""
    count = len(results["word"])
    say(
        f"  load and first batch {results['first_s']:.1f} s (TensorFlow's import included), then "
        f"{count / results['all_s']:.0f} images/s"
    )


def save_held_out(path: Path, images: np.ndarray, ids: np.ndarray) -> None:
    """Writes PNG bytes and ids without pickle."""
    np.savez(
        path,
        png_bytes=np.frombuffer(b"".join(images), np.uint8),
        png_sizes=np.array([len(image) for image in images]),
        ids=ids.astype("S"),
    )


def print_tree(root: Path) -> None:
    """Prints a folder with the size of every file."""
    say(f"{root.name}/")
    for path in sorted(root.rglob("*")):
        indent = "  " * len(path.relative_to(root).parts)
        size = f"{path.stat().st_size:>9,}" if path.is_file() else ""
        say(f"{indent + path.name + ('/' if path.is_dir() else ''):<64}{size}")


def make_empty(folder: Path) -> None:
    """Makes a folder that has nothing in it."""
    if folder.exists():
        set_writable(folder, is_writable=True)
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


def set_writable(root: Path, *, is_writable: bool) -> None:
    """Lets the owner write below `root`, or nobody."""
    for path in [root, *root.rglob("*")]:
        mode = path.stat().st_mode
        path.chmod(mode | 0o200 if is_writable else mode & ~0o222)


def say(text: str) -> None:
    """Prints at once, also into a pipe."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
