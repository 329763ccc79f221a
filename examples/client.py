"""Sends the held-out digits to a running server and prints how many it reads correctly.

pip install tritonclient[grpc] numpy
octet serve --config examples/octet.yaml     # in another terminal
python examples/client.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton

TEST_SET = Path(__file__).resolve().parent / "models" / "digits" / "test.npz"


def classify(client: triton.InferenceServerClient, model: str, images: np.ndarray) -> np.ndarray:
    """The most likely digit of each image of one request."""
    image = triton.InferInput("image", images.shape, "FP32")
    image.set_data_from_numpy(images)
    result = client.infer(model, [image], outputs=[triton.InferRequestedOutput("logits")])
    return result.as_numpy("logits").argmax(axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="localhost:8001", help="the server's gRPC address")
    parser.add_argument("--model", default="digits")
    parser.add_argument("--data", type=Path, default=TEST_SET, help=".npz with image and label")
    parser.add_argument("--batch", type=int, default=4, help="images per request")
    arguments = parser.parse_args()

    data = np.load(arguments.data)
    images, labels = data["image"], data["label"]
    with triton.InferenceServerClient(arguments.url) as client:
        digits = [
            classify(client, arguments.model, images[begin : begin + arguments.batch])
            for begin in range(0, len(images), arguments.batch)
        ]
    correct = int((np.concatenate(digits) == labels).sum())
    print(f"{correct} of {len(labels)} digits correct: {100 * correct / len(labels):.2f} %")


if __name__ == "__main__":
    main()
