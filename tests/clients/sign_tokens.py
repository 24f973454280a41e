"""Signs tokens of a person with joserfc, as an organisation's own system would.

Usage: sign_tokens.py CERTIFICATES_FOLDER AUDIENCE
Prints, as JSON, the issuer, its public keys as JWKs, and a token of each of ES256, EdDSA and PS256 for Riverside.
"""
import hashlib
import json
import pathlib
import ssl
import sys
import time
import uuid
from base64 import urlsafe_b64encode

from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

folder, audience = sys.argv[1:]
certificate = ssl.PEM_cert_to_DER_cert((pathlib.Path(folder) / "certs/provider-a.pem").read_text())
thumbprint = urlsafe_b64encode(hashlib.sha256(certificate).digest()).rstrip(b"=").decode()
keys = {
    "ES256": ECKey.generate_key("P-256", {"kid": "joserfc-1"}),
    "EdDSA": OKPKey.generate_key("Ed25519", {"kid": "joserfc-2"}),
    "PS256": RSAKey.generate_key(2048, {"kid": "joserfc-3"}),
}
issuer = "https://joserfc.example"


def token(algorithm, key):
    now = int(time.time())
    claims = {
        "iss": issuer,
        "sub": "wallaroo-4711",
        "jti": str(uuid.uuid4()),
        "organisation": "provider/riverside",
        "aud": audience,
        "iat": now,
        "nbf": now,
        "exp": now + 600,
        "cnf": {"x5t#S256": thumbprint},
        "role": "dsl",
        "purpose": "safeguarding",
        "name": "Ada Bandicoot",
    }
    header = {"alg": algorithm, "typ": "JWT", "kid": key.kid}
    return jwt.encode(header, claims, key, algorithms=[algorithm])


print(json.dumps({
    "issuer": issuer,
    "keys": [key.as_dict(private=False) | {"alg": algorithm} for algorithm, key in keys.items()],
    "tokens": [token(algorithm, key) for algorithm, key in keys.items()],
}))
