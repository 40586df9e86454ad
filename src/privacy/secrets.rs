//! Finding secrets inside text by their shape: keys of well-known services, JSON web tokens, PEM blocks, passwords in
//! addresses.
//!
//! Each shape holds one of five bytes that ordinary text is poor in, a *sign*. Text is searched for signs eight bytes
//! at once; only around a sign it is looked at closely.

use std::ops::Range;

use super::REDACTED;
use crate::encode::span::cut;

/// Text with fewer bytes holds no secret.
pub(crate) const SHORTEST_SECRET: usize = 10;

/// A secret that begins with fixed bytes.
struct Shape {
    /// The fixed bytes up to the sign, the sign among them.
    head: &'static [u8],
    /// The fixed bytes after it.
    rest: &'static [u8],
    /// What may follow them, beside letters and digits.
    others: &'static [u8],
    /// How much of that there is at least.
    least: usize,
}

const fn shape(head: &'static [u8], rest: &'static [u8], others: &'static [u8], least: usize) -> Shape {
    Shape { head, rest, others, least }
}

/// The shape whose head may end in these bytes, the last of them a sign.
#[inline]
fn shape_after(head_end: [u8; 3]) -> Option<&'static Shape> {
    Some(match &head_end {
        b"sk-" => const { &shape(b"sk-", b"", b"-_", 17) },
        b"sk_" => const { &shape(b"sk_", b"live_", b"", 16) },
        b"rk_" => const { &shape(b"rk_", b"live_", b"", 16) },
        b"hp_" => const { &shape(b"ghp_", b"", b"", 30) },
        b"ho_" => const { &shape(b"gho_", b"", b"", 30) },
        b"hu_" => const { &shape(b"ghu_", b"", b"", 30) },
        b"hs_" => const { &shape(b"ghs_", b"", b"", 30) },
        b"hr_" => const { &shape(b"ghr_", b"", b"", 30) },
        b"ub_" => const { &shape(b"github_", b"pat_", b"_", 30) },
        b"at-" => const { &shape(b"glpat-", b"", b"-_", 20) },
        b"xb-" => const { &shape(b"xoxb-", b"", b"-", 20) },
        b"xp-" => const { &shape(b"xoxp-", b"", b"-", 20) },
        b"hf_" => const { &shape(b"hf_", b"", b"", 30) },
        b"AKI" => const { &shape(b"AKI", b"A", b"", 16) },
        b"ASI" => const { &shape(b"ASI", b"A", b"", 16) },
        _ => return None,
    })
}

/// The one whose head is shorter.
const GOOGLE: Shape = shape(b"AI", b"za", b"-_", 35);

/// `text` with `[redacted]` in the place of each secret, if it holds one. `is_cut`: something follows that is not
/// there, and a secret may be there in part. One pass, some bytes at once where no sign is.
pub(crate) fn mask(text: &str, is_cut: bool) -> Option<String> {
    let mut search = Search { text, bytes: text.as_bytes(), is_cut, done: 0, no_token_before: 0 };
    let mut masked: Option<String> = None;
    let mut replace = |from: usize, secret: Range<usize>| {
        let masked = masked.get_or_insert_default();
        masked.push_str(text.get(from..secret.start).unwrap_or_default());
        masked.push_str(REDACTED);
        secret.end
    };
    let (words, rest) = search.bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(place, byte)| *place = *byte);
    for (index, word) in words.iter().chain([&last]).enumerate() {
        let mut signs = signs_in(u64::from_le_bytes(*word));
        while signs != 0 {
            let sign = index.saturating_mul(8).saturating_add(signs.trailing_zeros() as usize / 8);
            signs &= signs.wrapping_sub(1);
            if sign >= search.done
                && let Some(secret) = search.secret_at(sign)
            {
                search.done = replace(search.done, secret);
            }
        }
    }
    if is_cut && let Some(secret) = search.password_before(text.len()) {
        search.done = replace(search.done, secret);
    }
    if let Some(masked) = &mut masked {
        masked.push_str(text.get(search.done..).unwrap_or_default());
    }
    masked
}

