"""A server on loopback that answers like the OpenAI chat-completions API, from a script.

The script is a list of turns; the number of answers a conversation already has decides which turn comes next, so
the server keeps no state and may be asked in parallel.
"""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODEL = "scripted-1"


def call(name, **arguments):
    """One tool call of a turn."""
    return {"name": name, "arguments": arguments}


def turn(*calls, text=None, usage=(0, 0, 0, 0), delay_ms=50):
    """One answer: its tool calls or text, its usage as (input, output, cached input, reasoning output)."""
    return {"calls": calls, "text": text, "usage": usage, "delay_ms": delay_ms}


def serve(turns):
    """Serves `turns`; gives the base URL for a client."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            answered = sum(message["role"] == "assistant" for message in request["messages"])
            answer = turns[answered]
            time.sleep(answer["delay_ms"] / 1000)
            body = json.dumps(completion(answered, answer)).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/v1"


def completion(number, answer):
    calls = [
        {
            "id": f"call_{number}_{index}",
            "type": "function",
            "function": {"name": call["name"], "arguments": json.dumps(call["arguments"])},
        }
        for index, call in enumerate(answer["calls"])
    ]
    message = {"role": "assistant", "content": answer["text"]}
    if calls:
        message["tool_calls"] = calls
    tokens_in, tokens_out, cached, reasoning = answer["usage"]
    return {
        "id": f"answer_{number}",
        "object": "chat.completion",
        "created": 1700000000,
        "model": MODEL,
        "choices": [
            {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
        ],
        "usage": {
            "prompt_tokens": tokens_in,
            "completion_tokens": tokens_out,
            "total_tokens": tokens_in + tokens_out,
            "prompt_tokens_details": {"cached_tokens": cached},
            "completion_tokens_details": {"reasoning_tokens": reasoning},
        },
    }
