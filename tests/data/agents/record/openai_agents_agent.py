"""The OpenAI Agents SDK with OpenInference's instrumentation."""

import asyncio

from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool
from openai import AsyncOpenAI
from openinference.instrumentation import TraceConfig
from openinference.instrumentation.openai_agents import OpenAIAgentsInstrumentor

import desk
from scripted_model import MODEL, serve

provider = desk.tracer_provider()
OpenAIAgentsInstrumentor().instrument(
    tracer_provider=provider,
    config=TraceConfig(hide_inputs=True, hide_outputs=True),
    exclusive_processor=True,
)


@function_tool
async def weather(city: str) -> str:
    await asyncio.sleep(desk.WEATHER_SECONDS)
    return "sunny"


@function_tool
async def news(city: str) -> str:
    await asyncio.sleep(desk.NEWS_SECONDS)
    return "tram strike"


@function_tool
async def book_room(city: str) -> str:
    await asyncio.sleep(desk.BOOKING_SECONDS)
    return desk.try_to_book()


async def main():
    client = AsyncOpenAI(base_url=serve(desk.SCRIPT), api_key="none")
    agent = Agent(
        name="travel_desk",
        tools=[weather, news, book_room],
        model=OpenAIChatCompletionsModel(MODEL, openai_client=client),
    )
    await Runner.run(agent, "Plan a day in Lisbon.")


asyncio.run(main())
provider.shutdown()
