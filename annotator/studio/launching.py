"""How Label Studio is run: in its own virtual environment, with an environment that holds nothing of ours.

It reads settings from variables as common as HOST, PORT, PASSWORD or CI, so it inherits next to nothing. It neither
calls home nor leaves its folder. Its requests (webhooks, ML backends) reach loopback and public addresses, no private
network.
"""

from __future__ import annotations

import os
from pathlib import Path

INHERITED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")
LAUNCHER = Path(__file__).with_name("run_label_studio.py")

# What Label Studio bans by default, less loopback, where our own server listens.
BANNED_NETWORKS = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24"),
    *("192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4"),
    *("233.252.0.0/24", "240.0.0.0/4", "255.255.255.255/32", "::/128", "::ffff:0:0/96", "::ffff:0:0:0/96"),
    *("64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001:0000::/32", "2001:20::/28", "2001:db8::/32", "2002::/16"),
    *("fc00::/7", "fe80::/10", "ff00::/8"),
)


def python(venv: Path) -> Path:
    """The interpreter of a virtual environment."""
    return venv / "bin" / "python"


def command(venv: Path, *arguments: str) -> list[str]:
    """Label Studio's command line; what it runs ends when this process ends, however that happens."""
    return [str(python(venv)), "-I", str(LAUNCHER), str(os.getpid()), *arguments]


def environment(data_dir: Path) -> dict[str, str]:
    """The variables Label Studio runs with, its account and address left out."""
    home = data_dir / "home"
    return {name: os.environ[name] for name in INHERITED if name in os.environ} | {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_DATA_HOME": str(home / "data"),
        "PYTHONUNBUFFERED": "1",
        "LABEL_STUDIO_BASE_DATA_DIR": str(data_dir),
        "LABEL_STUDIO_DEBUG": "false",
        "LOG_LEVEL": "WARNING",
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "LABEL_STUDIO_ALLOWED_HOSTS": "127.0.0.1,localhost,[::1]",
        "COLLECT_ANALYTICS": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "LATEST_VERSION_CHECK": "false",
        "FEATURE_FLAGS_OFFLINE": "true",
        "CONVERTER_DOWNLOAD_RESOURCES": "false",
        "WEBHOOK_TIMEOUT": "2",
        "ML_CONNECTION_TIMEOUT": "20",  # its own second is too short where other work keeps the processors busy
        "ML_TIMEOUT_HEALTH": "20",
        "ML_TIMEOUT_SETUP": "20",
        "SSRF_PROTECTION_ENABLED": "true",
        "ML_BLOCK_LOCAL_IP": "true",
        "USE_DEFAULT_BANNED_SUBNETS": "false",
        "USER_ADDITIONAL_BANNED_SUBNETS": ",".join(BANNED_NETWORKS),
    }
