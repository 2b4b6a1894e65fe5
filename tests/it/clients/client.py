"""A client of the demo site: its address and its certificate are the arguments."""

import sys

import requests

site, certificate = sys.argv[1:]
session = requests.Session()
session.verify = certificate
session.trust_env = False


def tell(what, response, answer=""):
    print(f"{what}: {response.status_code} {answer}".strip())


def replay():
    return requests.get(site + "/me", cookies=copy, verify=certificate)


def post(path, **form):
    return session.post(site + path, data=form, allow_redirects=False)


tell("a stranger asks who it is", session.get(site + "/me"))
tell("logs in", post("/login", user="alice", password="wonderland"))
copy = dict(session.cookies)
response = session.get(site + "/me")
tell("asks who it is", response, response.json()["user"])
response = post("/count")
tell("counts", response, response.text)
response = session.get(site + "/count")
tell("asks for the count", response, response.text)
tell("asks with a copy of the cookie", replay())
tell("logs out", post("/logout"))
assert not session.cookies, "the jar is empty"
tell("asks who it is", session.get(site + "/me"))
tell("asks with a copy of the cookie", replay())
