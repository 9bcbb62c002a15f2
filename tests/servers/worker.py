"""The Celery application of the site, as its workers and its web processes know it.

`SERVER_CELERY`: a JSON object of Celery's settings.
"""

import json
import os

from celery import Celery

app = Celery("site", set_as_current=True)
app.conf.update(json.loads(os.environ["SERVER_CELERY"]))
app.autodiscover_tasks(["django_chatgpt"])
