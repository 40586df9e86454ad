"""pydantic-ai's own spans: OpenTelemetry's GenAI conventions."""

import asyncio

from pydantic_ai import Agent, InstrumentationSettings, ModelRetry
from pydantic_ai.capabilities import Instrumentation
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

import desk
from scripted_model import MODEL, serve

provider = desk.tracer_provider()
model = OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=serve(desk.SCRIPT), api_key="none"))
# The agent's span repeats the sums of its calls, as earlier versions did by default.
settings = InstrumentationSettings(
    tracer_provider=provider, include_content=False, use_aggregated_usage_attribute_names=False
)
agent = Agent(model, name="travel_desk", capabilities=[Instrumentation(settings=settings)])


@agent.tool_plain
async def weather(city: str) -> str:
    await asyncio.sleep(desk.WEATHER_SECONDS)
    return "sunny"


@agent.tool_plain
async def news(city: str) -> str:
    await asyncio.sleep(desk.NEWS_SECONDS)
    return "tram strike"


@agent.tool_plain
async def book_room(city: str) -> str:
    await asyncio.sleep(desk.BOOKING_SECONDS)
    try:
        return desk.try_to_book()
    except desk.NoRoom as error:
        raise ModelRetry(str(error)) from error


asyncio.run(agent.run("Plan a day in Lisbon."))
provider.shutdown()
