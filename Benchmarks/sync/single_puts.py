"""Puts members into a list one by one over ten threads with Mailchimp's own Python client, for so many seconds.

Usage: single_puts.py ROOT KEY LIST SECONDS; prints how many were put and how long it took.
"""

import hashlib
import itertools
import sys
import threading
import time

import mailchimp_marketing
from mailchimp_marketing.api_client import ApiClientError

ROOT, KEY, LIST, SECONDS = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])
THREADS = 10

numbers = itertools.count()
started = time.monotonic()
done = []


def put_members():
    client = mailchimp_marketing.Client({"api_key": KEY, "server": KEY.rsplit("-", 1)[1]})
    client.api_client.host = ROOT + "/3.0"
    count = 0
    while time.monotonic() - started < SECONDS:
        address = f"peer{next(numbers)}@post.koppeling.test"
        try:
            client.lists.set_list_member(
                LIST,
                hashlib.md5(address.encode()).hexdigest(),
                {"email_address": address, "status_if_new": "subscribed",
                 "merge_fields": {"FNAME": "Anna", "LNAME": "van der Berg"}},
            )
            count += 1
        except ApiClientError as error:
            # Somebody else's calls take up connections of the same user.
            if error.status_code != 429:
                raise
    done.append(count)


threads = [threading.Thread(target=put_members) for _ in range(THREADS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
if len(done) < THREADS:
    sys.exit("a thread failed")
print(sum(done), time.monotonic() - started)
