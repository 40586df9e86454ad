//! Tables of prices: the one that comes with longpole, files of users, and what is refused.

use longpole::prices::{Call, Price, PriceTable, PriceTableError, Unit, Unpriced, Usage};
use longpole::time::Timestamp;

fn call<'a>(provider: &'a str, model: &'a str, usage: &'a Usage) -> Call<'a> {
    let at = Timestamp::from_unix_nanos(1_793_534_400_000_000_000); // 2026-11-01T12:00:00Z
    Call {
        provider: Some(provider).filter(|word| !word.is_empty()),
        api_url: None,
        model,
        at,
        context: &[],
        usage,
    }
}

fn price(table: &PriceTable, provider: &str, model: &str) -> Result<Price, Unpriced> {
    table.price(&call(provider, model, &Usage::tokens(1_000, 100)))
}

fn refused(json: &str) -> String {
    PriceTable::from_json(json).map(|table| table.label().clone()).unwrap_err().to_string()
}

#[test]
fn the_table_that_comes_with_longpole_says_what_it_is() {
    let table = PriceTable::embedded();
    assert_eq!(&**table.label(), "genai-prices 0.2.3 (2026-11-09)");
    assert_eq!(table, &table.clone());
    let has_aggregators = table.models().any(|(provider, _)| &**provider == "openrouter");
    assert_eq!(has_aggregators, cfg!(feature = "aggregator-prices"));
}

#[test]
fn words_of_opentelemetry_and_libraries_name_the_right_provider() {
    let table = PriceTable::embedded();
    for (word, provider, model) in [
        ("openai", "openai", "gpt-4o"),
        ("OpenAI", "openai", "gpt-4o"),
        (" openai ", "openai", "gpt-4o"),
        ("anthropic", "anthropic", "claude-sonnet-4-5"),
        ("aws.bedrock", "aws", "us.anthropic.claude-sonnet-4-20250514-v1:0"),
        ("amazon-bedrock", "aws", "us.anthropic.claude-sonnet-4-20250514-v1:0"),
        ("azure.ai.openai", "openai", "gpt-4o"),
        ("az.ai.openai", "openai", "gpt-4o"),
        ("azure.ai.inference", "azure", "gpt-4o"),
        ("az.ai.inference", "azure", "gpt-4o"),
        ("azure", "azure", "gpt-4o"),
        ("gcp.gemini", "google", "gemini-2.5-pro"),
        ("gcp.vertex_ai", "google", "gemini-2.5-pro"),
        ("gcp.gen_ai", "google", "gemini-2.5-pro"),
        ("google_genai", "google", "gemini-2.5-pro"),
        ("vertex_ai", "google", "gemini-2.5-pro"),
        ("cohere", "cohere", "command-r-plus"),
        ("deepseek", "deepseek", "deepseek-chat"),
        ("groq", "groq", "llama-3.3-70b-versatile"),
        ("mistral_ai", "mistral", "mistral-large-latest"),
        ("MistralAI", "mistral", "mistral-large-latest"),
        ("moonshot_ai", "moonshotai", "kimi-k2-0905-preview"),
        ("perplexity", "perplexity", "sonar"),
        ("x_ai", "x-ai", "grok-4"),
        ("xai", "x-ai", "grok-4"),
        ("x.ai", "x-ai", "grok-4"),
        ("together_ai", "together", "meta-llama/Llama-3.3-70B-Instruct-Turbo"),
        ("fireworks_ai", "fireworks", "accounts/fireworks/models/deepseek-v3p2"),
    ] {
        let priced = price(table, word, model).unwrap_or_else(|error| panic!("{word} {model}: {error}"));
        assert_eq!(&*priced.provider, provider, "{word}");
    }
    for word in
        ["ibm.watsonx.ai", "ollama", "openai_compatible", "openai-like", "langchain", "openrouter/openai"]
    {
        if word != "openrouter/openai" || !cfg!(feature = "aggregator-prices") {
            assert_eq!(price(table, word, "gpt-4o"), Err(Unpriced::UnknownProvider), "{word}");
        }
    }
}

