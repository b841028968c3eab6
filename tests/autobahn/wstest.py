# Runs wstest with whatever it listens on bound to loopback. Python 2.7; the first argument is the folder that the
# testsuite was installed into.
import site
import sys

folder = sys.argv.pop(1)
site.addsitedir(folder)
sys.path.insert(0, folder)

from autobahntestsuite import choosereactor  # noqa: it has to come before twisted's reactor
from twisted.internet import reactor

listen = reactor.listenTCP


def on_loopback(port, factory, backlog=50, interface=''):
    return listen(port, factory, backlog, interface or '127.0.0.1')


reactor.listenTCP = on_loopback

from autobahntestsuite import wstest

wstest.run()
