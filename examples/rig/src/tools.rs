//! The tools the agents call. Each waits as long as the service it stands for would take.

use std::time::Duration;

use rig::rig_tool;
use rig::tool::ToolExecutionError;
use tokio::time::sleep;

const ARCHIVE: [(&str, &str); 3] = [
    (
        "The cable of 1858",
        "The first transatlantic cable carried its first message on 16 August 1858. Its signals faded within weeks: \
         the electrician in charge had driven it with some two thousand volts.",
    ),
    (
        "The cable of 1866",
        "The Great Eastern landed the first lasting transatlantic cable at Heart's Content on 27 July 1866.",
    ),
    (
        "The speed of the cable of 1858",
        "Queen Victoria's greeting of 98 words took about sixteen hours to send over the cable of 1858.",
    ),
];

/// Lists the titles of the archive's pages that mention a word.
#[rig_tool]
pub(crate) async fn search_archive(
    /// The word to look for
    word: String,
) -> Result<Vec<&'static str>, ToolExecutionError> {
    sleep(Duration::from_millis(500)).await;
    Ok(ARCHIVE
        .iter()
        .filter(|(title, text)| title.contains(&word) || text.contains(&word))
        .map(|page| page.0)
        .collect())
}

/// Returns the text of one of the archive's pages.
#[rig_tool]
pub(crate) async fn read_page(
    /// The page's title
    title: String,
) -> Result<&'static str, ToolExecutionError> {
    sleep(Duration::from_millis(900)).await;
    match ARCHIVE.iter().find(|page| page.0 == title) {
        Some((_, text)) => Ok(text),
        None => Err(ToolExecutionError::other(format!("the archive has no page \"{title}\""))),
    }
}

/// Tells on which day of the week a date fell.
#[rig_tool]
pub(crate) async fn weekday(
    /// The year
    year: u16,
    /// The month, from 1
    month: u8,
    /// The day of the month
    day: u8,
) -> Result<&'static str, ToolExecutionError> {
    sleep(Duration::from_millis(300)).await;
    // Sakamoto's method, for the Gregorian calendar.
    let offsets = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4];
    let Some(offset) = usize::from(month).checked_sub(1).and_then(|index| offsets.get(index)) else {
        return Err(ToolExecutionError::other(format!("{month} is no month")));
    };
    let year = i32::from(year) - i32::from(month < 3);
    let index = (year + year / 4 - year / 100 + year / 400 + offset + i32::from(day)).rem_euclid(7);
    Ok(["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"][index as usize])
}
