"""Trains a small network for one epoch on the images below a directory:
train.py DIR. Prints a JSON object with every loss and the time it took.
The same images give the same losses, wherever they lie."""
import json
import os
import sys
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Images(Dataset):
    """One class to a directory, one image to a file."""

    def __init__(self, top):
        self.classes = sorted(os.listdir(top))
        self.items = [
            (os.path.join(top, name, file), label)
            for label, name in enumerate(self.classes)
            for file in sorted(os.listdir(os.path.join(top, name)))
        ]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        path, label = self.items[i]
        with open(path, "rb") as f:
            data = f.read()
        assert data.startswith(b"P5\n28 28\n255\n") and len(data) == 13 + 784, path
        return torch.frombuffer(bytearray(data[13:]), dtype=torch.uint8).view(1, 28, 28).float() / 255, label


torch.manual_seed(1)
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
model = nn.Sequential(
    nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(8, 16, 3), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Linear(400, 10),
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

began = time.monotonic()
images = Images(sys.argv[1])
loader = DataLoader(images, batch_size=128, shuffle=True, num_workers=2, generator=torch.Generator().manual_seed(2))
losses, right, seen = [], 0, 0
for n, (batch, labels) in enumerate(loader):
    out = model(batch)
    loss = nn.functional.cross_entropy(out, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item().hex())
    if n >= 400:  # of 469: how well it does on what it has not seen
        right += (out.argmax(1) == labels).sum().item()
        seen += len(labels)
print(json.dumps({
    "images": len(images), "classes": len(images.classes), "seconds": time.monotonic() - began,
    "losses": losses, "last": loss.item(), "accuracy": right / seen,
}))
