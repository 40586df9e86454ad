//! Which provider was called, and which of its models: names as programs tell them, to entries of a table.

use std::sync::Arc;

use super::Unpriced;
use super::charge::Rates;
use super::conditions::{Conditional, Variant, parse_day};
use super::matching::{Clause, Pattern};
use crate::time::Timestamp;

/// Somebody who bills for calls of models.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) id: Arc<str>,
    /// Addresses of its API.
    pub(super) api: Option<Pattern>,
    /// Models that are its own, where nothing tells who was called.
    pub(super) model_match: Option<Clause>,
    /// Words for it.
    pub(super) provider_match: Option<Clause>,
    /// Places of providers whose models it serves at their prices.
    pub(super) fallbacks: Vec<usize>,
    pub(super) models: Vec<Model>,
}

/// A model and its prices.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) id: Arc<str>,
    pub(super) matches: Clause,
    /// Tried last to first; if none holds, the first does.
    pub(super) prices: Vec<Conditional>,
    pub(super) variants: Vec<Variant>,
    /// Sound is charged for at least so many seconds.
    pub(super) least_seconds: u64,
}

impl Model {
    pub(super) fn rates(&self, at: Timestamp) -> Option<&Rates> {
        let holds = self.prices.iter().rev().find(|prices| prices.holds(at));
        holds.or(self.prices.first()).map(|prices| &prices.rates)
    }
}

/// Places in a table: who was called, and whose model it is, mostly the same one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) provider: usize,
    pub(super) owner: usize,
    pub(super) model: usize,
}

/// What a call says of who was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asked<'a> {
    pub(super) provider: Option<&'a str>,
    pub(super) api_url: Option<&'a str>,
    pub(super) model: &'a str,
}

/// Longer ones are no names; a table search goes over each some thousand times.
pub(super) const MAX_NAME: usize = 512;
const MAX_URL: usize = 2048;

impl<'a> Asked<'a> {
    /// Without what is blank or beyond all addresses; `None` for what is too long to be a name.
    pub(super) fn new(provider: Option<&'a str>, api_url: Option<&'a str>, model: &'a str) -> Option<Self> {
        let told = |text: &'a str| Some(text.trim()).filter(|text| !text.is_empty());
        let provider = provider.and_then(told);
        let api_url = api_url.and_then(told).map(|url| cut(url, MAX_URL));
        let is_name = |text: &str| text.len() <= MAX_NAME;
        (provider.is_none_or(is_name) && is_name(model)).then_some(Asked { provider, api_url, model })
    }
}

/// The beginning of `text`, not more than so many bytes.
pub(super) fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

/// Who was called and which model it was. The provider that is told wins over the address, and that over what the
/// model's name tells.
pub(super) fn find(providers: &[Provider], asked: &Asked<'_>) -> Result<Found, Unpriced> {
    let mut model = asked.model.to_lowercase();
    let mut told = asked.provider.map(str::to_lowercase);
    let is_litellm = told.as_deref() == Some("litellm");
    if is_litellm {
        // It puts the provider before the model; some models have such a name themselves.
        if let Some((provider, rest)) = model.split_once('/')
            && !provider.is_empty()
            && provider_called(providers, provider).is_some()
        {
            (told, model) = (Some(provider.to_owned()), rest.to_owned());
        }
    }
    let called = match told.as_deref() {
        Some(word) if word != "litellm" && !is_anybody(word) => provider_called(providers, word),
        word => match asked.api_url {
            Some(url) => provider_at(providers, url),
            None if word.is_some_and(is_anybody) => None,
            None => provider_of(providers, &model),
        },
    };
    let provider = called.ok_or(Unpriced::UnknownProvider)?;
    let dated = with_dashed_dates(&model);
    let (owner, model) = model_of(providers, provider, &model)
        .or_else(|| model_of(providers, provider, &dated?))
        .ok_or(Unpriced::UnknownModel)?;
    Ok(Found { provider, owner, model })
}

/// Words that tell whose protocol was spoken, not who was called.
fn is_anybody(word: &str) -> bool {
    word.contains("compatible") || word.ends_with("like") || word == "custom"
}

/// Who passes calls on to others and bills at prices of its own. `huggingface_cerebras` is not Cerebras.
const RESELLERS: [&str; 2] = ["openrouter", "huggingface"];

