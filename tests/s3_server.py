"""An S3 server for the tests, in memory: `python s3_server.py HOST`, with the Python of `make s3-server`.

Prints {"endpoint", "key", "secret"} when its bucket is there, then serves until its stdin is closed. With CHECK_KEYS=1
it answers only who signs with that key, as Amazon does.
"""

import json
import os
import sys

import boto3
import requests
from moto.server import ThreadedMotoServer

BUCKET = "hoi-tests"


def main() -> None:
    server = ThreadedMotoServer(sys.argv[1], 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    anyone = {
        "endpoint_url": endpoint,
        "region_name": "us-east-1",
        "aws_access_key_id": "x",
        "aws_secret_access_key": "x",
    }
    boto3.client("s3", **anyone).create_bucket(Bucket=BUCKET)
    iam = boto3.client("iam", **anyone)
    iam.create_user(UserName="hoi")
    allowed = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName="hoi", PolicyName="all", PolicyDocument=policy)
    key = iam.create_access_key(UserName="hoi")["AccessKey"]
    if os.environ.get("CHECK_KEYS"):
        text = {"Content-Type": "text/plain"}
        requests.post(f"{endpoint}/moto-api/reset-auth", data="0", headers=text, timeout=10).raise_for_status()
    print(json.dumps({"endpoint": endpoint, "key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}), flush=True)
    sys.stdin.read()
    server.stop()


main()
