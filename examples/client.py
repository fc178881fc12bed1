"""Ask a running Lepton about a text, a user and a feature, and read an error that it answers."""

import sys

from lepton import APIStatusError, Client


def main(url: str) -> None:
    """Ask the server at the address."""
    with Client(url) as client:
        for answer in client.nlp.classify(text=["a wonderful film", "dull"], top_k=1):
            print(answer.label, round(answer.probability, 2))
        print(client.recsys.recommend(user_id="7", k=3).items)

        event = {"user_id": "7", "item_id": "42", "value": 1.0}
        print("pushed:", client.features.push("interactions", event))
        try:
            client.nlp.classify(text="fine", topk=3)
        except APIStatusError as error:
            print(error.status, error.detail)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000")
