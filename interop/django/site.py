"""The other servers: djangorestframework-simplejwt as its documentation sets it up,
with rotation and the blacklist, and django-oauth-toolkit where it is installed,
behind the same paths as ours. One file is the whole Django project:

    python3 site.py migrate && python3 site.py runserver --noreload 127.0.0.1:8000

DJANGO_DATA is the folder of its database. POST /dev/clock {"advance":"360s"} moves
its clock, as our own demo server's does.
"""
import datetime
import importlib.util
import json
import os
import sys

import django
from django.conf import settings

TOOLKIT = importlib.util.find_spec("oauth2_provider") is not None

settings.configure(
    DEBUG=False,
    SECRET_KEY="a key for tests that protects nothing at all",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    # It says how long an answer is, without which every answer ends a connection.
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "rest_framework",
        "rest_framework_simplejwt.token_blacklist",
    ]
    + (["oauth2_provider"] if TOOLKIT else []),
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.path.join(os.environ["DJANGO_DATA"], "db.sqlite3"),
            "OPTIONS": {"timeout": 20},
        }
    },
    # Sign-ins are not what is looked at, so they may be cheap.
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    REST_FRAMEWORK={
        # The first passes over a token that is not its own, the second does not.
        "DEFAULT_AUTHENTICATION_CLASSES": (["oauth2_provider.contrib.rest_framework.OAuth2Authentication"] if TOOLKIT else [])
        + ["rest_framework_simplejwt.authentication.JWTAuthentication"],
        "UNAUTHENTICATED_USER": None,
    },
    SIMPLE_JWT={"ROTATE_REFRESH_TOKENS": True, "BLACKLIST_AFTER_ROTATION": True},
    OAUTH2_PROVIDER={
        "SCOPES": {"read": "read", "write": "write", "introspection": "introspection"},
        "DEFAULT_SCOPES": ["read", "write"],
        "ACCESS_TOKEN_EXPIRE_SECONDS": 900,
    },
    LOGGING_CONFIG=None,
)
django.setup()

import jwt.api_jwt  # noqa: E402
import rest_framework_simplejwt.tokens  # noqa: E402
import rest_framework_simplejwt.utils  # noqa: E402
from django.http import HttpResponse, JsonResponse  # noqa: E402
from django.urls import include, path  # noqa: E402
from django.utils import timezone  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402
from rest_framework.permissions import IsAuthenticated  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402
from rest_framework_simplejwt.views import (  # noqa: E402
    TokenBlacklistView,
    TokenObtainPairView,
    TokenRefreshView,
    TokenVerifyView,
)


class Clock(datetime.datetime):
    """The machine's time and what it was moved by."""

    ahead = datetime.timedelta()

    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.now(tz) + cls.ahead

    @classmethod
    def utcnow(cls):
        return datetime.datetime.utcnow() + cls.ahead


# The libraries ask these names what time it is; nothing else of them is touched.
timezone.now = lambda: Clock.now(datetime.timezone.utc)
for module in (jwt.api_jwt, rest_framework_simplejwt.utils):
    if not hasattr(module, "datetime"):
        sys.exit(f"{module.__name__} takes the time from somewhere else: the clock does not reach it")
    module.datetime = Clock


@csrf_exempt
def clock(request):
    Clock.ahead += datetime.timedelta(seconds=int(json.loads(request.body)["advance"].rstrip("s")))
    return JsonResponse({"now": Clock.now(datetime.timezone.utc).isoformat()})


class Demo(APIView):
    permission_classes = [IsAuthenticated]

    def get(self, request):
        return Response({"hello": request.user.get_username()})


urlpatterns = [
    path("auth/token/", TokenObtainPairView.as_view()),
    path("auth/token/refresh/", TokenRefreshView.as_view()),
    path("auth/token/verify/", TokenVerifyView.as_view()),
    path("auth/token/blacklist/", TokenBlacklistView.as_view()),
    path("demo/api", Demo.as_view()),
    path("dev/clock", clock),
    path("healthz", lambda request: HttpResponse("ok")),
]
if TOOLKIT:
    urlpatterns.append(path("o/", include("oauth2_provider.urls")))


def people():
    """The one user, and the applications that client.py is."""
    from django.contrib.auth import get_user_model

    user = get_user_model().objects.create_user("demo", "demo@example.com", "demo-password")
    if not TOOLKIT:
        return
    from oauth2_provider.models import Application

    for name, client_type, secret, grant in (
        ("dot-public", "public", "", "password"),
        ("dot-app", "confidential", "dot-app-secret", "password"),
        ("dot-service", "confidential", "dot-service-secret", "client-credentials"),
    ):
        Application.objects.create(
            client_id=name, name=name, client_type=client_type, client_secret=secret,
            authorization_grant_type=grant, user=user)


if __name__ == "__main__":
    from django.core.management import call_command, execute_from_command_line

    if sys.argv[1:] == ["migrate"]:
        call_command("migrate", verbosity=0)
        people()
    else:
        execute_from_command_line(sys.argv)
