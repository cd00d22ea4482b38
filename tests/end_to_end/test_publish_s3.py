"""Checkpoints in a bucket, against a server that speaks S3 over real sockets."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from obstore.store import S3Store

from gateway.audit.publish import Outcome, Publisher
from gateway.audit.targets import S3Bucket
from gateway.audit.witness_client import Undelivered
from tests.unit.audit.logs import KEY, write

BUCKET = "ecluse-checkpoints"
DAY_MS = 1_790_000_000_000


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "Running on" in line:
            break
    else:
        raise AssertionError("the S3 server did not start")
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.communicate(timeout=20)


def bucket(endpoint: str, **more: str) -> S3Bucket:
    return S3Bucket(BUCKET, "hdf", endpoint, access_key_id="AKIAEXAMPLE", secret="a-secret-of-ours", **more)


async def test_a_bucket_keeps_every_checkpoint_and_the_last(endpoint: str, tmp_path: Path) -> None:
    alarms: list[Outcome] = []

    async def alarm(outcome: Outcome) -> bool:
        alarms.append(outcome)
        return True

    log, target = tmp_path / "audit" / "gw", bucket(endpoint)
    write(log, 3)
    ours = Publisher(tmp_path / "audit", [KEY], [], [target], every_s=60.0, alarm=alarm)
    (missing,) = await ours.round(0.0, DAY_MS)
    assert missing.fault is not None
    assert "a-secret-of-ours" not in missing.fault + repr(target)
    # Its owner makes the bucket.
    boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id="x", aws_secret_access_key="x", region_name="us-east-1"
    ).create_bucket(Bucket=BUCKET)
    assert [outcome.fault for outcome in await ours.round(10.0, DAY_MS)] == [None]
    write(log, 2, first=3)
    assert [outcome.fault for outcome in await ours.round(80.0, DAY_MS)] == [None]
    assert await target.read("site/gw/checkpoint") == (log / "checkpoint").read_bytes()
    store = S3Store(
        BUCKET,
        endpoint=endpoint,
        access_key_id="x",
        secret_access_key="x",
        client_options={"allow_http": True},
    )
    names = sorted(each["path"] for batch in store.list("hdf") for each in batch)
    assert names == [
        "hdf/site/gw/2026-09-21/00000000000000000003.checkpoint",
        "hdf/site/gw/2026-09-21/00000000000000000005.checkpoint",
        "hdf/site/gw/checkpoint",
    ]
    # What is kept once is not written over.
    await target.write("site/gw/2026-09-21/00000000000000000003.checkpoint", b"other", once=True)
    assert await target.read("site/gw/2026-09-21/00000000000000000003.checkpoint") != b"other"
    assert alarms == []


async def test_a_bucket_that_does_not_answer_is_a_fault_and_no_alarm() -> None:
    with pytest.raises(Undelivered, match=f"s3://{BUCKET}/hdf"):
        await bucket(f"http://127.0.0.1:{free_port()}").write("site/gw/checkpoint", b"x", once=False)
