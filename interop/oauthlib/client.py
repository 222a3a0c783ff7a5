"""A client of django-oauth-toolkit as requests-oauthlib makes it: password grant,
automatic refresh, introspection, revocation. It writes down what it was told as
one JSON object, which names no secret and no time, so that two servers can be
compared.

    python3 client.py BASE          the doors under BASE/o/, a demo API, a clock
"""
import concurrent.futures
import json
import os
import sys
import time

AHEAD = 0.0  # how far this program's clock is ahead, together with the server's
WALL_CLOCK = time.time
time.time = lambda: WALL_CLOCK() + AHEAD
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # the test's servers are on loopback

import requests  # noqa: E402
from oauthlib.oauth2 import (  # noqa: E402
    BackendApplicationClient,
    LegacyApplicationClient,
    OAuth2Error,
)
from requests.auth import HTTPBasicAuth  # noqa: E402
from requests_oauthlib import OAuth2Session  # noqa: E402

BASE = sys.argv[1]
TOKEN, REVOKE, INTROSPECT, API = (BASE + p for p in ("/o/token/", "/o/revoke_token/", "/o/introspect/", "/demo/api"))
TIMEOUT = 30  # of one request, in seconds
LIFE = 16 * 60  # after this long an access token has run out
ROUNDS = 10
AT_ONCE = 5
SCOPE = ["read", "write"]
SECRET = "dot-app-secret"
SERVICE = ("dot-service", "dot-service-secret")


def advance(seconds):
    global AHEAD
    requests.post(BASE + "/dev/clock", json={"advance": f"{seconds}s"}, timeout=TIMEOUT).raise_for_status()
    AHEAD += seconds


def told(e):
    """What an application learns from a refusal."""
    return [type(e).__name__, e.error, e.description or ""]


def refused(what):
    try:
        what()
    except OAuth2Error as e:
        return told(e)
    return "answered"


class App:
    """One application: how it shows who it is, and the token it has stored."""

    def __init__(self, client_id, secret=None, basic=False):
        self.client_id, self.secret = client_id, secret
        self.auth = HTTPBasicAuth(client_id, secret) if basic else None
        self.proof = {} if basic else {"client_id": client_id, **({"client_secret": secret} if secret else {})}
        self.token, self.updates = None, 0

    def store(self, token):
        self.token, self.updates = token, self.updates + 1

    def session(self, token=None):
        return OAuth2Session(
            client=LegacyApplicationClient(self.client_id), scope=SCOPE, token=token or self.token,
            auto_refresh_url=TOKEN, auto_refresh_kwargs=self.proof, token_updater=self.store)

    def sign_in(self, password="demo-password", secret=None):
        session = OAuth2Session(client=LegacyApplicationClient(self.client_id), scope=SCOPE)
        proof = {"auth": self.auth} if self.auth else {"include_client_id": True, "client_secret": secret or self.secret}
        return session.fetch_token(TOKEN, username="demo", password=password, scope=SCOPE, timeout=TIMEOUT, **proof)

    def call(self, token=None):
        """One call of the API; requests takes credentials for a refresh here."""
        extra = {"client_id": self.client_id, "client_secret": self.secret} if self.auth else {}
        return self.session(token).get(API, timeout=TIMEOUT, **extra)

    def refresh(self, refresh_token):
        return self.session().refresh_token(TOKEN, refresh_token=refresh_token, auth=self.auth, timeout=TIMEOUT)

    def revoke(self, token, hint):
        url, headers, body = LegacyApplicationClient(self.client_id).prepare_token_revocation_request(
            REVOKE, token, token_type_hint=hint, **self.proof)
        return requests.post(url, headers=headers, data=body, auth=self.auth, timeout=TIMEOUT)


def shape(token):
    """What a token answer looks like, without what differs from one to the next."""
    return {
        "members": sorted(k for k in token if k != "expires_at"),
        "expires_in": token["expires_in"], "token_type": token["token_type"], "scope": sorted(token["scope"]),
    }


