import base64
import hashlib

from utils.page.policy import content_security_policy


def test_a_policy_names_its_own_texts_and_nothing_else():
    policy = dict(part.split(" ", 1) for part in content_security_policy(["a{}"], ["b()", "ü"]).split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["img-src"] == "data: blob:"
    assert policy["style-src"] == hashed("a{}")
    assert policy["script-src"] == f"{hashed('b()')} {hashed('ü')}"
    assert "unsafe" not in str(policy)


def test_a_server_adds_to_it():
    policy = content_security_policy([], [], {"connect-src": "'self'", "img-src": "'self' data: blob:"})
    assert "connect-src 'self'" in policy
    assert policy.count("img-src") == 1
    assert "img-src 'self' data: blob:" in policy


def hashed(text):
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
