"""Reads figures as Prometheus does, and prints what it has found: name, kind, number of values."""

import sys
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

url, token = sys.argv[1:]
request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
with urllib.request.urlopen(request) as response:
    text = response.read().decode()
for family in text_string_to_metric_families(text):
    assert family.documentation, family.name
    print(family.name, family.type, len(family.samples))
    for sample in family.samples:
        print(sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items())), sample.value)