#[test]
fn an_address_tells_who_was_called_if_nothing_else_does() {
    let table = PriceTable::embedded();
    let usage = Usage::tokens(1_000, 100);
    let at_address = |provider, api_url| {
        let priced = table.price(&Call { provider, api_url: Some(api_url), ..call("", "gpt-4o", &usage) });
        priced.map(|priced| priced.provider.to_string())
    };
    assert_eq!(at_address(None, "https://api.openai.com/v1"), Ok("openai".into()));
    assert_eq!(at_address(None, "api.openai.com"), Ok("openai".into()));
    assert_eq!(at_address(None, "me.openai.azure.com"), Ok("azure".into()));
    assert_eq!(at_address(Some(""), "api.openai.com"), Ok("openai".into()));
    assert_eq!(at_address(Some("openai_compatible"), "api.openai.com"), Ok("openai".into()));
    assert_eq!(at_address(Some("azure"), "api.openai.com"), Ok("azure".into()));
    assert_eq!(at_address(None, "http://localhost:8000"), Err(Unpriced::UnknownProvider));
    assert_eq!(
        at_address(None, "https://evil.example/?https://api.openai.com"),
        Err(Unpriced::UnknownProvider)
    );
}

#[test]
fn what_is_missing_is_told() {
    let table = PriceTable::embedded();
    assert_eq!(price(table, "openai", "  "), Err(Unpriced::ModelMissing));
    assert_eq!(table.price(&call("openai", "gpt-4o", &Usage::default())), Err(Unpriced::UsageMissing));
    assert_eq!(price(table, "openai", &"x".repeat(100_000)), Err(Unpriced::UnknownModel));
    assert_eq!(price(table, &"x".repeat(100_000), "gpt-4o"), Err(Unpriced::UnknownModel));
}

#[test]
fn what_has_no_price_is_named_beside_the_cost_of_the_rest() {
    let table = PriceTable::embedded();
    let usage = Usage::tokens(1_000, 100).with(Unit::CACHE_READ, 400);
    let searches = Unit::from_name("social_searches").unwrap();
    let priced = table.price(&call("openai", "gpt-4o", &usage.clone().with(searches, 3))).unwrap();
    let tokens_only = table.price(&call("openai", "gpt-4o", &usage)).unwrap();
    assert_eq!(priced.without_price, [searches]);
    assert_eq!(priced.cost, tokens_only.cost);
    let pages = Usage::default().with(Unit::from_name("input_document_pages").unwrap(), 3);
    assert_eq!(table.price(&call("openai", "gpt-4o", &pages)), Err(Unpriced::NoPrice));
}

#[test]
fn amounts_that_no_bill_has_are_no_prices() {
    let table = PriceTable::from_json(
        r#"[{"id": "a", "models": [{"id": "m", "prices": {"input_mtok": 10000000000000000000, "output_mtok": 0}}]}]"#,
    )
    .unwrap();
    let priced =
        |input| table.price(&call("a", "m", &Usage::tokens(input, 0))).map(|priced| priced.cost.total());
    assert_eq!(priced(10_000_000).map(|total| total.to_string()), Ok("100000000000000000000".into()));
    assert_eq!(priced(10_000_001), Err(Unpriced::TooLarge));
    assert_eq!(priced(u64::MAX), Err(Unpriced::TooLarge));
}

