"""An example site with django-chatgpt: SQLite, a login, one page to chat on."""
