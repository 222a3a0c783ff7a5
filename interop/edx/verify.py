"""Reads access tokens as the services of an Open edX do: with PyJWT, the public
keys of a JWK set, and checks of signature, issuer, audience, exp and iat.

The one argument is a JSON object: keys (the JWK set as text, as the setting
JWT_PUBLIC_SIGNING_JWK_SET has it), issuer, audience, and tokens, by name. The
output is a JSON object: for each name the claims, or the name of the error.
"""

import json
import sys

import jwt


def read(token, keys, issuer, audience):
    """Tries every RSA key of the set, as the services do."""
    trouble = "no key"
    for key in keys:
        if key.key_type != "RSA":
            continue
        try:
            return jwt.decode(
                token,
                key=key.key,
                algorithms=["RS512", "RS256"],
                issuer=issuer,
                audience=audience,
                options={"require": ["exp", "iat"]},
            )
        except jwt.InvalidSignatureError as error:
            trouble = type(error).__name__
        except jwt.InvalidTokenError as error:
            return type(error).__name__
    return trouble


def main():
    asked = json.loads(sys.argv[1])
    keys = jwt.PyJWKSet.from_json(asked["keys"]).keys
    found = {
        name: read(token, keys, asked["issuer"], asked["audience"])
        for name, token in asked["tokens"].items()
    }
    found["header"] = jwt.get_unverified_header(asked["tokens"]["good"])
    json.dump(found, sys.stdout)


main()