/// The same for a text of which at most `limit` bytes will be kept: no more are looked at.
pub(crate) fn mask_within(text: &str, limit: usize) -> Option<String> {
    let kept = cut(text, limit);
    let is_cut = kept.len() < text.len();
    let mut masked = mask(kept, is_cut)?;
    if is_cut {
        masked.push('…');
    }
    Some(masked)
}

/// The highest bit of each byte that is a sign, and of few that are none. (Mycroft's test for a zero byte, once for each
/// sign.)
#[inline]
fn signs_in(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const fn eight(sign: u8) -> u64 {
        ONES.wrapping_mul(sign as u64)
    }
    let zeros = |bytes: u64| bytes.wrapping_sub(ONES) & !bytes;
    let signs = zeros(word ^ const { eight(b'-') })
        | zeros(word ^ const { eight(b'_') })
        | zeros(word ^ const { eight(b'@') })
        | zeros(word ^ const { eight(b'I') })
        | zeros(word ^ const { eight(b'J') });
    signs & (ONES << 7)
}

/// A text in which secrets are looked for from front to back. However many signs it has, each byte is looked at a
/// bounded number of times.
struct Search<'t> {
    text: &'t str,
    bytes: &'t [u8],
    is_cut: bool,
    /// What is before this is settled.
    done: usize,
    /// No web token begins before this.
    no_token_before: usize,
}

/// A password in an address is no longer.
const MAX_PASSWORD: usize = 512;

/// A key that is random shows it in so many bytes.
const RANDOM_WITHIN: usize = 48;

impl Search<'_> {
    /// The secret around the sign at `sign`; none if that is no sign.
    #[inline]
    fn secret_at(&mut self, sign: usize) -> Option<Range<usize>> {
        let after = sign.saturating_add(1);
        match self.bytes.get(sign)? {
            b'J' => self.web_token(after),
            b'@' => self.password_before(sign),
            b'-' if self.bytes.get(after) == Some(&b'-') => self.pem(sign),
            b'I' if sign.checked_sub(1).and_then(|before| self.bytes.get(before)) == Some(&b'A') => {
                self.key(&GOOGLE, after)
            }
            _ => {
                let head_end = self.bytes.get(self.done..after)?.last_chunk::<3>()?;
                self.key(shape_after(*head_end)?, after)
            }
        }
    }

    /// A key of this shape whose sign is just before `after`.
    fn key(&self, shape: &Shape, after: usize) -> Option<Range<usize>> {
        if !self.bytes.get(self.done..after)?.ends_with(shape.head) {
            return None;
        }
        let start = after.saturating_sub(shape.head.len());
        let following = self.bytes.get(after..)?;
        let is_cut_short = self.is_cut && shape.rest.starts_with(following);
        if !(following.starts_with(shape.rest) || is_cut_short) || self.continues_word(start) {
            return None;
        }
        let tail = after.saturating_add(shape.rest.len()).min(self.bytes.len());
        let is_in_key = |byte: u8| byte.is_ascii_alphanumeric() || shape.others.contains(&byte);
        let front = self.bytes.get(tail..)?.iter().take(RANDOM_WITHIN).take_while(|byte| is_in_key(**byte));
        let len = front.clone().count();
        // Words with hyphens between them are none.
        let is_random = front.clone().any(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
        let is_cut_inside = self.is_cut && tail.saturating_add(len) == self.bytes.len();
        (len >= shape.least && is_random || is_cut_inside).then(|| start..self.run_end(tail, is_in_key))
    }

    /// `eyJ` is how `{"` begins in base64: a header, a dot, and more.
    fn web_token(&mut self, after: usize) -> Option<Range<usize>> {
        let start = after.checked_sub(3)?;
        let is_begun = self.bytes.get(self.done..after)?.ends_with(b"eyJ") && !self.continues_word(start);
        if start < self.no_token_before || !is_begun {
            return None;
        }
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=');
        let header_end = self.run_end(after, is_base64);
        let end = self.run_end(header_end, |byte| is_base64(byte) || byte == b'.');
        let is_whole = header_end.saturating_sub(after) >= 8
            && self.bytes.get(header_end) == Some(&b'.')
            && end.saturating_sub(header_end) > 10;
        if is_whole || self.is_cut && end == self.bytes.len() {
            return Some(start..end);
        }
        // One that begins in this header would have less of it and the same after it.
        self.no_token_before = header_end;
        None
    }

    /// A PEM block that begins at `start`. It ends with its last line, else with the text.
    fn pem(&self, start: usize) -> Option<Range<usize>> {
        if !self.bytes.get(start..)?.starts_with(b"-----BEGIN ") {
            return None;
        }
        let find = |from: usize, what: &str| {
            let at = self.text.get(from..)?.find(what)?;
            Some(from.saturating_add(at).saturating_add(what.len()))
        };
        let end = find(start, "-----END ").and_then(|label| find(label, "-----"));
        Some(start..end.unwrap_or(self.text.len()))
    }

    /// The password in `scheme://name:password@host`, of which the `@` is at `end`.
    fn password_before(&self, end: usize) -> Option<Range<usize>> {
        let from = self.done.max(end.saturating_sub(MAX_PASSWORD));
        let front = self.bytes.get(from..end)?;
        let credentials = front.iter().rev().take_while(|byte| !ends_address(**byte)).count();
        let start = end.saturating_sub(credentials);
        if !self.bytes.get(from..start)?.ends_with(b"://") {
            return None;
        }
        let colon = self.bytes.get(start..end)?.iter().position(|byte| *byte == b':')?;
        let start = start.saturating_add(colon).saturating_add(1);
        (start < end).then_some(start..end)
    }

    /// Whether what begins at `start` is the middle of a word.
    fn continues_word(&self, start: usize) -> bool {
        let before = start.checked_sub(1).and_then(|before| self.bytes.get(before));
        before.is_some_and(u8::is_ascii_alphanumeric)
    }

    fn run_end(&self, from: usize, is_in: impl Fn(u8) -> bool) -> usize {
        let run = self.bytes.get(from..).unwrap_or_default();
        from.saturating_add(run.iter().take_while(|byte| is_in(**byte)).count())
    }
}