/// The example that the page for users shows.
#[test]
fn the_example_of_the_documentation_works() {
    let page = include_str!("../docs/prices.md");
    let json = page.split("```json").nth(1).unwrap().split("```").next().unwrap();
    let table = PriceTable::from_json_named(json, "prices.json").unwrap();
    assert_eq!(&**table.label(), "acme 2 (2026-11-21) over genai-prices 0.2.3 (2026-11-09)");
    let total =
        |provider, model| price(&table, provider, model).map(|priced| priced.cost.total().to_string());
    assert_eq!(total("acme", "Acme-Large"), Ok("0.00168".into()));
    assert_eq!(total("acme", "acme-larger"), Err(Unpriced::UnknownModel));
    assert_eq!(total("openai", "gpt-4o-2024-08-06"), Ok("0.0028".into()));
    // From the table that comes with longpole.
    assert_eq!(total("openai", "gpt-5-mini"), Ok("0.00045".into()));
    assert_eq!(total("anthropic", "claude-sonnet-4-5"), Ok("0.0045".into()));
    assert!(table.models().any(|(_, model)| &**model == "claude-sonnet-4-5"));
    let shown = page.split("```text").nth(1).unwrap().split("```").next().unwrap().trim();
    assert_eq!(refused(&json.trim_start().replace(r#""input_mtok": 2,"#, r#""input_mtok": -1,"#)), shown);
}

#[test]
fn a_table_replaces_the_one_that_comes_with_longpole() {
    let table =
        PriceTable::from_json_named(r#"[{"id": "a", "models": [{"id": "m", "prices": {}}]}]"#, "mine.json")
            .unwrap();
    assert_eq!(price(&table, "openai", "gpt-4o"), Err(Unpriced::UnknownProvider));
    assert_eq!(
        price(&table, "a", "m").unwrap().cost.total().to_string(),
        "0",
        "without any price it is free"
    );
    let label = &**table.label();
    assert!(label.starts_with("mine.json (") && label.len() == "mine.json (01234567)".len(), "{label}");
    let other = PriceTable::from_json_named(r#"[{"id": "b", "models": []}]"#, "mine.json").unwrap();
    assert_ne!(table.label(), other.label());
    assert_ne!(table, other);
}

fn with_prices(prices: &str) -> String {
    format!(
        r#"[{{"id": "a", "models": [{{"id": "other", "prices": {{}}}}, {{"id": "m", "prices": {prices}}}]}}]"#
    )
}

#[test]
fn prices_that_cannot_be_are_refused_with_their_place() {
    for (price, message) in [
        ("-1", "-1 is negative at line 1 column"),
        ("-0.0001", "-0.0001 is negative"),
        ("1e999", "1e999 is too large for a price"),
        ("1e-99", "1e-99 is told with more digits than a price can have"),
        (r#""3""#, r#"expected a number, found "3""#),
        ("true", "expected a number, found true"),
        ("[1]", "expected a number, found [1]"),
        (r#"{"base": 1}"#, ".: missing field `tiers`"),
        (r#"{"base": -1, "tiers": []}"#, "base: -1 is negative"),
        (
            r#"{"base": 1, "tiers": [{"start": 5, "price": "x"}]}"#,
            r#"tiers[0].price: expected a number, found "x""#,
        ),
        (
            r#"{"base": 1, "tiers": [{"start": -5, "price": 1}]}"#,
            "tiers[0].start: invalid value: integer `-5`",
        ),
        (
            r#"{"base": 1, "tiers": [{"start": 5, "price": 1}, {"start": 5, "price": 2}]}"#,
            "tiers must be in ascending order",
        ),
    ] {
        let told = refused(&with_prices(&format!(r#"{{"input_mtok": {price}}}"#)));
        let expected = format!("providers[0].models[1] (a m) prices.input_mtok: {message}");
        assert!(told.starts_with(&expected), "{told}\nexpected {expected}");
    }
    let nan = refused(&with_prices(r#"{"input_mtok": NaN}"#));
    assert!(nan.contains("line 1 column") && nan.contains("input_mtok"), "{nan}");
}

#[test]
fn what_is_not_of_the_format_is_refused_with_its_place() {
    for (json, message) in [
        ("", "EOF while parsing a value at line 1 column 0"),
        (
            "3",
            "invalid type: integer `3`, expected a list of providers, or an object with a name and such a list",
        ),
        ("{", "EOF while parsing an object"),
        (r#"{"providers": []}"#, "missing field `name`"),
        (
            r#"{"name": "x", "date": "21.11.2026", "providers": []}"#,
            r#"date: "21.11.2026" is not a date such as"#,
        ),
        (r#"{"name": "x", "colour": 1, "providers": []}"#, "colour: unknown field `colour`"),
        (r#"[{"id": "a", "model": []}]"#, "providers[0] (a) model: unknown field `model`"),
        (
            r#"{"name": "x", "providers": [{"id": "a", "model": []}]}"#,
            "providers[0] (a) model: unknown field `model`",
        ),
        (r#"[{"id": "a"}]"#, "providers[0] (a): missing field `models`"),
        (r#"[{"id": "a", "models": [{"id": "m"}]}]"#, "providers[0].models[0] (a m): missing field `prices`"),
        (
            r#"[{"id": "a", "models": [{"id": "m", "prices": {"input_token": 1}}]}]"#,
            "providers[0].models[0] (a m) prices: unknown price key `input_token`",
        ),
        (
            r#"[{"id": "a", "models": [{"id": "m", "prices": {"input_mtok": 1, "input_mtok": 2}}]}]"#,
            "providers[0].models[0] (a m) prices: duplicate price key `input_mtok`",
        ),
        (
            r#"[{"id": "a", "models": [{"id": "m", "match": {"is": "m"}, "prices": {}}]}]"#,
            "providers[0].models[0] (a m) match",
        ),
        (
            r#"[{"id": "a", "models": [{"id": "m", "prices": [{"prices": {}}, {"constraint": {"start_date": "soon"}, "prices": {}}]}]}]"#,
            r#"providers[0].models[0] (a m) prices[1].constraint: "soon" is not a date"#,
        ),
        (
            r#"[{"id": "a", "models": [{"id": "m", "prices": [{"constraint": {"start_time": "01:00"}, "prices": {}}]}]}]"#,
            "providers[0].models[0] (a m) prices[0].constraint: a constraint has a start_date, or a start_time and an end_time",
        ),
        (
            r#"[{"id": "a", "models": []}, {"id": "a", "models": []}]"#,
            r#"providers[1] (a) id: there is another "a" before it"#,
        ),
        (
            r#"[{"id": "a", "models": [{"id": "m", "prices": {}}, {"id": "m", "prices": {}}]}]"#,
            r#"providers[0].models[1] (a m) id: there is another "m" before it"#,
        ),
        (
            r#"[{"id": "a", "models": [{"id": "m", "prices": []}]}]"#,
            "providers[0].models[0] (a m) prices: a price is missing",
        ),
        (
            r#"[{"id": "a", "models": [{"id": "m", "prices": {}, "price_variants": [{"when": {}, "prices": {}}]}]}]"#,
            "providers[0].models[0] (a m) price_variants[0]: what it is for",
        ),
        (
            r#"[{"id": "a", "fallback_model_providers": ["b"], "models": []}]"#,
            r#"providers[0] (a) fallback_model_providers: there is no provider "b" in this table"#,
        ),
        (
            r#"[{"id": "a", "models": [{"id": "m", "match": {"or": [{"regex": "("}]}, "prices": {}}]}]"#,
            "providers[0].models[0] (a m) match: ",
        ),
        (r#"[{"id": "a", "api_pattern": "[", "models": []}]"#, "providers[0] (a) api_pattern: "),
        (
            r#"[{"id": "a", "models": [{"id": "m", "prices": {"cache_read_mtok": 1}}]}]"#,
            "providers[0].models[0] (a m) prices: with a price of cache_read_mtok there must be one of input_mtok too",
        ),
        (
            r#"[{"id": "a", "models": [{"id": "m", "prices": {"input_mtok": 1, "cache_read_mtok": 1, "input_audio_mtok": 1}}]}]"#,
            "providers[0].models[0] (a m) prices: with a price of cache_read_mtok and input_audio_mtok there must be one of cache_audio_read_mtok too",
        ),
        (
            r#"[{"id": "a", "models": [{"id": "m", "prices": {"output_mtok": 1}, "price_variants": [{"when": {"processing": "batch"}, "prices": {"cache_read_mtok": 1}}]}]}]"#,
            "providers[0].models[0] (a m) price_variants[0]: with a price of cache_read_mtok",
        ),
    ] {
        let told = refused(json);
        assert!(told.starts_with(message), "{told}\nexpected {message}");
    }
    assert!(matches!(PriceTable::from_json("["), Err(PriceTableError::Format { .. })));
}

#[test]
fn prices_of_ways_to_call_are_the_owners_alone() {
    let table = PriceTable::from_json(
        r#"[{"id": "a", "fallback_model_providers": ["b"], "models": []},
            {"id": "b", "models": [{"id": "m", "prices": {"input_mtok": 4, "output_mtok": 8},
              "price_variants": [
                {"when": {"processing": "batch"}, "prices": {"input_mtok": 2}},
                {"when": {"processing": "batch", "speed": "fast"}, "prices": {"input_mtok": 1, "output_mtok": 1}}]}]}]"#,
    )
    .unwrap();
    let total = |provider, context| {
        let usage = Usage::tokens(1_000_000, 1_000_000);
        let priced = table.price(&Call { context, ..call(provider, "m", &usage) }).unwrap();
        (priced.provider.to_string(), priced.cost.total().to_string())
    };
    assert_eq!(total("b", &[]), ("b".into(), "12".into()));
    assert_eq!(total("b", &[("processing", "batch")]), ("b".into(), "10".into()));
    assert_eq!(total("b", &[("processing", "Batch")]), ("b".into(), "12".into()));
    // Each price from the first variant that tells it.
    assert_eq!(total("b", &[("speed", "fast"), ("processing", "batch")]), ("b".into(), "3".into()));
    assert_eq!(total("a", &[("processing", "batch")]), ("a".into(), "12".into()));
}
