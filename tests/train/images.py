"""Writes the 60,000 training images of Fashion-MNIST as files, one each:
images.py DIR makes DIR/CLASS/NUMBER.pgm."""
import gzip
import os
import sys

SOURCE = "/usr/share/datasets/fashion-mnist/"
CLASSES = ["t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot"]

with gzip.open(SOURCE + "train-images-idx3-ubyte.gz") as f:
    images = f.read()[16:]
with gzip.open(SOURCE + "train-labels-idx1-ubyte.gz") as f:
    labels = f.read()[8:]
assert len(images) == len(labels) * 28 * 28

top = sys.argv[1]
for name in CLASSES:
    os.makedirs(os.path.join(top, name))
for i, label in enumerate(labels):
    with open(os.path.join(top, CLASSES[label], f"{i:05}.pgm"), "wb") as f:
        f.write(b"P5\n28 28\n255\n" + images[i * 784 : (i + 1) * 784])
print(len(labels))
