//! Three agents, written as one writes them with rig. Nothing here knows that they are measured.

use rig::Agent;
use rig::prelude::*;
use rig::providers::openai::OpenAI;

use crate::tools::{ReadPage, SearchArchive, Weekday};

/// Answers from the archive in a sentence or two.
pub(crate) fn librarian(openai: &OpenAI) -> Agent {
    AgentBuilder::new(openai.chat("gpt-4.1-mini"))
        .name("librarian")
        .preamble("You answer questions from the archive. Be brief.")
        .tool(SearchArchive)
        .tool(ReadPage)
        .build()
}

/// Writes a paragraph about what the archive says.
pub(crate) fn researcher(openai: &OpenAI) -> Agent {
    AgentBuilder::new(openai.chat("gpt-4.1"))
        .name("researcher")
        .preamble("You research a question in the archive and write one paragraph about it.")
        .tool(SearchArchive)
        .tool(ReadPage)
        .build()
}

/// Says whether the dates in a claim can be right.
pub(crate) fn fact_checker(openai: &OpenAI) -> Agent {
    AgentBuilder::new(openai.chat("gpt-4.1-nano"))
        .name("fact checker")
        .preamble("You check every date in a claim and say whether the claim holds.")
        .tool(Weekday)
        .build()
}

/// Puts a question to an agent and lets it call the model up to five times.
pub(crate) async fn ask(agent: Agent, question: &str) -> Result<String, PromptError> {
    Ok(agent.prompt(question).max_turns(5).await?.output())
}
