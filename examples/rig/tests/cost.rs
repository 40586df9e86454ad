//! What the example costs, worked out by hand.
//!
//! From the tokens in `fake_openai.rs`, of which the provider's cache gave some, and from what OpenAI asks for a
//! million of them (input, read from the cache, output): `gpt-4.1` $2, $0.50, $8; `gpt-4.1-mini` $0.40, $0.10, $1.60;
//! `gpt-4.1-nano` $0.10, $0.025, $0.40.
//!
//! ```text
//! librarian      182 + 296 = 478 × $0.40                            $0.0001912
//!                 41 +  33 =  74 × $1.60                            $0.0001184    $0.0003096
//!
//! researcher    1,204 + 1,331 + 1,402 = 3,937 in, 2,432 cached
//!                3,937 - 2,432 = 1,505 × $2                         $0.003010
//!                1,152 + 1,280 = 2,432 × $0.50                      $0.001216
//!                44 + 19 + 118 =   181 × $8                         $0.001448    $0.005674
//! fact checker  120 + 158 + 197 = 475 × $0.10                       $0.0000475
//!                 24 +  24 +  31 = 79 × $0.40                       $0.0000316    $0.0000791
//! history-desk                                                                    $0.0057531
//! ```

use std::path::Path;
use std::process::Command;

use longpole::{Report, ReportOptions, decode, report_on};

/// Runs the example and reads what it wrote.
fn reports(folder: &Path) -> Vec<Report> {
    let mut example = Command::new(env!("CARGO_BIN_EXE_longpole-example-rig"));
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("OTEL_") || name.starts_with("LONGPOLE_"))
    {
        example.env_remove(name);
    }
    let output = example.env("XDG_STATE_HOME", folder).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let bytes = std::fs::read(folder.join("longpole-spans.jsonl")).unwrap();
    report_on(decode::decode(&bytes).unwrap().spans, &ReportOptions::default())
}

#[test]
fn the_example_costs_what_a_hand_calculation_says() {
    let folder = tempfile::tempdir().unwrap();
    let reports = reports(folder.path());
    let money = |text: &str| Some(text.parse().unwrap());
    let [librarian, desk] = &*reports else { panic!("{} runs", reports.len()) };
    assert_eq!(librarian.totals.cost_usd, money("0.0003096"));
    assert_eq!(desk.totals.cost_usd, money("0.0057531"));
    // The agents' own spans repeat what their calls used.
    let tokens = librarian.totals.tokens.unwrap();
    assert_eq!((tokens.input, tokens.output), (478, 74));
    let tokens = desk.totals.tokens.unwrap();
    assert_eq!((tokens.input, tokens.output), (3_937 + 475, 181 + 79));
    let cost_of = |name: &str| desk.nodes.iter().find(|node| node.name == name).unwrap().cost_usd;
    assert_eq!(cost_of("chat gpt-4.1"), money("0.005674"));
    assert_eq!(cost_of("chat gpt-4.1-nano"), money("0.0000791"));
}
