"""The site of the processes that these tests start; SITE_OPENAI says where its model is."""

import os

from tests.settings.sqlite import *

OPENAI_BASE_URL = os.environ["SITE_OPENAI"]
OPENAI_PRICES = {"gpt-6-luna": {"input": "1", "output": "2"}}
