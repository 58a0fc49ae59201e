"""Runs Presidio's card recogniser, without a language model, over the texts that `card_quality --corpus` writes, and prints what it finds, for
the table of ours. A number counts as found where one finding has all of its digits and no other."""
import importlib.metadata
import sys
import time

from presidio_analyzer.predefined_recognizers import CreditCardRecognizer


def main(path):
    recogniser = CreditCardRecognizer()
    found, texts, size = {}, {}, 0
    started = time.monotonic()
    with open(path, encoding="utf-8") as corpus:
        for line in corpus:
            name, digits, text = line.rstrip("\n").split("\t")
            results = recogniser.analyze(text, ["CREDIT_CARD"])
            size += len(text)
            spans = [sum(c.isdigit() for c in text[result.start:result.end]) for result in results]
            good = spans == [int(digits)] if int(digits) else bool(spans)
            texts[name] = texts.get(name, 0) + 1
            found[name] = found.get(name, 0) + good
    seconds = time.monotonic() - started
    version = importlib.metadata.version("presidio-analyzer")
    print(f"\n| Presidio {version}, its card recogniser | found | of |\n|---|---|---|")
    for name, count in texts.items():
        print(f"| {name} | {found[name]} | {count} |")
    print(f"\n{size / seconds / 1e6:.2f} MB/s, text by text")


if __name__ == "__main__":
    main(sys.argv[1])
