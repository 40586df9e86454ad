"""A hand-written agent loop with OpenLLMetry: Traceloop's decorators and its OpenAI instrumentation."""

import asyncio
import json
import os

os.environ["TRACELOOP_TELEMETRY"] = "false"
os.environ["TRACELOOP_TRACE_CONTENT"] = "false"
os.environ["TRACELOOP_METRICS_ENABLED"] = "false"

from openai import AsyncOpenAI
from traceloop.sdk import Traceloop
from traceloop.sdk.decorators import agent, task, tool, workflow
from traceloop.sdk.instruments import Instruments

import desk
from scripted_model import MODEL, serve

Traceloop.init(
    app_name="travel-desk",
    resource_attributes={"service.version": "1.0.0"},
    exporter=desk.exporter(),
    instruments={Instruments.OPENAI},
)
client = AsyncOpenAI(base_url=serve(desk.SCRIPT), api_key="none")


@tool(name="weather")
async def weather(city):
    await asyncio.sleep(desk.WEATHER_SECONDS)
    return "sunny"


@tool(name="news")
async def news(city):
    await asyncio.sleep(desk.NEWS_SECONDS)
    return "tram strike"


@tool(name="book_room")
async def book_room(city):
    await asyncio.sleep(desk.BOOKING_SECONDS)
    return desk.try_to_book()


TOOLS = {"weather": weather, "news": news, "book_room": book_room}


async def answer(wanted):
    try:
        content = await TOOLS[wanted.function.name](**json.loads(wanted.function.arguments))
    except desk.NoRoom as error:
        content = str(error)
    return {"role": "tool", "tool_call_id": wanted.id, "content": content}


@task(name="plan_question")
async def plan_question():
    await asyncio.sleep(0.03)
    return [{"role": "user", "content": "Plan a day in Lisbon."}]


@agent(name="travel_desk")
async def travel_desk(messages):
    while True:
        completion = await client.chat.completions.create(model=MODEL, messages=messages)
        said = completion.choices[0].message
        if not said.tool_calls:
            return said.content
        messages.append(said.model_dump(exclude_none=True))
        messages += await asyncio.gather(*(answer(wanted) for wanted in said.tool_calls))


@workflow(name="plan_a_day")
async def plan_a_day():
    return await travel_desk(await plan_question())


asyncio.run(plan_a_day())