fn ends_address(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b'/' | b'"' | b'\'' | b'<' | b'>' | b'`' | b'@')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked(text: &str) -> String {
        mask(text, false).unwrap_or_else(|| text.to_owned())
    }

    #[test]
    fn secrets_of_known_shapes_are_masked_and_the_text_around_them_stays() {
        for secret in [
            "sk-abcdefghijklmnopqrst1234",
            "sk-proj-Abc_def-ghi1234567890",
            "sk_live_abcdefghij0123456789",
            "ghp_0123456789abcdefghijABCDEFGHIJ012345",
            "github_pat_11ABCDEFG0abcdefghijkl_mnopqrstuvwxyz0123456789",
            "glpat-abcdefghij0123456789",
            "xoxb-123456789012-abcdefghijkl",
            "hf_abcdefghijklmnopqrstuvwxyz012345ABCD",
            "AKIAIOSFODNN7EXAMPLE",
            "ASIAIOSFODNN7EXAMPLE",
            "AIzaSyA1234567890abcdefghijklmnopqrstuv",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-DEF_123",
            "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAK-\n-----END RSA PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----\\nMIIEow\\n-----END PRIVATE KEY-----",
        ] {
            for (before, after) in
                [("", ""), ("key: ", " (old)"), ("für „", "“"), ("token=", "&x=1"), ("\"", "\"")]
            {
                let text = format!("{before}{secret}{after}");
                assert_eq!(masked(&text), format!("{before}{REDACTED}{after}"));
            }
        }
        let two = "a AKIAIOSFODNN7EXAMPLE b AKIAIOSFODNN7EXAMPLE c";
        assert_eq!(masked(two), "a [redacted] b [redacted] c");
        assert_eq!(masked("-----BEGIN CERTIFICATE-----\nno end"), REDACTED);
    }

    #[test]
    fn a_password_in_an_address_is_masked_and_its_user_stays() {
        assert_eq!(
            masked("connect postgres://app:hunter2@db:5432/x failed"),
            "connect postgres://app:[redacted]@db:5432/x failed"
        );
        assert_eq!(masked("redis://:hunter2@cache"), "redis://:[redacted]@cache");
        for plain in ["http://host:80/a@b", "ssh://git@host", "mail a:b@c", "http://h and x:y@z", "a://:@b"] {
            assert_eq!(mask(plain, false), None, "{plain}");
        }
    }

    #[test]
    fn ordinary_text_stays_as_it_is() {
        for plain in [
            "risk-assessment-of-the-second-quarter-2026",
            "task-0123456789abcdef0123456789",
            "sk-learn-pipeline-with-many-words",
            "sk-short1",
            "3f0c6a1e-5b1d-4a51-9d0a-1c2b3a4d5e6f",
            "AKIA",
            "MAKIAIOSFODNN7EXAMPLE",
            "eyJ is how JSON begins",
            "eyJhbGciOiJIUzI1NiJ9",
            "----------------------------------------",
            "-----END PRIVATE KEY-----",
            "snake_case_identifiers_of_some_length_0123456789",
            "[redacted]",
        ] {
            assert_eq!(mask(plain, false), None, "{plain}");
        }
    }

    #[test]
    fn a_secret_is_found_wherever_it_stands_and_every_sign_is_seen() {
        for front in 0..24 {
            let front = "x".repeat(front);
            assert_eq!(masked(&format!("{front} AKIAIOSFODNN7EXAMPLE")), format!("{front} {REDACTED}"));
            assert_eq!(masked(&format!("{front}://a:b@c")), format!("{front}://a:{REDACTED}@c"));
        }
        for place in 0..8 {
            for sign in *b"-_@IJ" {
                let mut word = [b'k'; 8];
                word[place] = sign;
                assert_eq!(signs_in(u64::from_le_bytes(word)), 0x80 << (8 * place));
            }
        }
    }

    #[test]
    fn of_a_secret_at_the_cut_nothing_is_kept() {
        for secret in [
            "sk-abcdefghijklmnopqrst1234",
            "ghp_0123456789abcdefghijABCDEFGHIJ012345",
            "AKIAIOSFODNN7EXAMPLE",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-DEF_123",
            "-----BEGIN PRIVATE KEY-----\nMIIEow\n-----END PRIVATE KEY-----",
        ] {
            // A shape has to be there to be known.
            for kept in 17..secret.len() {
                let text = format!("value {secret}");
                assert_eq!(
                    mask_within(&text, 6 + kept).as_deref(),
                    Some("value [redacted]…"),
                    "{kept} of {secret}"
                );
            }
        }
        let text = "postgres://app:hunter2-and-more@db";
        assert_eq!(mask_within(text, 20).as_deref(), Some("postgres://app:[redacted]…"));
        assert_eq!(mask_within("nothing to hide here", 10), None);
    }

    /// Looking at each byte once for each sign would take hours.
    #[test]
    fn text_made_to_be_slow_is_not() {
        let starts = [
            "-",
            "_",
            "@",
            "I",
            "J",
            "sk-",
            "-sk-",
            "xoxb-",
            "-eyJ",
            "eyJ-",
            "AKIA-",
            "://a:",
            "-----BEGIN",
            "a@b:c",
        ];
        for start in starts {
            let text = start.repeat((1 << 17) / start.len());
            let _ = mask(&text, false);
            let _ = mask(&text, true);
        }
    }

    proptest! {
        #[test]
        fn masking_keeps_all_text_outside_of_secrets(
            parts in prop::collection::vec("[ a-zäöü€.,\n]{0,40}", 1..6),
            key in "[A-Z0-9]{16}",
        ) {
            let secret = format!("AKIA{key}");
            let text = parts.join(&format!(" {secret} "));
            let expected = parts.join(&format!(" {REDACTED} "));
            prop_assert_eq!(masked(&text), expected);
        }

        #[test]
        fn masking_again_changes_nothing_and_a_limit_holds(text in "[-_@:/IJAKeysk a0\u{e4}.]{0,80}", limit in 0usize..80) {
            let once = masked(&text);
            prop_assert_eq!(masked(&once), once);
            if let Some(within) = mask_within(&text, limit) {
                prop_assert!(within.contains(REDACTED));
            }
        }
    }
}