/// Words for providers that the table does not know by its own rules: those of OpenTelemetry's conventions and of
/// libraries, with dashes for dots, underscores and blanks.
const ALIASES: [(&str, &str); 18] = [
    ("az-ai-inference", "azure"),
    ("azure-ai", "azure"),
    ("azure-ai-inference", "azure"),
    ("bigmodel", "zhipuai"),
    ("deepseek-ai", "deepseek"),
    ("fireworks-ai", "fireworks"),
    ("gcp", "google"),
    ("gcp-gen-ai", "google"),
    ("groqcloud", "groq"),
    ("kimi", "moonshotai"),
    ("novita-ai", "novita"),
    ("perplexity-ai", "perplexity"),
    ("pplx", "perplexity"),
    ("together-ai", "together"),
    ("togetherai", "together"),
    ("z-ai", "zai"),
    ("zhipu", "zhipuai"),
    ("zhipu-ai", "zhipuai"),
];

/// The provider that `word`, in lower case, is a word for.
fn provider_called(providers: &[Provider], word: &str) -> Option<usize> {
    let by_id = |id: &str| providers.iter().position(|provider| &*provider.id == id);
    let is_resold_by_another =
        |provider: &Provider| RESELLERS.iter().any(|name| word.contains(name) && !provider.id.contains(name));
    let by_rule = || {
        providers.iter().position(|provider| {
            provider.provider_match.as_ref().is_some_and(|clause| clause.matches(word))
                && !is_resold_by_another(provider)
        })
    };
    by_id(word).or_else(by_rule).or_else(|| {
        let dashed = word.replace(['.', '_', ' '], "-");
        let alias = ALIASES.iter().find(|(alias, _)| *alias == dashed).map(|(_, id)| *id);
        by_id(&dashed).or_else(|| by_id(alias?))
    })
}

/// The provider whose API has this address; a host alone is one too.
fn provider_at(providers: &[Provider], url: &str) -> Option<usize> {
    let with_scheme;
    let url = if url.contains("://") {
        url
    } else {
        with_scheme = format!("https://{url}");
        &with_scheme
    };
    providers.iter().position(|provider| provider.api.as_ref().is_some_and(|api| api.matches(url)))
}

/// The provider whose model it is, by its name in lower case alone.
pub(super) fn provider_of(providers: &[Provider], model: &str) -> Option<usize> {
    let is_own =
        |provider: &Provider| provider.model_match.as_ref().is_some_and(|clause| clause.matches(model));
    providers.iter().position(is_own).filter(|_| !model.is_empty())
}

/// The model, and whose it is: the provider's own, else one of those it serves for others.
fn model_of(providers: &[Provider], provider: usize, model: &str) -> Option<(usize, usize)> {
    let called = providers.get(provider)?;
    std::iter::once(provider).chain(called.fallbacks.iter().copied()).find_map(|owner| {
        let models = &providers.get(owner)?.models;
        Some((owner, models.iter().position(|entry| entry.matches.matches(model))?))
    })
}

/// `gpt-5.2-20251211` as `gpt-5.2-2025-12-11`, which is how tables have it; `None` where there is no such date.
fn with_dashed_dates(model: &str) -> Option<String> {
    let mut dashed = String::new();
    let mut rest = model;
    while let Some(at) = rest.find('-') {
        let (before, after) = rest.split_at_checked(at + 1)?;
        dashed.push_str(before);
        let date = after.split_at_checked(8).filter(|(date, behind)| {
            date.starts_with("20")
                && date.bytes().all(|byte| byte.is_ascii_digit())
                && (behind.is_empty() || behind.starts_with(['-', ':']))
        });
        rest = after;
        if let Some((date, behind)) = date {
            let written = format!("{}-{}-{}", date.get(..4)?, date.get(4..6)?, date.get(6..)?);
            dashed.push_str(if parse_day(&written).is_some() { &written } else { date });
            rest = behind;
        }
    }
    dashed.push_str(rest);
    (dashed != model).then_some(dashed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_without_dashes_get_some() {
        let dashed = |model| with_dashed_dates(model);
        assert_eq!(dashed("gpt-5.2-20251211").as_deref(), Some("gpt-5.2-2025-12-11"));
        assert_eq!(dashed("a-20251211-20240229:free").as_deref(), Some("a-2025-12-11-2024-02-29:free"));
        for model in
            ["gpt-5.2", "a-20250230", "a-202512111", "a-19991231", "a20251211", "a-20251211b", "", "-"]
        {
            assert_eq!(dashed(model), None, "{model}");
        }
    }
}
