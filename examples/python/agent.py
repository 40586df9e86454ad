"""A small agent that asks a model, uses two tools at once, and asks again.

Everything here is real but the model: a server on this machine answers in its place, so that the example needs neither
a key nor a network. Point OPENAI_BASE_URL elsewhere to ask a real one.

    pip install -r requirements.txt
    longpole run -- opentelemetry-instrument python agent.py
"""

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openai
from opentelemetry import context, trace

tracer = trace.get_tracer("desk")


class Model(BaseHTTPRequestHandler):
    """Answers as OpenAI's chat completions do, after a while."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        words = sum(len(str(message["content"]).split()) for message in request["messages"])
        time.sleep(0.05 + 0.01 * words)
        body = json.dumps({
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1700000000,
            "model": "gpt-4o-mini-2024-07-18",
            "choices": [{
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "Search the orders and the policy."},
            }],
            "usage": {"prompt_tokens": 120 + words, "completion_tokens": 40, "total_tokens": 160 + words},
        }).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def tool(name, seconds, parent):
    token = context.attach(parent)
    try:
        attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name}
        with tracer.start_as_current_span(f"execute_tool {name}", attributes=attributes):
            time.sleep(seconds)
            return f"{name}: found"
    finally:
        context.detach(token)


def ask(client, question):
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": question}])
    return answer.choices[0].message.content


def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = os.environ.get("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
    client = openai.OpenAI(base_url=base, api_key=os.environ.get("OPENAI_API_KEY", "none"))
    attributes = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "desk",
        "longpole.workflow.name": "support-desk",
    }
    with tracer.start_as_current_span("invoke_agent desk", attributes=attributes):
        plan = ask(client, "Where is my order? Say which tools you need.")
        here = context.get_current()
        with ThreadPoolExecutor() as pool:
            found = list(pool.map(lambda it: tool(*it, here), [("orders", 0.2), ("policy", 0.12)]))
        print(ask(client, " ".join([plan, *found])))
    server.shutdown()


if __name__ == "__main__":
    main()
