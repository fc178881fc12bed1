"""Train a capability on your own rows and ask it, in this process and without a server."""

import csv
from pathlib import Path
from tempfile import TemporaryDirectory

from cluster.contract import Resident, Run, objects
from nlp.classify import Classify, Config


def main() -> None:
    """Learn which language a sentence is in from 48 of them."""
    with Path(__file__).with_name("languages.csv").open() as file:
        rows = list(csv.DictReader(file))
    columns = {name: objects([row[name] for row in rows]) for name in ("text", "label")}
    train = Resident(columns)  # rows to learn from; the second are those that are watched

    task = Classify(Config(encoder="linear"))
    task.fit(train, train, Run(seed=0))
    with TemporaryDirectory() as folder:  # what training leaves is a folder; a server loads it so
        task.save(Path(folder))
        served = Classify.load(Path(folder))

    asked = served.batch([Classify.Input(text="Wo ist der Bahnhof?", top_k=1)])
    for answer in served.predict(asked):
        print(answer)


if __name__ == "__main__":
    main()
