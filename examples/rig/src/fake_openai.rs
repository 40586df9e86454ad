//! A server that speaks OpenAI's Chat Completions and answers from a script, so that the agents need no key and no
//! network. Each model has its script; how many times the assistant has spoken tells which turn it is.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::sleep;

/// What the model says in one turn, and after how long.
struct Turn {
    delay_ms: u64,
    says: Says,
    input_tokens: u64,
    /// How many of the input tokens come from the provider's cache.
    cached_tokens: u64,
    output_tokens: u64,
}

enum Says {
    /// Calls tools: their names and JSON arguments.
    Call(&'static [(&'static str, &'static str)]),
    /// Answers.
    Answer(&'static str),
}

const fn turn(delay_ms: u64, says: Says, input_tokens: u64, output_tokens: u64) -> Turn {
    Turn { delay_ms, says, input_tokens, cached_tokens: 0, output_tokens }
}

/// The same, with so many of the input tokens read from the cache.
const fn cached(cached_tokens: u64, turn: Turn) -> Turn {
    Turn { cached_tokens, ..turn }
}

const LIBRARIAN: [Turn; 2] = [
    turn(
        200,
        Says::Call(&[
            ("read_page", r#"{"title":"The cable of 1858"}"#),
            ("search_archive", r#"{"word":"cable"}"#),
        ]),
        182,
        41,
    ),
    turn(
        400,
        Says::Answer(
            "The first transatlantic cable carried its first message on 16 August 1858. The archive has two more \
             pages on the subject.",
        ),
        296,
        33,
    ),
];

const RESEARCHER: [Turn; 3] = [
    turn(
        500,
        Says::Call(&[
            ("search_archive", r#"{"word":"1858"}"#),
            ("read_page", r#"{"title":"The cable of 1858"}"#),
        ]),
        1_204,
        44,
    ),
    cached(1_152, turn(700, Says::Call(&[("search_archive", r#"{"word":"lasting"}"#)]), 1_331, 19)),
    cached(
        1_280,
        turn(
            900,
            Says::Answer(
                "The cable of 1858 failed within weeks because it was driven with some two thousand volts. It had been \
             slow from the start. Lasting service began in 1866, when the Great Eastern landed a new cable.",
            ),
            1_402,
            118,
        ),
    ),
];

const FACT_CHECKER: [Turn; 3] = [
    turn(250, Says::Call(&[("weekday", r#"{"year":1858,"month":8,"day":16}"#)]), 120, 24),
    turn(250, Says::Call(&[("weekday", r#"{"year":1866,"month":7,"day":27}"#)]), 158, 24),
    turn(
        350,
        Says::Answer(
            "The claim holds: 16 August 1858 was a Monday, and 27 July 1866, eight years later, a Friday.",
        ),
        197,
        31,
    ),
];

/// Serves on a free port of the loopback interface for as long as the runtime lives, and returns the base URL.
pub(crate) async fn start() -> io::Result<String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A connection that breaks off is the client's affair: it sees the error too.
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(serve)));
        }
    });
    Ok(format!("http://{address}/v1"))
}

async fn serve(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, body) = match complete(request).await {
        Ok(completion) => (StatusCode::OK, completion),
        Err(message) => {
            (StatusCode::BAD_REQUEST, json!({"error": {"message": message, "type": "invalid_request_error"}}))
        }
    };
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    Ok(response)
}

async fn complete(request: Request<Incoming>) -> Result<Value, String> {
    if request.uri().path() != "/v1/chat/completions" {
        return Err(format!("there is nothing at {}", request.uri().path()));
    }
    let body = request.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    let body: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;

    let model = body["model"].as_str().unwrap_or_default();
    let script: &[Turn] = match model {
        "gpt-4.1-mini" => &LIBRARIAN,
        "gpt-4.1" => &RESEARCHER,
        "gpt-4.1-nano" => &FACT_CHECKER,
        _ => return Err(format!("no script for the model \"{model}\"")),
    };
    let messages = body["messages"].as_array().map_or(&[][..], Vec::as_slice);
    let spoken = messages.iter().filter(|message| message["role"] == "assistant").count();
    let turn =
        script.get(spoken).ok_or_else(|| format!("the script of {model} ends after {spoken} turns"))?;

    sleep(Duration::from_millis(turn.delay_ms)).await;
    Ok(completion(model, spoken, turn))
}

fn completion(model: &str, spoken: usize, turn: &Turn) -> Value {
    let (message, finish_reason) = match &turn.says {
        Says::Answer(text) => (json!({"role": "assistant", "content": text}), "stop"),
        Says::Call(calls) => {
            let calls: Vec<Value> = calls
                .iter()
                .enumerate()
                .map(|(index, (name, arguments))| {
                    json!({
                        "id": format!("call_{spoken}_{index}"),
                        "type": "function",
                        "function": {"name": name, "arguments": arguments},
                    })
                })
                .collect();
            (json!({"role": "assistant", "content": null, "tool_calls": calls}), "tool_calls")
        }
    };
    json!({
        "id": format!("chatcmpl-{spoken}"),
        "object": "chat.completion",
        "created": 1_744_675_200,
        "model": format!("{model}-2025-04-14"),
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": {
            "prompt_tokens": turn.input_tokens,
            "prompt_tokens_details": {"cached_tokens": turn.cached_tokens},
            "completion_tokens": turn.output_tokens,
            "total_tokens": turn.input_tokens + turn.output_tokens,
        },
    })
}