def plain(response):
    return {"status": response.status_code, "type": response.headers.get("Content-Type", ""), "body": response.text}


def story(app):
    """One application from its sign-in to its sign-out."""
    out = {}
    app.store(app.sign_in())
    out["sign-in"] = shape(app.token)
    out["call"] = app.call().status_code

    before, app.updates = app.token, 0
    advance(LIFE)
    out["call after the access token ran out"] = app.call().status_code
    out["refreshed"] = [app.updates, app.token["access_token"] != before["access_token"],
                        app.token["refresh_token"] != before["refresh_token"], shape(app.token)]

    lost = app.token["refresh_token"]
    advance(LIFE)
    app.refresh(lost)  # and the answer never arrived
    out["refresh again after a lost answer"] = refused(lambda: app.store(app.refresh(lost)))

    out["rounds that kept the sign-in"], out["rounds with every call answered"] = 0, 0
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for done in range(ROUNDS):
            if out["rounds that kept the sign-in"] < done:
                app.token = app.sign_in()
            advance(LIFE)
            stored = app.token
            answers = list(pool.map(lambda _: refused(lambda: app.call(dict(stored))), range(AT_ONCE)))
            out["rounds that kept the sign-in"] += not any("invalid_grant" in a for a in answers)
            out["rounds with every call answered"] += answers == ["answered"] * AT_ONCE

    app.store(app.sign_in())
    out["introspection"] = introspection(app.token)
    access, refresh = app.token["access_token"], app.token["refresh_token"]
    out["revoke"] = plain(app.revoke(refresh, "refresh_token"))
    out["revoke again"] = plain(app.revoke(refresh, "refresh_token"))
    out["revoke what never was"] = plain(app.revoke("nobody-was-ever-given-this", "access_token"))
    out["call after revoke"] = requests.get(API, headers={"Authorization": "Bearer " + access}, timeout=TIMEOUT).status_code
    out["refresh after revoke"] = refused(lambda: app.refresh(refresh))
    out["introspection after revoke"] = requests.post(INTROSPECT, {"token": access}, auth=SERVICE, timeout=TIMEOUT).json()
    out["wrong password"] = refused(lambda: app.sign_in(password="wrong"))
    return out


def introspection(token):
    """What a resource server of the original asks, and who may."""
    ask = lambda **more: requests.post(INTROSPECT, timeout=TIMEOUT, **more)  # noqa: E731
    active = ask(data={"token": token["access_token"]}, auth=SERVICE).json()
    session = OAuth2Session(client=BackendApplicationClient(SERVICE[0]), scope=["introspection"])
    service = session.fetch_token(TOKEN, auth=HTTPBasicAuth(*SERVICE), scope=["introspection"], timeout=TIMEOUT)
    stranger = ask(data={"token": token["access_token"]})
    return {
        "access token": {k: v for k, v in active.items() if k != "exp"},
        "expires as it said": abs(active["exp"] - token["expires_at"]) < 60,
        "refresh token": ask(data={"token": token["refresh_token"]}, auth=SERVICE).json(),
        "garbage": ask(data={"token": "garbage"}, auth=SERVICE).json(),
        "no token": plain(ask(data={"token_type_hint": "access_token"}, auth=SERVICE)),
        "by a token": session.get(INTROSPECT, params={"token": token["access_token"]}, timeout=TIMEOUT).json()["active"],
        "the token's own answer": sorted(k for k in service if k != "expires_at"),
        "stranger": [stranger.status_code, stranger.text],
    }


STORIES = {
    "public": App("dot-public"),
    "confidential, in the body": App("dot-app", SECRET),
    "confidential, in the header": App("dot-app", SECRET, basic=True),
}
result = {name: story(app) for name, app in STORIES.items()}
result["wrong secret"] = refused(lambda: App("dot-app", SECRET).sign_in(secret="wrong"))
result["unknown client"] = refused(lambda: App("nobody").sign_in())
print(json.dumps(result))
