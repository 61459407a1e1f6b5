"""Does what the event, or the JSON body of an HTTP event, tells it to do."""

import json
import os
import socket
import subprocess
import threading
from typing import Any

from awslambdaric.lambda_runtime_client import (  # type: ignore[import-untyped]  # ships no types
    BaseLambdaRuntimeClient,
)


def handler(event: dict[str, Any], context: Any) -> Any:
    order = json.loads(event["body"]) if "body" in event else event
    match order["do"]:
        case "return":
            return order["value"]
        case "raise":
            raise ValueError(order["message"])
        case "exit":
            os._exit(order["code"])
        case "fill":
            return "x" * order["size"]
        case "print":
            print(order["text"])
        case "hang":
            print("hanging", flush=True)
            threading.Event().wait()
        case "report":
            return report_to(order["port"])
        case "exit after the answer":
            threading.Thread(target=exit_when_told, args=(order["port"],)).start()
        case "hang after the answer":
            BaseLambdaRuntimeClient.wait_next_invocation = never
        case "start a child":
            return subprocess.Popen(["sleep", "600"]).pid
        case "leave a child":
            print(subprocess.Popen(["sleep", "600"]).pid, flush=True)
            os._exit(4)
    return os.getpid()


def never(self: Any) -> Any:
    threading.Event().wait()


def report_to(port: int) -> int:
    """Tell the test that work has begun, and wait until it says to go on."""
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.sendall(b"%d\n" % os.getpid())
        line.recv(1)
    return os.getpid()


def exit_when_told(port: int) -> None:
    report_to(port)
    os._exit(7)
