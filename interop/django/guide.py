"""The Python of docs/guide/move-simplejwt.md, run as it stands there: what writes
the users down, an API that reads our tokens, and the overlap of both servers.

    python3 guide.py users|service|overlap GUIDE BASE
"""
import json
import re
import sys
import textwrap

import django
from django.conf import settings

PART, GUIDE, BASE = sys.argv[1:4]


def block(mark):
    """The one piece of the guide that contains mark."""
    with open(GUIDE, encoding="utf-8") as f:
        blocks = re.findall(r"^ *```python\n(.*?)^ *```", f.read(), re.S | re.M)
    (found,) = [b for b in blocks if mark in b]
    return textwrap.dedent(found).replace("https://id.example.com", BASE).replace("http://127.0.0.1:8420", BASE)


def run(mark):
    names = {}
    exec(block(mark), names)  # the guide's own words
    return names


settings.configure(
    SECRET_KEY="a key for tests that protects nothing at all",
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "rest_framework"],
    SIMPLE_JWT=run("SIMPLE_JWT = ")["SIMPLE_JWT"] if PART == "service" else {},
)
django.setup()

import requests  # noqa: E402
from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402
from rest_framework.test import APIRequestFactory  # noqa: E402
from rest_framework_simplejwt.authentication import JWTAuthentication  # noqa: E402
from rest_framework_simplejwt.tokens import RefreshToken  # noqa: E402

call_command("migrate", verbosity=0)
people = get_user_model().objects
anna = people.create_user("anna", "anna@example.com", "anna's password", id=4711)
people.create_user("gone", "gone@example.com", "the password of gone", is_active=False)
people.create_user("stranger")  # without a password


def who(authentication, token):
    """Whom an API takes the bearer of a token for."""
    request = APIRequestFactory().get("/", HTTP_AUTHORIZATION="Bearer " + token)
    try:
        return authentication.authenticate(request)[0].get_username()
    except Exception as e:  # its own refusals among them
        return getattr(e, "status_code", repr(e))


def signed_in(username, password):
    return requests.post(BASE + "/api/token/", json={"username": username, "password": password}, timeout=30)


if PART == "users":
    run("order_by")
else:
    ours = signed_in("anna", "anna's password").json()
    told = {"sign-in of who is not active": signed_in("gone", "the password of gone").status_code}
    if PART == "service":
        told |= {name: who(JWTAuthentication(), token) for name, token in ours.items()}
    else:
        theirs, both = RefreshToken.for_user(anna), run("class Both")["Both"]()
        view = run("class Refresh")["Refresh"].as_view()

        def refreshed(token):
            answer = view(APIRequestFactory().post("/", {"refresh": token}, format="json"))
            return who(both, answer.data["access"]) if answer.status_code == 200 else answer.status_code

        told |= {
            "ours": who(both, ours["access"]), "theirs": who(both, str(theirs.access_token)), "neither": who(both, "a.b.c"),
            "ours refreshed": refreshed(ours["refresh"]), "theirs refreshed": refreshed(str(theirs)), "garbage refreshed": refreshed("a.b.c"),
        }
    print(json.dumps(told))
