"""The settings that docs/guide/move-django-oauth-toolkit.md gives a resource server,
run as they stand there: a Django API that asks us about its callers' tokens.

    python3 toolkit.py GUIDE BASE
"""
import json
import re
import sys
import textwrap

import django
from django.conf import settings

GUIDE, BASE = sys.argv[1:3]


def block(mark):
    """The one piece of the guide that contains mark."""
    with open(GUIDE, encoding="utf-8") as f:
        blocks = re.findall(r"^ *```python\n(.*?)^ *```", f.read(), re.S | re.M)
    (found,) = [b for b in blocks if mark in b]
    return textwrap.dedent(found).replace("https://id.example.com", BASE).replace("…", "orders-api-secret")


names = {}
exec(block("RESOURCE_SERVER_INTROSPECTION_URL"), names)  # the guide's own words
settings.configure(
    SECRET_KEY="a key for tests that protects nothing at all",
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "rest_framework", "oauth2_provider"],
    OAUTH2_PROVIDER=names["OAUTH2_PROVIDER"] | {"SCOPES": {"read": "read", "write": "write"}},
)
django.setup()

import requests  # noqa: E402
from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402
from oauth2_provider.contrib.rest_framework import OAuth2Authentication, TokenHasScope  # noqa: E402
from rest_framework.test import APIRequestFactory  # noqa: E402
from rest_framework.views import APIView  # noqa: E402

call_command("migrate", verbosity=0)
get_user_model().objects.create_user("anna", "anna@example.com")


class Orders(APIView):
    authentication_classes = [OAuth2Authentication]
    permission_classes = [TokenHasScope]
    required_scopes = ["read"]

    def get(self, request):
        from rest_framework.response import Response

        return Response(request.user.get_username())


def who(token):
    """Whom the API takes the bearer of a token for, or its refusal."""
    answer = Orders.as_view()(APIRequestFactory().get("/", HTTP_AUTHORIZATION="Bearer " + token))
    return answer.data if answer.status_code == 200 else answer.status_code


def signed_in(username, password, **more):
    form = {"grant_type": "password", "client_id": "dot-app", "username": username, "password": password} | more
    return requests.post(BASE + "/o/token/", data=form, timeout=30).json()["access_token"]


def revoked(token):
    requests.post(BASE + "/o/revoke_token/", data={"client_id": "dot-app", "token": token}, timeout=30).raise_for_status()
    return token


asked = signed_in("anna", "anna's password")
assert len(asked) <= 255, "its table has no room for the token"
told = {
    "who is known": who(asked),
    "who is new": who(signed_in("nora", "nora's password")),
    "without the scope": who(signed_in("anna", "anna's password", scope="write")),
    "garbage": who("garbage"),
    "signed out before the first question": who(revoked(signed_in("anna", "anna's password"))),
    "signed out after it": who(revoked(asked)),
}
told["users"] = sorted(u.get_username() for u in get_user_model().objects.all())
print(json.dumps(told))
