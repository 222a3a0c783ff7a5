# Writes hashes.json: password hashes made by the libraries that Django and
# other Python systems use, for TestForeignHashes.
#
#   pip install django==5.2.19 argon2-cffi==25.1.0 bcrypt==5.0.0 passlib==1.7.4
#   python3 hashes.py > hashes.json
import json
import django
from django.conf import settings

settings.configure(PASSWORD_HASHERS=[
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.BCryptSHA256PasswordHasher",
    "django.contrib.auth.hashers.BCryptPasswordHasher",
    "django.contrib.auth.hashers.ScryptPasswordHasher",
])
django.setup()

import argon2
import bcrypt
from django.contrib.auth import hashers
from passlib.hash import argon2 as passlib_argon2

PASSWORDS = ["correct horse", " spaces kept ", "p\u00e4ssw\u00f6rd \U0001f512", "\u00e4\u0308 not normalised a\u0308",
             "x" * 72, "x" * 71 + "\u00e4" + "y" * 20]
out = []


def add(maker, password, encoded):
    out.append({"maker": maker, "password": password, "hash": encoded})


class CheapPBKDF2(hashers.PBKDF2PasswordHasher):
    iterations = 1000


class CheapBCrypt(hashers.BCryptPasswordHasher):
    rounds = 4


class CheapBCryptSHA256(hashers.BCryptSHA256PasswordHasher):
    rounds = 4


class CheapArgon2(hashers.Argon2PasswordHasher):
    time_cost, memory_cost, parallelism = 1, 64, 2


class CheapScrypt(hashers.ScryptPasswordHasher):
    work_factor, block_size, parallelism = 16, 8, 5


for p in PASSWORDS:
    salt = "s4ltS4ltS4ltS4ltS4lt22"
    add("django PBKDF2PasswordHasher", p, CheapPBKDF2().encode(p, salt))
    add("django Argon2PasswordHasher", p, CheapArgon2().encode(p, salt))
    add("django ScryptPasswordHasher", p, CheapScrypt().encode(p, salt))
    add("django BCryptSHA256PasswordHasher", p, CheapBCryptSHA256().encode(p, bcrypt.gensalt(4)))
    if len(p.encode()) <= 72:
        add("django BCryptPasswordHasher", p, CheapBCrypt().encode(p, bcrypt.gensalt(4)))
        add("bcrypt 2a", p, bcrypt.hashpw(p.encode(), bcrypt.gensalt(4, prefix=b"2a")).decode())
        add("bcrypt 2b", p, bcrypt.hashpw(p.encode(), bcrypt.gensalt(4)).decode())
    for name, kind in (("argon2id", argon2.Type.ID), ("argon2i", argon2.Type.I)):
        h = argon2.PasswordHasher(time_cost=2, memory_cost=64, parallelism=1, hash_len=32, salt_len=16, type=kind)
        add("argon2-cffi " + name, p, h.hash(p))
    add("passlib argon2id", p, passlib_argon2.using(type="ID", time_cost=1, memory_cost=32, parallelism=4).hash(p))

# What the defaults look like; one password each, because they are dear.
p = "correct horse"
add("django default pbkdf2_sha256", p, hashers.make_password(p))
add("django default argon2", p, hashers.make_password(p, hasher="argon2"))
add("django default bcrypt_sha256", p, hashers.make_password(p, hasher="bcrypt_sha256"))
add("django default bcrypt", p, hashers.make_password(p, hasher="bcrypt"))
add("django default scrypt", p, hashers.make_password(p, hasher="scrypt"))
add("argon2-cffi default", p, argon2.PasswordHasher().hash(p))

print(json.dumps(out, indent=1))
