import subprocess
import sys

import pytest

_AS_ROOT_OF_A_NAMESPACE = ["unshare", "--user", "--map-root-user"]


def test_root_of_a_user_namespace_is_told_what_it_lacks() -> None:
    if subprocess.run([*_AS_ROOT_OF_A_NAMESPACE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no user namespace can be made here")
    command = [*_AS_ROOT_OF_A_NAMESPACE, sys.executable, "-m", "zramfs", "exec", "/nowhere", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "zramfs: exec needs root of the system: a user namespace has no loop devices\n",
    )
