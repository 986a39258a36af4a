#!/usr/bin/env bash
# PyPI tantivy 0.27.0: a text in a JSON field, "2026-01-01T09:30:00+01:00", comes back from the index as a datetime of 08:30 UTC; the text is gone.
#
# The guess: a field that is `stored` gives back what was put in: JSON has texts and no dates, so a text stays one. That a search for a date also finds such a text, as
# tantivy's notes on JSON fields tell, is another matter.
# What happens: every text of a JSON field that reads as a date and time with a zone becomes a date before it is stored. The zone it was written in is lost, and digits
# after the sixth; `json.dumps` of the document, which was made from JSON, fails. Its words are not found either: "2026" finds texts with a date in them, or a date
# without a time, and not these. The same text in a text field stays.
# What follows: store the document beside the index, or as JSON in a text field, and ask the index for its key alone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check tantivy==0.27.0
cat > probe.py <<'PY'
import json
from datetime import datetime, timezone
from tantivy import Document, Index, SchemaBuilder

schema = SchemaBuilder().add_unsigned_field("number", stored=True).add_json_field("json", stored=True).add_text_field("text", stored=True).build()
index = Index(schema)
texts = ["2026-01-01T09:30:00+01:00", "2026-01-01T09:30:00.123456789Z", "2026-01-01T09:30:00", "2026-01-01", "at 2026-01-01T09:30:00Z"]
writer = index.writer()
for number, text in enumerate(texts):
    writer.add_document(Document.from_dict({"number": number, "json": {"when": text}, "text": text}, schema))
writer.commit()
index.reload()
searcher = index.searcher()


def found(query):
    hits = searcher.search(index.parse_query(query, ["text"]), 10).hits
    return sorted((searcher.doc(address).to_dict() for _, address in hits), key=lambda document: document["number"])


for document in (documents := found("*")):
    print(document["text"][0], "->", repr(document["json"][0]["when"]))
assert [document["text"][0] for document in documents] == texts
assert [document["json"][0]["when"] for document in documents] == [
    datetime(2026, 1, 1, 8, 30, tzinfo=timezone.utc),
    datetime(2026, 1, 1, 9, 30, 0, 123456, tzinfo=timezone.utc),
    *texts[2:],
]
try:
    json.dumps(documents[0])
    raise SystemExit("it is JSON")
except TypeError as error:
    print(error)
by_word = {query: [document["number"][0] for document in found(query)] for query in ("text:2026", "json.when:2026", f'json.when:"{texts[0]}"')}
print(by_word)
assert list(by_word.values()) == [[0, 1, 2, 3, 4], [2, 3, 4], [0]], by_word
PY
environment/bin/python probe.py
echo "as found"
