"""The local web app: photos uploaded, located one after the other, shown on a page and answered as JSON.

May import ``page``, ``locator``, ``locating`` and what lies below, not ``cli``. ``server.py`` runs what
``application.py`` puts together; ``jobs.py`` is the queue with its one worker, ``locating.py`` what the worker does,
``static/`` the page.
"""
